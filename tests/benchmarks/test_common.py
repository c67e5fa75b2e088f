"""What the learning benchmarks share: parts are made once, figures have known answers, trials count what they train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from common import references, tables
from common.bodies import BODIES, HELD_OUT, draw_designs, read_designs
from common.options import make_parser, parse_settings
from common.parts import Parts
from common.references import best_sinusoid_speed
from common.tables import mean_speed, planner_share, reached, summarise
from common.trial import Crew, Trial, cycle, held_ready, judged_by, marks

from map_elites.config import build
from map_elites.errors import RunFailedError, UserError
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import as_design
from robogrammar_env.engine.base import CLIENTS_AHEAD
from robogrammar_env.simulation import Simulation

SMALL = {
    "environment": {"engine": "mujoco"},
    "experience": {"segment_length": 16, "min_batch_size": 64, "update_interval": 64},
    "ppo": {"minibatch_size": 32, "epochs": 1},
}
TWO_LEGS = "body(swing) -roll- body(swing)"


class TestParts:
    def test_a_part_is_made_once(self, tmp_path):
        parts, calls = Parts(tmp_path), []
        for _ in range(2):
            found = parts.make("one", {"steps": 3, "bins": (1, 2)}, lambda: calls.append(1) or {"speed": 0.5})
        assert calls == [1]
        assert found["speed"] == 0.5 and found["machine"]

    def test_other_settings_are_refused_and_named(self, tmp_path):
        parts = Parts(tmp_path)
        parts.make("one", {"steps": 3, "ppo": {"clip": 0.2}}, dict)
        before = parts.path("one").read_text()
        with pytest.raises(UserError, match=r"one\.json.*ppo\.clip: 0.2, wanted 0.3"):
            parts.make("one", {"steps": 3, "ppo": {"clip": 0.3}}, dict)
        assert parts.path("one").read_text() == before

    @pytest.mark.parametrize("text", ['{"settings": ', "[]", "{}", '{"settings": {}, "tag": "one"}'])
    def test_a_damaged_or_foreign_part_is_named(self, tmp_path, text):
        (tmp_path / "one.json").write_text(text)
        parts = Parts(tmp_path, ("curve",))
        for read in (lambda: parts.make("one", {}, dict), parts.all):
            with pytest.raises(RunFailedError, match=r"one\.json.*remove it"):
                read()

    @pytest.mark.parametrize("name", ["", "a/b", "../a"])
    def test_a_name_that_is_no_file_is_refused_before_the_work(self, tmp_path, name):
        with pytest.raises(UserError, match="without a slash"):
            Parts(tmp_path).make(name, {}, lambda: pytest.fail("it worked"))

    def test_a_report_on_nothing_says_so(self, tmp_path):
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(UserError, match="has no results"):
                Parts(folder).all()

    def test_what_fails_leaves_no_part(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            Parts(tmp_path).make("one", {}, lambda: 1 / 0)
        assert not list(tmp_path.iterdir())


class TestOptions:
    @pytest.mark.parametrize("words", ["--workers -1", "--steps 0", "--steps many", "--seeds 0 -2", "--nonsense"])
    def test_bad_options_are_one_line(self, capsys, words):
        with pytest.raises(SystemExit) as end:
            make_parser("A program.", steps=10, out="x").parse_args(words.split())
        text = capsys.readouterr().err
        assert end.value.code == 2 and text.startswith("error: ") and text.count("\n") == 1


class TestFigures:
    def test_summary_of_a_curve(self):
        curve = [
            {"steps": 0, "seconds": 0.0, "speeds_m_s": [0.0, 0.0, 0.0, None]},
            {"steps": 100, "seconds": 4.0, "speeds_m_s": [0.3, 0.1, 0.2, None]},
        ]
        expected = {"mean": 0.2, "worst_quartile": 0.1, "best": 0.3, "area": 0.1, "steps_per_s": 25.0}
        assert summarise(curve) == pytest.approx(expected)

    @pytest.mark.parametrize(("level", "expected"), [(0.15, 15.0), (0.0, 0.0), (0.2, 20.0), (0.5, None)])
    def test_where_a_curve_first_reaches_a_level(self, level, expected):
        assert reached([0, 10, 20, 30], [0.0, 0.1, 0.2, 0.1], level) == expected

    def test_share_of_the_planner_counts_bodies_that_both_have_driven(self, monkeypatch):
        monkeypatch.setattr(tables, "planner_speeds", lambda designs: [0.4, None, 0.6, 1.0])
        assert planner_share([0.1, 9.0, 0.3, None], ["a", "b", "c", "d"]) == pytest.approx(0.4)
        assert planner_share([None] * 4, ["a", "b", "c", "d"]) is None

    def test_the_planner_knows_the_published_designs(self):
        (speed,) = references.planner_speeds([as_design("flat").to_text()])
        assert speed is not None and speed > 0.5

    @pytest.mark.parametrize("name", ["bodies32", "held_out32", "family32", "family_held_out32"])
    def test_the_planner_knows_all_fixed_bodies(self, name):
        designs = [design.to_text() for design in read_designs(BODIES.with_name(f"{name}.txt"))]
        speeds = references.planner_speeds(designs)
        assert len(designs) == 32 and None not in speeds and 0 < sum(speeds) / 32 < 1

    def test_mean_leaves_bodies_without_a_score_out(self):
        assert mean_speed([0.2, None, 0.4]) == pytest.approx(0.3)


class TestBodies:
    def test_held_out_bodies_are_not_trained(self):
        held_out = read_designs(HELD_OUT)
        assert len(set(held_out)) == 32
        assert not set(held_out) & set(read_designs(BODIES))
        assert not set(held_out[:4]) & set(draw_designs(40, seed=4051, without=held_out[:4]))

    def test_a_line_that_is_no_design_is_named(self, tmp_path):
        (tmp_path / "bodies.txt").write_text("flat\nbody(wing)\n")
        with pytest.raises(UserError, match=r"bodies\.txt.*wing"):
            read_designs(tmp_path / "bodies.txt")

    def test_turns_reach_every_body_before_any_comes_again(self):
        mixes = list(islice(cycle(6, 2, seed=0), 6))
        halves = [sorted(number for mix in half for number in mix) for half in (mixes[:3], mixes[3:])]
        assert halves == [list(range(6))] * 2


@pytest.mark.parametrize(
    ("second", "curves", "ranges"),
    [(([0, 1], [0.2, 0.6]), 1, 1), (([0, 2], [0.2, 0.6]), 2, 0)],
)
def test_seeds_measured_at_the_same_points_are_drawn_as_mean_and_range(tmp_path, monkeypatch, second, curves, ranges):
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    tables.draw(tmp_path / "one.png", [("x", "y", {"name": [([0, 1], [0.0, 0.4]), second]})] * 4)
    *panels, spare, last = pyplot.gcf().axes
    monkeypatch.undo()
    assert len(panels) == 4 and not spare.axison and not last.axison and (tmp_path / "one.png").exists()
    for axis in panels:
        assert (len(axis.lines), len(axis.collections), axis.get_legend_handles_labels()[1]) == (
            curves,
            ranges,
            ["name"],
        )
    assert list(panels[0].lines[0].get_ydata()) == pytest.approx([0.1, 0.5] if ranges else [0.0, 0.4])
    pyplot.close("all")


def test_settings_that_are_no_pair_are_refused():
    assert parse_settings(["ppo.clip=0.1", "ppo.epochs=2"]) == {"ppo": {"clip": 0.1, "epochs": 2}}
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_settings(["ppo.clip"])


def test_another_engine_judges_at_its_own_settings():
    config = build(TrainConfig, {"environment": {"engine": "mujoco", "engine_settings": {"solver_iterations": 1}}})
    judged = judged_by(config, "pybullet").environment
    assert (judged.engine, judged.engine_settings, judged.terrain) == ("pybullet", {}, "flat")
    assert judged_by(config, None) is config


def test_a_trial_ends_when_every_body_has_failed(monkeypatch):
    def fail(self, *_):
        raise ValueError("no ground")

    monkeypatch.setattr(Simulation, "step", fail)
    with Trial(build(TrainConfig, SMALL), [as_design(TWO_LEGS)] * 2, crew=Crew(workers=0)) as trial:
        trial.train()
        with pytest.raises(RunFailedError, match=r"all 2 bodies failed; the first: .*no ground"):
            trial.advance(steps=64)


def test_settings_of_an_engine_are_counts_that_it_takes():
    settings = {"engine": "mujoco", "engine_settings": {"substeps": "4", "solver_iterations": 3.0}}
    config = build(TrainConfig, SMALL | {"environment": settings})
    with Trial(config, [as_design(TWO_LEGS)], crew=Crew(workers=0)) as trial:
        trial.train()
        trial.advance(steps=64)
        assert trial.steps >= 64 and not trial.failed


def test_best_of_more_sinusoids_is_another_draw_of_the_same_seed():
    one, again = (best_sinusoid_speed(as_design(TWO_LEGS), engine="mujoco", count=2) for _ in range(2))
    assert one == again and abs(one) < 2.0


def test_a_trial_counts_training_only_and_takes_turns():
    config = build(TrainConfig, SMALL)
    designs = [as_design(TWO_LEGS), as_design("body(swing) -lift- body(swing)")]
    with Trial(config, designs, crew=Crew(workers=0), judged=designs[:1], evaluation_seeds=(1,)) as trial:
        trial.take_turns(iter([[0], [1], [0], [1]]), 32)
        result = trial.run(marks(96, 1), lambda point: None)
    first, last = result["curve"]
    assert first["steps"] == 0 and first["seconds"] == 0.0
    assert 96 <= last["steps"] <= 128 and len(last["speeds_m_s"]) == 1
    assert last["seconds"] > 0 and last["version"] > first["version"] and not result["failed"]
    assert result["memory"]["pss"] > 0
    json.dumps(result)


def test_the_last_score_is_that_of_the_weights_that_are_saved(tmp_path):
    config, designs = build(TrainConfig, SMALL), [as_design(TWO_LEGS)]
    crew, seeds = Crew(workers=0), (1,)
    with Trial(config, designs, crew=crew, evaluation_seeds=seeds) as trial:
        trial.train()
        last = trial.run(marks(96, 1), lambda point: None)["curve"][-1]
        trial.supervisor.checkpoint(tmp_path / "weights.npz")
    with Trial(config, designs, crew=crew, evaluation_seeds=seeds, checkpoint=tmp_path / "weights.npz") as trial:
        again = trial.score()
    assert (again["steps"], again["version"]) == (0, last["version"])
    assert again["speeds_m_s"] == last["speeds_m_s"]


PROGRAM = f"""
import json, os, sys

