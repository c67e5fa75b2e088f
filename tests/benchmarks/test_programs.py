"""Every learning benchmark runs at a tiny budget, keeps its parts, and reports from them alone."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import evolution
import learner_device
import learning
import litters
import numpy as np
import peers
import published
import pytest
import quickstart
import shared_vs_independent
import sinusoids
import zero_shot
from common import tables

from map_elites.archive import Archive
from map_elites.errors import UserError
from map_elites.nursery import Newborn
from tests.map_elites.fakes import AXES, toy_elite, toy_score

TINY = [
    "experience.segment_length=16",
    "experience.min_batch_size=64",
    "experience.update_interval=64",
    "ppo.minibatch_size=32",
    "ppo.epochs=1",
    "episode.control_steps=16",
]
ONE_SEED = ["--seeds", "0", "--set", *TINY]
SMALL = ["--workers", "0", "--points", "1", *ONE_SEED]
ONE_RUN = ["--cases", "shared", "--steps", "3000", "--workers", "1", "--seeds", "0"]  # of evolution.py
BODIES = "body(swing) -roll- body(swing)\nbody(swing) -lift- body(swing)\n"


@pytest.fixture
def bodies(tmp_path) -> str:
    """A file of two small bodies."""
    path = tmp_path / "bodies.txt"
    path.write_text(BODIES)
    return str(path)


def runs_once(program, arguments: list[str], out: Path, capsys) -> str:
    """Runs a program twice and its report; the second run must keep everything. Returns what the report printed."""
    program.main([*arguments, "--out", str(out)])
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    program.main([*arguments, "--out", str(out)])
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.json")} == before
    capsys.readouterr()
    program.main(["--report", "--out", str(out)])
    assert list(out.glob("*.png"))
    return capsys.readouterr().out


ELSEWHERE = {"peers_sample_factory"}  # runs in an environment of its own
PROGRAMS = {path.stem for path in Path(learning.__file__).parent.glob("*.py")} - ELSEWHERE


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_program_finds_what_it_imports(name):
    assert callable(importlib.import_module(name).main)


def test_bodies_can_be_bred_from_the_fastest_of_a_screening(tmp_path, capsys):
    out = tmp_path / "family.txt"
    learning.main(["--bodies", str(out), "--screen-bodies", "3", "--founders", "1", "--breed-bodies", "2"])
    comment, *lines = out.read_text().splitlines()
    assert comment == "# 2 designs: the 1 fastest of 3 random ones, and descendants; seed 0" and len(set(lines)) == 2


def test_published(tmp_path, capsys):
    arguments = ["--steps", "128", "--others", "0", "--copies", "1", "--terrains", "ridged", *SMALL]
    text = runs_once(published, arguments, tmp_path / "out", capsys)
    assert "| flat on ridged | 0 | 2 |" in text and "| ridged on ridged | 0 | 2 |" in text


def test_learning(tmp_path, bodies, capsys):
    arguments = ["--bodies", bodies, "--steps", "128", "--tag", "a", *SMALL]
    text = runs_once(learning, arguments, tmp_path / "out", capsys)
    assert "| a | 0 |" in text
    with pytest.raises(UserError, match="steps"):
        learning.main([*arguments, "--steps", "256", "--out", str(tmp_path / "out")])


def test_settings_of_a_peer_have_the_types_that_it_wants():
    pairs = ["learning_rate=2e-3", "n_epochs=10", "norm_reward=false"]
    assert peers.flat_settings(pairs, peers.SB3) == {"learning_rate": 0.002, "n_epochs": 10, "norm_reward": False}
    assert peers.flat_settings(["use_rnn=true"]) == {"use_rnn": True}
    with pytest.raises(UserError, match=r"n_epochs=many: wants a whole number, got 'many'"):
        peers.flat_settings(["n_epochs=many"], peers.SB3)
    for pair in ("gamma", "gama=0.9"):
        with pytest.raises(UserError, match="wants KEY=VALUE"):
            peers.flat_settings([pair], peers.SB3)


def test_the_speeds_of_a_setting_on_the_way_are_over_its_seeds(monkeypatch):
    lines = [[(0, 0.0), (50, 0.2), (100, 0.6)], [(0, 0.0), (100, 0.4)]]
    curves = [[{"steps": steps, "speeds_m_s": [speed]} for steps, speed in line] for line in lines]
    expected = ["0.100 (0.100 to 0.100)", "0.200 (0.200 to 0.200)", "0.350 (0.300 to 0.400)", "0.500 (0.400 to 0.600)"]
    assert learning.seeds_row("a", [{"curve": curve} for curve in curves]) == ["a", "2", *expected, "-"]
    monkeypatch.setattr(tables, "planner_speeds", lambda designs: [0.4 for _ in designs])
    parts = [{"curve": curve, "designs": ["one"]} for curve in curves]
    assert learning.seeds_row("a", parts) == ["a", "2", *expected, "125 %"]  # of 150 % and 100 %


def test_learning_scores_held_out_bodies_apart(tmp_path, bodies, capsys):
    """Figures of the trained bodies are theirs alone."""
    arguments = ["--bodies", bodies, "--num-bodies", "1", "--held-out", bodies, "--steps", "128", *SMALL]
    runs_once(learning, arguments, tmp_path / "out", capsys)
    (path,) = (tmp_path / "out").glob("*.json")
    last = json.loads(path.read_text())["curve"][-1]
    assert [len(last[name]) for name in ("speeds_m_s", "objectives", "held_out_m_s")] == [1, 1, 2]


def test_budgets_are_parts_of_the_same_run():
    """Each budget compares both sides at equal steps, and when the shared policy was as fast as the others then."""
    alone = [point(steps, seconds, speed) for steps, seconds, speed in ((0, 0, 0.0), (100, 10, 0.2), (200, 20, 0.8))]
    shared = [point(steps, seconds, speed) for steps, seconds, speed in ((0, 0, 0.0), (100, 20, 0.8), (200, 40, 1.2))]
    half, full = shared_vs_independent.budgets({0: (shared, alone)}, {0: {"designs": ["one", "other"]}})
    assert half == ["50", "0.200", "0.800", "4.00 x", "4.0 x", "2.0 x", "2.0 x"]
    assert full == ["100", "0.800", "1.200", "1.50 x", "2.0 x", "1.0 x", "1.0 x"]


def point(steps: int, seconds: int, speed: float) -> dict[str, Any]:
    """A point of a curve of one body."""
    return {"steps": steps, "seconds": seconds, "cpu_seconds": seconds, "speeds_m_s": [speed]}


def test_sinusoids(tmp_path, bodies, capsys):
    arguments = ["--bodies", bodies, "--engines", "mujoco", "--count", "1", "--out", str(tmp_path / "out.json")]
    sinusoids.main(arguments)
    before = (tmp_path / "out.json").read_bytes()
    sinusoids.main(arguments)
    assert (tmp_path / "out.json").read_bytes() == before
    assert "| bodies.txt | mujoco |" in capsys.readouterr().out


def test_shared_vs_independent(tmp_path, bodies, capsys):
    own = ["--independent-set", *TINY, "--independent-copies", "1", "--memory-updates", "1"]
    arguments = ["--bodies", bodies, "--num-bodies", "1", "--steps", "64", *own, *SMALL]
    text = runs_once(shared_vs_independent, arguments, tmp_path / "out", capsys)
    for line in ("final mean speed", "steps to the independent mean speed", "shared, 1 workers", "1 programs"):
        assert line in text


def test_the_independent_clock_is_that_of_all_cores():
    point = {"steps": 10, "seconds": 4.0, "cpu_seconds": 3.0, "speeds_m_s": [0.1]}
    bodies = [{"at_a_time": 2, "curve": [point]}, {"at_a_time": 2, "curve": [point | {"speeds_m_s": [0.3]}]}]
    (found,) = shared_vs_independent.independent_curve(bodies)
    assert found == {"steps": 20, "seconds": 4.0, "cpu_seconds": 6.0, "speeds_m_s": [0.1, 0.3]}


def test_zero_shot(tmp_path, bodies, capsys):
    own = ["--training-bodies", "3", "--places", "2", "--turn-segments", "1", "--finetune-steps", "64"]
    arguments = ["--held-out", bodies, "--num-bodies", "1", "--steps", "128", *own, *SMALL]
    text = runs_once(zero_shot, arguments, tmp_path / "out", capsys)
    titles = ("trained bodies", "trained policy, held-out", "untrained policy", "sinusoids", "fine-tuned", "scratch")
    assert all(title in text for title in titles)


def test_peers(tmp_path, capsys):
    sb3 = ["--sb3-set", "n_envs=1", "n_steps=16", "batch_size=16", "n_epochs=1"]
    arguments = ["--design", BODIES.splitlines()[0], "--seconds", "0.1", "--copies", "1", *sb3, *SMALL]
    text = runs_once(peers, arguments, tmp_path / "out", capsys)
    assert "| ours | 1 |" in text and "| Stable-Baselines3 PPO | 1 |" in text


def test_all_peers_are_judged_from_the_same_start_poses():
    from common.options import train_config
    from common.references import EVALUATION_SEEDS

    from robogrammar_env.simulation import Simulation

    design = BODIES.splitlines()[0]
    options = peers.parse_arguments(["--design", design])
    env = peers.make_environment(train_config(options), design, early_stops=False)
    env.reset(seed=EVALUATION_SEEDS[0])
    mine = Simulation(design, engine="mujoco")
    mine.reset(peers.episode_seed(EVALUATION_SEEDS[0]), training=False)
    theirs = env.unwrapped.simulation.state
    np.testing.assert_array_equal(mine.state.joint_angles, theirs.joint_angles)
    env.close()
    mine.close()


def test_learner_device(tmp_path, capsys):
    size = ["--num-bodies", "2", "--copies", "2", "--repeats", "1", "--set", *TINY]
    learner_device.main(["--devices", "cpu:1", "cpu:2", *size, "--out", str(tmp_path)])
    one, two = json.loads((tmp_path / "results.json").read_text())["results"]
    assert one["steps"] == two["steps"] == 64 and one["gradient_difference"] == two["gradient_difference"] == 0
    assert f"| 64 | cpu:1 | {one['seconds']:.3f} | 1.0 x |" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["cuda:4", "cpu", "cpu:0", "cpu:x", "gpu"])
def test_learner_device_refuses_what_is_no_device(text):
    with pytest.raises(UserError, match="wants cuda or cpu:THREADS"):
        learner_device.parse_place(text)


def test_evolution(tmp_path, capsys):
    text = runs_once(evolution, [*ONE_RUN, "--interval", "0.5"], tmp_path / "out", capsys)
    assert "| shared |" in text
    part = evolution.Parts(tmp_path / "out").all("shared-seed0")[0]
    assert part["diversity"][-1]["env_steps"] > 0 and part["curves"]["env_steps"]


@pytest.fixture(scope="module")
def evolved(tmp_path_factory) -> Path:
    """A folder of `evolution.py` with one finished run, to be copied."""
    folder = tmp_path_factory.mktemp("evolved")
    evolution.main([*ONE_RUN, "--out", str(folder)])
    return folder


def test_an_interrupted_run_of_evolution_is_taken_up_again(evolved, tmp_path, capfd):
    shutil.copytree(evolved, tmp_path, dirs_exist_ok=True)
    arguments = [*ONE_RUN, "--out", str(tmp_path)]
    summary, part = tmp_path / "runs" / "shared-seed0" / "summary.json", tmp_path / "shared-seed0.json"
    text = summary.read_text().replace('"finished"', '"interrupted"')
    summary.write_text(text)
    part.unlink()
    capfd.readouterr()
    evolution.main(arguments)
    assert '"interrupted"' in text and "--resume" in capfd.readouterr().out
    assert json.loads(part.read_text())["summary"]["status"] == "finished"


def test_quickstart_looks_at_runs(evolved, tmp_path, bodies, monkeypatch, capsys):
    shutil.copytree(evolved, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(quickstart, "SINUSOIDS", 2)
    monkeypatch.setattr(quickstart, "BODIES", Path(bodies))
    path, out = tmp_path / "runs" / "shared-seed0", tmp_path / "out"
    quickstart.main(["--runs", str(path), "--out", str(out)])
    part, summary = json.loads((out / "shared-seed0.json").read_text()), json.loads((path / "summary.json").read_text())
    elites = json.loads((path / "archive.json").read_text())
    assert part["elites"]["bodies"] == len(part["sinusoids_m_s"]) == len(part["objectives"]) == len(elites)
    assert part["objectives"][0] == max(elite["verified_robogrammar_objective"] for elite in elites)
    assert part["never trained"]["bodies"] == 2 and part["early_m_s"] is not None
    capsys.readouterr()
    quickstart.main(["--report", "--out", str(out)])
    text = capsys.readouterr().out
    assert f"| {summary['qd_score']:.2f} / {summary['verified_qd_score']:.2f} |" in text and "2 never trained" in text
    (path / "summary.json").write_text(json.dumps(summary | {"status": "interrupted"}))
    with pytest.raises(UserError, match="wants a finished run"):
        quickstart.main(["--runs", str(path), "--out", str(tmp_path / "other")])


def test_a_look_at_a_run_after_some_seconds(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("wall_seconds,max_fitness\n5.0,\n100.0,0.4\n599.0,0.9\n601.0,1.1\n")
    assert [quickstart.best_until(path, seconds) for seconds in (1, 5, 150, 600)] == [None, None, 0.4, 0.9]


def test_the_last_closing_is_read_from_the_log():
    first, last = (
        f"INFO    closing: 9 bodies, 5 elites, which alone would fill {cells} cells with a QD score of 1.5 m/s\n"
        f"INFO    order 3, policy version 2: 9 scored, 4 new; {cells + 2} elites, QD score 2.000 m/s\n"
        for cells in (3, 4)
    )
    harvest = (
        "INFO    harvest: 32 tried, 2 compete, who would add 0.700 m/s\n"
        "INFO    order 6, policy version 2: 2 scored, 1 new; 7 elites, QD score 2.500 m/s\n"
        "INFO    harvest: 31 tried, 0 compete, who would add 0.000 m/s\n"
    )
    found = quickstart.closing(first + harvest + last + harvest)
    moments = {"alone": [4, 1.5], "scored": [6, 2.0], "end": [7, 2.5]}
    assert found == {**moments, "tried": 63, "competed": 2, "promised_m_s": 0.7}
    assert quickstart.closing_row("a", found) == ["a", "4, 1.50", "6, 2.00", "7, 2.50 (+25%)", "63, 2", "0.70, 0.50"]
    assert quickstart.closing("INFO    order 1: 2 scored; 2 elites, QD score 1.000 m/s") is None


@pytest.mark.parametrize("case", evolution.CASES)
def test_the_trainer_takes_the_settings_of_every_case(case):
    settings = evolution.resolved([*evolution.CASES[case], *evolution.run_arguments(evolution.parse_arguments([]), 0)])
    assert settings["run"]["shared"] is (case != "independent")
    assert settings["evolution"]["random_share"] == 1.0 or case != "random"


def test_diversity_of_equal_and_of_opposite_bodies():
    assert evolution.mean_distance(np.zeros((3, 2))) == 0.0
    assert evolution.mean_distance(np.array([[0.0, 0.0], [1.0, 1.0]])) == pytest.approx(1.0)
    assert evolution.mean_distance(np.zeros((1, 2))) == 0.0


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    program = Path(learning.__file__)
    command = [sys.executable, str(program), "--set", "ppo.clipp=1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "ppo.clip" in done.stderr


def test_a_reader_that_goes_away_is_no_failure(tmp_path):
    program = Path(learning.__file__)
    shutil.copytree(program.parent / "results" / "epochs", tmp_path / "epochs")
    command = [sys.executable, str(program), "--report", "--out", str(tmp_path / "epochs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as report:
        report.stdout.close()
        assert report.stderr.read() == ""
        assert report.wait() == 0


def heed_ctrl_c() -> None:
    """Undoes what a shell does to its background jobs: their children inherit that they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_ends_a_program_with_one_line(tmp_path, bodies):
    endless = ["--workers", "0", "--steps", "100000000", "--points", "1000000", *ONE_SEED]
    command = [sys.executable, learning.__file__, "--bodies", bodies, *endless, "--out", str(tmp_path / "out")]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=heed_ctrl_c) as program:
        assert program.stdout.readline().startswith("#")
        program.send_signal(signal.SIGINT)
        program.stdout.read()
        said = program.stderr.read()
        assert program.wait() == 130
    assert said.splitlines()[-1].startswith("interrupted") and "Traceback" not in said


