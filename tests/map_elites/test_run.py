"""The entry point on real parts, at the smallest size at which everything happens."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.map_elites.test_docs import documented_tags, scalar_tags

ROOT = Path(__file__).parents[2]
STARTED: list[subprocess.Popen] = []
SCREENED = ("--set", "evolution.screening_episodes=1")  # so that even a small run screens a few bodies
SMALL = ("--total-steps", "3000", "--max-workers", "2", "--set", "evaluation.verification_episodes=1")


@pytest.fixture(autouse=True)
def nothing_left():
    """Ends whatever a failed test has left behind."""
    STARTED.clear()
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()


def trainer(tmp_path: Path, *argv: str, **options) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "map_elites_trainer.py"), *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    options.setdefault("env", {**os.environ, "PYTHONPATH": str(ROOT)})
    STARTED.append(subprocess.Popen(command, **(pipes | options)))
    return STARTED[-1]


def finish(process: subprocess.Popen, timeout_s: float = 240) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def archive_of(folder: Path) -> bytes:
    return (folder / "archive.json").read_bytes()


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def wait_until(condition, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def processes_of(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def titled(process: subprocess.Popen, title: str) -> list[psutil.Process]:
    found = []
    for child in processes_of(process):
        try:
            if " ".join(child.cmdline()).startswith(title):
                found.append(child)
        except psutil.Error:
            continue
    return found


def test_a_small_run_with_everything_that_follows_it(tmp_path: Path):
    """Train, evaluate, plot, go on: one run, because starting processes is what takes the time."""
    code, out, err = finish(trainer(tmp_path, "--train-shared", "--run-name", "a", *SMALL))
    folder = tmp_path / "results" / "a"
    assert code == 0, err
    assert "verified_qd_score" in out and "Traceback" not in err
    summary = summary_of(folder)
    assert summary["status"] == "finished"
    assert abs(summary["env_steps"] - 3000) <= 450  # workers make some thousand steps a second, a poll takes 50 ms
    assert summary["experience_received"] == summary["experience_used"] + summary["experience_dropped"] > 0
    assert summary["policy_updates"] >= 2 and summary["num_elites"] == len(json.loads(archive_of(folder)))
    names = {"config.yaml", "versions.txt", "training.log", "metrics.csv", "tensorboard", "archive.json", "checkpoints"}
    assert names | {"plots", "summary.json"} <= {path.name for path in folder.iterdir()}
    assert (tmp_path / "training.log").read_text() == (folder / "training.log").read_text()
    assert scalar_tags(folder / "tensorboard") == documented_tags()

    before = archive_of(folder)
    code, out, err = finish(trainer(tmp_path, "--evaluate", "results/a", "--engine", "mujoco"))
    assert code == 0 and f"{summary['num_elites']} elites scored on flat in mujoco" in out, err
    report = json.loads((folder / "evaluations" / "mujoco_flat.json").read_text())
    assert len(report["elites"]) == report["compared"] == summary["num_elites"] and report["engine"] == "mujoco"
    assert "rank correlation (Spearman)" in out and archive_of(folder) == before

    for job, target in (("--gallery", "all.png"), ("--replay", "walk.gif"), ("--export", "out")):
        code, out, err = finish(trainer(tmp_path, job, "results/a", "--out", target))
        assert code == 0 and target in out, err
    assert (tmp_path / "walk.gif").read_bytes()[:3] == b"GIF" and (tmp_path / "all.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "out" / "robot.urdf").exists() and archive_of(folder) == before

    code, out, err = finish(trainer(tmp_path, "--resume", "results/a", "--total-steps", "4000"))
    assert code == 0, err
    again = summary_of(folder)
    assert abs(again["env_steps"] - 4000) <= 450 and again["policy_version"] > summary["policy_version"]
    assert again["wall_seconds"] > summary["wall_seconds"]
    assert again["experience_received"] > summary["experience_received"]


@pytest.mark.slow
def test_sync_gives_the_same_archive_byte_for_byte(tmp_path: Path):
    for name, processes in (("a", "true"), ("b", "true"), ("c", "false"), ("d", "false")):
        flags = ("--mode", "sync", "--seed", "3", "--set", f"run.multiprocess={processes}", *SCREENED)
        code, _, err = finish(trainer(tmp_path, "--train-shared", "--run-name", name, *flags, *SMALL))
        assert code == 0, err
        assert "with a random gait" in (tmp_path / "results" / name / "training.log").read_text()
    archives = [archive_of(tmp_path / "results" / name) for name in "abcd"]
    assert archives[0] == archives[1] and archives[2] == archives[3] and len(json.loads(archives[0])) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--train-shared", "--train-independent"])
def test_a_run_on_several_terrains_is_reproducible_and_scores_on_each(tmp_path: Path, kind: str):
    terrains = ("flat", "ridged", "gap")
    flags = ("--terrain", ",".join(terrains), "--mode", "sync", "--engine", "mujoco", "--total-steps", "6000")
    flags += ("--max-workers", "2", "--set", "evaluation.verification_episodes=1")
    for name in "ab":
        code, _, err = finish(trainer(tmp_path, kind, "--run-name", name, *flags))
        assert code == 0, err
    assert archive_of(tmp_path / "results" / "a") == archive_of(tmp_path / "results" / "b")
    elites = json.loads(archive_of(tmp_path / "results" / "a"))
    assert elites
    for elite in elites:
        assert elite["terrain"] == "flat,ridged,gap"
        for fitness, speeds in (("fitness", "terrain_speeds"), ("verified_fitness", "verified_terrain_speeds")):
            assert sorted(elite[speeds]) == sorted(terrains)
            assert elite[fitness] == pytest.approx(sum(elite[speeds].values()) / 3)
    code, out, err = finish(trainer(tmp_path, "--evaluate", "results/a", "--terrain", "stepped"))
    assert code == 0 and f"{len(elites)} elites scored" in out, err
    code, _, err = finish(trainer(tmp_path, "--replay", "results/a", "--terrain", "gap", "--out", "walk.gif"))
    assert code == 0, err
    code, _, err = finish(trainer(tmp_path, "--resume", "results/a", "--total-steps", "7000"))
    assert code == 0, err


@pytest.mark.slow
def test_independent_run_with_everything_that_follows_it(tmp_path: Path):
    archives = []
    for name in "ab":
        flags = ("--train-independent", "--mode", "sync", "--run-name", name, "--total-steps", "6000")
        code, _, err = finish(trainer(tmp_path, *flags, "--max-workers", "2"))
        assert code == 0, err
        archives.append(archive_of(tmp_path / "results" / name))
    assert archives[0] == archives[1]
    summary = summary_of(tmp_path / "results" / "a")
    assert abs(summary["env_steps"] - 6000) <= 300 and summary["num_elites"] > 0
    code, out, err = finish(trainer(tmp_path, "--evaluate", "results/a"))
    assert code == 0 and f"{summary['num_elites']} elites scored" in out, err
    code, _, err = finish(trainer(tmp_path, "--resume", "results/a", "--total-steps", "8000"))
    assert code == 0, err
    assert abs(summary_of(tmp_path / "results" / "a")["env_steps"] - 8000) <= 400


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--train-shared", "--train-independent"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_a_checkpoint_and_no_process(tmp_path: Path, kind: str, number: int):
    folder = tmp_path / "results" / "a"
    process = trainer(tmp_path, kind, "--run-name", "a", "--total-steps", "300000")
    wait_until(lambda: folder.exists() and "steps/s" in (folder / "training.log").read_text())
    family = processes_of(process)
    process.send_signal(number)
    code, _, err = finish(process, 60)
    assert code == 128 + number and "Traceback" not in err
    assert summary_of(folder)["status"] == "interrupted"
    wait_until(lambda: not any(child.is_running() for child in family), 10)
    steps = summary_of(folder)["env_steps"]
    code, _, err = finish(trainer(tmp_path, "--resume", "results/a", "--total-steps", str(steps + 3000)))
    assert code == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["--train-shared", "--train-independent"])
def test_killed_main_process_leaves_no_orphan_and_a_run_that_goes_on(tmp_path: Path, kind: str):
    folder = tmp_path / "results" / "a"
    flags = ("--total-steps", "300000", "--set", "run.checkpoint_interval_s=3")
    process = trainer(tmp_path, kind, "--run-name", "a", *flags)
    wait_until(lambda: len(list((folder / "checkpoints").glob("step_*"))) >= 3)
    family = processes_of(process)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in family), 20)
    json.loads(archive_of(folder))
    steps = max(int(path.name.removeprefix("step_")) for path in (folder / "checkpoints").glob("step_*"))
    code, _, err = finish(trainer(tmp_path, "--resume", "results/a", "--total-steps", str(steps + 3000)))
    assert code == 0, err


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills", "steps"), [("--train-shared", 20, 80000), ("--train-independent", 4, 50000)])
def test_killed_workers_are_replaced_and_counted(tmp_path: Path, kind: str, kills: int, steps: int):
    folder, moment = tmp_path / "results" / "a", random.Random(kills)
    process = trainer(tmp_path, kind, "--run-name", "a", "--total-steps", steps)
    wait_until(lambda: len(titled(process, "map_elites: worker")) == 2)
    for kill in range(1, kills + 1):
        time.sleep(moment.uniform(0, 0.5))
        victim = titled(process, "map_elites: worker")[kill % 2]
        victim.kill()
        wait_until(lambda kill=kill: (folder / "training.log").read_text().count("was replaced") >= kill)
        wait_until(lambda: len(titled(process, "map_elites: worker")) == 2)
    code, _, err = finish(process)
    assert code == 0, err
    summary = summary_of(folder)
    assert summary["worker_restarts"] == kills and summary["failed_evaluations"] == 0
    assert summary["experience_received"] == summary["experience_used"] + summary["experience_dropped"]


@pytest.mark.slow
def test_killed_learner_goes_on_from_its_last_version(tmp_path: Path):
    folder = tmp_path / "results" / "a"
    process = trainer(tmp_path, "--train-shared", "--run-name", "a", "--total-steps", "25000")
    started = re.compile(r"policy version ([2-9]|1\d)")
    wait_until(lambda: folder.exists() and started.search((folder / "training.log").read_text()))
    titled(process, "map_elites: shared_ppo learner")[0].kill()
    code, _, err = finish(process)
    assert code == 0, err
    assert "learner died (signal 9) and was replaced" in (folder / "training.log").read_text()
    assert summary_of(folder)["worker_restarts"] == 0


@pytest.mark.slow
def test_full_disk_is_exit_code_1_with_one_line(tmp_path: Path):
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system of its own needs root")
    try:
        flags = ("--run-name", "a", "--results-dir", str(disk), "--set", "run.checkpoint_interval_s=1")
        code, _, err = finish(trainer(tmp_path, "--train-shared", "--total-steps", "300000", *flags))
        assert code == 1 and "No space left on device" in err.splitlines()[-1] and "Traceback" not in err
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_log_that_cannot_be_written_ends_the_run(tmp_path: Path):
    code, _, err = finish(trainer(tmp_path, "--train-shared", *SMALL, "--log-file", "/dev/full"))
    assert code == 1 and "No space left on device" in err.splitlines()[-1] and "Traceback" not in err