if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    import shared_vs_independent
    from common.trial import Crew, Trial
    from map_elites.config import build
    from map_elites.trainer.settings import TrainConfig
    from robogrammar_env.design import as_design
    from robogrammar_env.engine.base import CLIENTS_AHEAD

    config = build(TrainConfig, {{"environment": {{"engine": "pybullet"}}}})
    Trial(config, [as_design("{TWO_LEGS}")] * 3, crew=Crew(workers=2), at_a_time=json.loads(sys.argv[1]))
    print(os.environ[CLIENTS_AHEAD], "torch" in sys.modules)
"""


class TestMemory:
    """A trial's processes hold ready what the trainer's do, or a comparison of memory would not be of the trainer."""

    @pytest.mark.parametrize(
        ("engine", "judge", "clients"),
        [("mujoco", None, 0), ("mujoco", "pybullet", 8), ("pybullet", None, 11), ("pybullet", "mujoco", 3)],
    )
    def test_only_engines_in_use_are_held_ready(self, monkeypatch, engine, judge, clients):
        monkeypatch.setenv(CLIENTS_AHEAD, "")
        config = build(TrainConfig, {"environment": {"engine": engine}})
        modules = held_ready(config, training=3, scoring=8, judge=judge)
        assert os.environ[CLIENTS_AHEAD] == str(clients)
        assert ("robogrammar_env.engine.preload" in modules) == (clients > 0)
        assert ("robogrammar_env.engine.mujoco" in modules) == ("mujoco" in (engine, judge))

    @pytest.mark.parametrize(("at_a_time", "clients"), [(None, 10), (1, 9), (0, 8)])
    def test_with_workers_the_main_process_has_no_torch(self, tmp_path, at_a_time, clients):
        """Three PyBullet bodies, two workers: a client for each that one of them trains, eight for those it scores."""
        (tmp_path / "program.py").write_text(PROGRAM)
        root = Path(__file__).parents[2]
        command = [
            sys.executable,
            str(tmp_path / "program.py"),
            json.dumps(at_a_time),
            str(root / "benchmarks"),
            str(root),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        assert said.splitlines()[-1] == f"{clients} False"