def test_litters_add_what_their_contests_give():
    """Two litters: in the first all chosen want their cell again, in the second the fastest gets the incumbent's."""
    archive = Archive(AXES)
    archive.add(toy_elite(0, toy_score(1.0, contact=0.1)))
    tries = {n: toy_score(0.01 * n, contact=0.5) for n in range(2 * litters.LITTER)}
    contests = dict(tries) | {63: toy_score(1.2, contact=0.1)}
    found = litters.compare(archive, tries, contests, litters=2)
    assert found["promised_m_s"] == pytest.approx([0.28 + 0.29 + 0.30 + 0.31, 0.60 + 0.61 + 0.62 + 0.63])
    assert found["added_m_s"] == pytest.approx([0.28 + 0.29 + 0.30 + 0.31, 0.60 + 0.61 + 0.62 + 0.20])
    assert found["same_cell"] == 63 / 64 and found["same_cell_chosen"] == 7 / 8


def test_children_add_what_they_are_faster_by_alone():
    """Of two children for one cell each counts as if it were alone; one that is slower than the incumbent adds 0."""
    archive = Archive(AXES)
    archive.add(toy_elite(0, toy_score(1.0, contact=0.1)))
    bred = [Newborn(number, f"design {number}", parents) for number, parents in enumerate([(), (0,), (0,), (0, 7)])]
    contests = {0: toy_score(0.1, contact=0.1), 1: toy_score(0.4, contact=0.5), 2: toy_score(0.6, contact=0.5)}
    found = litters.by_origin(archive, bred, contests)
    assert found["random"] == {"elites": 1, "fitness_m_s": [0.1], "added_m_s": [0.0]}
    assert found["one parent"] == {"elites": 0, "fitness_m_s": [0.4, 0.6], "added_m_s": [0.4, 0.6]}
    assert found["two parents"] == {"elites": 0, "fitness_m_s": [], "added_m_s": []}
    table = litters.table_of_origins([{"run": "a", "origins": found}, {"run": "made before"}])
    own = [
        "random | 1 | 1 | 0.100 | 0.100 | 0% | 0.00 |",
        "one parent | 0 | 2 | 0.500 | 0.600 | 100% | 50.00 (10.00) |",  # of 40 and 60 their spread 14.1 / sqrt(2)
    ]
    pooled = "any | 1 | 3 | 0.367 | 0.600 | 67% | 33.33 (17.64) |"  # of 0, 40 and 60 their spread 30.6 / sqrt(3)
    assert table.splitlines()[2:] == [f"| {run} | {row}" for run in ("a", "all") for row in own] + [f"| all | {pooled}"]


def test_litters_are_bred_with_other_settings(evolved, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(litters, "LITTER", 4)
    run = evolved / "runs" / "shared-seed0"
    arguments = ["--runs", str(run), "--litters", "1", "--out", str(tmp_path), "--set", "evolution.more_edits=0"]
    litters.main(arguments)
    assert capsys.readouterr().out.splitlines()[-1].startswith("| all | any |")
    part = json.loads((tmp_path / "shared-seed0.json").read_text())
    assert part["settings"]["evolution"]["more_edits"] == 0
    children = sum(len(found["fitness_m_s"]) for found in part["origins"].values())
    elites = sum(found["elites"] for found in part["origins"].values())
    archive = json.loads((run / "archive.json").read_text())
    assert children == 4 and elites == len(archive)
