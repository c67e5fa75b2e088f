"""Rounds of elites, with a stand-in for the trainer."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from tools import elites_round
from tools.rounds.cli import main as scale_main
from tools.rounds.settings import make_settings, read_yaml

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "scale"
TRAINER = """
import argparse, json, random
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--train-shared", action="store_true", required=True)
for name in ("terrain", "seed", "total-steps", "results-dir", "run-name", "log-file"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--elites", type=int, default=3)
options = parser.parse_args()
rng = random.Random(options.seed)
folder = Path(options.results_dir) / options.run_name
folder.mkdir()
Path(options.log_file).write_text("progress")
elites = [
    {"id": number, "rules": [0, 7, rng.randrange(20)], "fitness": rng.random(), "verified_fitness": None,
     "robogrammar_objective": 4.0, "verified_robogrammar_objective": 4.5, "joints": 2, "policy_version": 9,
     "episodes": 3, "descriptors": {"body_height": 0.1, "joints": 2.0}, "terrain": options.terrain}
    for number in range(options.elites)
]
(folder / "archive.json").write_text(json.dumps(elites))
"""


@pytest.fixture
def trainer(tmp_path) -> Path:
    file = tmp_path / "trainer.py"
    file.write_text(TRAINER)
    return file


def run_round(tmp_path, trainer, *more: str) -> int:
    flags = ["--terrain", "gap", "--seed", "5", "--total-steps", "1000", "--results", str(tmp_path / "r0" / "results")]
    return elites_round.main([*flags, "--trainer", str(trainer), *more])


def test_round_leaves_designs_with_their_scores(tmp_path, trainer):
    assert run_round(tmp_path, trainer) == 0
    with np.load(tmp_path / "r0" / "results" / "elites.npz") as found:
        assert found["samples"].shape == (3, 40)
        assert found["samples"][0, :2].tolist() == [0, 7]
        assert (found["samples"][:, 3:] == -1).all()
        assert np.isnan(found["scores.verified_fitness"]).all()
        assert found["scores.robogrammar_objective"].tolist() == [4.0] * 3
        assert found["descriptors.body_height"].tolist() == [0.1] * 3
        assert found["policy_version"].tolist() == [9] * 3
    assert [entry["id"] for entry in json.loads((tmp_path / "r0" / "run" / "archive.json").read_text())] == [0, 1, 2]


def test_run_without_elites_or_that_fails_is_told(tmp_path, trainer, capsys):
    assert run_round(tmp_path, trainer, "--elites", "0") == 1
    assert "has no elites" in capsys.readouterr().err
    assert run_round(tmp_path, trainer) == 1  # its run folder is there


@pytest.mark.parametrize("content", ["", "[{}]", '{"a": 1}', '[{"rules": [1], "descriptors": null}]'])
def test_damaged_archive_is_told(tmp_path, content):
    (tmp_path / "archive.json").write_text(content)
    with pytest.raises(elites_round.EliteError, match="cannot use"):
        elites_round.read_elites(tmp_path)


def test_configs_are_complete():
    for file in CONFIGS.glob("*.yaml"):
        make_settings(read_yaml(file))


def test_config_fills_quotas_of_different_elites(tmp_path, trainer, monkeypatch, experiment):
    settings = read_yaml(CONFIGS / "elites.yaml")
    assert settings["command"].startswith("{python} tools/elites_round.py")
    root = Path(elites_round.__file__).parents[1]
    command = settings["command"].replace("tools/", f"{shlex.quote(str(root))}/tools/")
    flags = ["--config", str(CONFIGS / "elites.yaml"), "--command", f"{command} --trainer {trainer}"]
    flags += ["--target_count_per_object", "8", "--object_code_list", "flat", "gap", "--gpus", experiment.gpus]
    assert scale_main(flags) == 0
    with np.load("data/experiments/elites/final/gap/final.npz") as final:
        assert len(np.unique(final["samples"], axis=0)) == len(final["samples"]) == 8
        assert final["scores"].dtype.names[0] == "fitness"
        assert set(final["descriptors"].dtype.names) == {"body_height", "joints"}
