"""Loading and checking of settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from map_elites.config import (
    ArchiveConfig,
    ConfigError,
    EvaluationConfig,
    EvolutionConfig,
    RunConfig,
    build,
    convert,
    default_workers,
    merge,
    read_yaml,
    to_plain,
    to_yaml,
)


@dataclass(frozen=True)
class Learner:
    learning_rate: float = 3e-4
    epochs: int = 4
    name: str = "x"
    strict: bool = False

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class Whole:
    run: RunConfig = field(default_factory=RunConfig)
    archive: ArchiveConfig = field(default_factory=ArchiveConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    ppo: Learner = field(default_factory=Learner)


def problems_of(data: dict) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build(Whole, data)
    return caught.value.problems


def test_defaults_build():
    assert build(Whole, {}) == Whole()


def test_yaml_exponent_that_pyyaml_reads_as_text_is_a_number(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text("ppo: {learning_rate: 1e-3, epochs: 1e1}\n")
    assert build(Whole, read_yaml(path)).ppo == Learner(learning_rate=1e-3, epochs=10)


def test_unknown_key_names_the_nearest():
    assert problems_of({"ppo": {"lerning_rate": 1.0}}) == [
        "unknown key ppo.lerning_rate; did you mean ppo.learning_rate?"
    ]
    assert problems_of({"pqo": {}}) == ["unknown key pqo; did you mean ppo?"]


def test_all_problems_are_reported_at_once():
    found = problems_of(
        {
            "run": {"seed": -1, "mode": "fast", "total_steps": 1.5},
            "ppo": {"learning_rate": -1},
            "archive": {"descriptors": ["joint"]},
            "evaluation": 3,
        }
    )
    text = "\n".join(found)
    for part in ("run.mode: wants one of", "run.total_steps: wants a whole number, got 1.5", "ppo: learning_rate must"):
        assert part in text
    assert "archive: no descriptor 'joint'; did you mean 'joints'" in text
    assert "evaluation: wants a mapping, got 3" in text


def test_ranges_are_checked_together():
    found = problems_of({"run": {"seed": -1, "max_workers": 0, "checkpoint_interval_s": 0.0}})
    assert [line.split(":")[0] for line in found] == ["run.seed", "run.max_workers", "run.checkpoint_interval_s"]


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ("abc", float, "a number"),
        (True, int, "a whole number"),
        (True, float, "a number"),
        (1, bool, "true or false"),
        ("true", bool, "true or false"),
        (3, str, "text"),
        (None, int, "a whole number"),
        ("1e-3", int, "a whole number"),
    ],
)
def test_wrong_types_are_refused(value, kind, wanted):
    with pytest.raises(ValueError, match=wanted):
        convert(value, kind)


def test_lists_and_mappings_are_converted():
    config = build(
        Whole, {"archive": {"descriptors": ["joints", "mass_kg"], "bins": [4, 5], "ranges": {"mass_kg": [0, "2e0"]}}}
    )
    assert [(a.name, a.bins, a.high) for a in config.archive.axes()] == [("joints", 4, 24.5), ("mass_kg", 5, 2.0)]
    with pytest.raises(ConfigError, match="wants a list of 2"):
        build(Whole, {"archive": {"ranges": {"body_height": [1]}}})


def test_yaml_round_trip_keeps_everything(tmp_path: Path):
    config = build(Whole, {"run": {"name": "ä", "seed": 7}, "archive": {"ranges": {"body_height": [0.5, 1.5]}}})
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert build(Whole, read_yaml(path)) == config
    assert to_plain(config)["archive"]["ranges"] == {"body_height": [0.5, 1.5]}


def test_merge_lets_the_top_win_and_keeps_the_rest():
    assert merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "b": 4}) == {"a": {"x": 1, "y": 3}, "b": 4}


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "\x00", "a: b: c"])
def test_bad_yaml_is_one_clear_line(tmp_path: Path, text: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value) and "bad.yaml" in str(caught.value)


def test_a_file_without_an_end_is_no_config():
    with pytest.raises(ConfigError, match=r"/dev/zero: longer than 1000000 characters"):
        read_yaml(Path("/dev/zero"))


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot read config .*nothing\.yaml: No such file"):
        read_yaml(tmp_path / "nothing.yaml")


def test_default_workers_is_three_quarters_of_the_cores(monkeypatch):
    for cores, workers in {1: 1, 2: 2, 4: 3, 8: 6, 64: 48}.items():
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert default_workers() == workers
