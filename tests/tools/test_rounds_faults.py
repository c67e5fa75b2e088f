"""Damaged data, a full disk, two runners: a clear message each, and nothing lost that was there before."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tools.rounds.cli import main
from tools.rounds.journal import holder


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("half", "cannot read result.npz"),
        ("flipped", "cannot read result.npz"),
        ("empty", "cannot read result.npz"),
        ("garbage", "cannot read result.npz"),
        ("none", "no .npz or .npy result in"),
        ("no_samples", "no samples in"),
        ("shape", "samples has rows of <f8 (4,), the rounds before had <f8 (3,)"),
        ("rows", "4 samples, but another number of rows in energies.total: 1"),
    ],
)
def test_bad_results_fail_the_round_with_a_reason_and_it_runs_again(experiment, kind, message):
    assert experiment.run(fake=f"--bad {kind} --bad_rounds 1 --once", objects=["box"]) == 0
    [failed] = [line for line in experiment.rounds() if line["failures"]]
    assert message in failed["failures"][0]["reason"]
    assert experiment.load()["meta"]["round_id"].tolist() == [number for number in range(5) for _ in range(4)]


def interrupted(experiment, max_rounds: int = 3) -> None:
    """Leaves an experiment that stopped in the middle."""
    assert experiment.run("--max_rounds", str(max_rounds)) == 1


def finish(experiment) -> int:
    return experiment.run("--resume", "--max_rounds", "99")


@pytest.fixture
def undisturbed(make_experiment) -> bytes:
    calm = make_experiment("calm")
    assert calm.run() == 0
    return calm.final("cup").read_bytes()


def cut_manifest(folder: Path) -> None:
    data = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(data[: len(data) // 2])


def cut_journal(folder: Path) -> None:
    data = (folder / "rounds.jsonl").read_bytes()
    (folder / "rounds.jsonl").write_bytes(data[:-20])


def garble_journal(folder: Path) -> None:
    data = (folder / "rounds.jsonl").read_bytes()
    (folder / "rounds.jsonl").write_bytes(data[: len(data) // 2] + b"\0" * 50 + data[len(data) // 2 + 50 :])


def garble_both(folder: Path) -> None:
    garble_journal(folder)
    cut_manifest(folder)


def cut_parts(folder: Path) -> None:
    for file in folder.rglob("samples.raw"):
        os.truncate(file, 100)


def drop_parts(folder: Path) -> None:
    for file in folder.rglob("*.raw"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_manifest, "manifest.json is damaged; it is rebuilt from rounds.jsonl"),
        (cut_journal, ""),
        (garble_journal, "going on from"),
        (garble_both, "is damaged after line"),
        (lambda folder: (folder / "rounds.jsonl").unlink(), "going on from"),
        (lambda folder: (folder / "manifest.json").unlink(), ""),
        (cut_parts, "4 of 12 merged samples are there"),
        (drop_parts, "0 of 12 merged samples are there"),
    ],
)
def test_damaged_state_is_told_and_the_result_is_the_same(make_experiment, undisturbed, caplog, damage, message):
    experiment = make_experiment("damaged")
    interrupted(experiment)
    damage(experiment.folder)
    assert finish(experiment) == 0
    assert message in caplog.text
    assert experiment.final("cup").read_bytes() == undisturbed
    assert len(experiment.manifest()["rounds"]) == 10


def test_hopelessly_damaged_state_is_refused_and_left_alone(experiment, capsys):
    interrupted(experiment)
    (experiment.folder / "rounds.jsonl").unlink()
    cut_manifest(experiment.folder)
    before = experiment.final().read_bytes()
    assert finish(experiment) == 1
    assert "manifest.json is damaged and" in capsys.readouterr().err
    assert experiment.final().read_bytes() == before


def test_damaged_final_file_is_told(experiment, capsys):
    assert experiment.run() == 0
    os.truncate(experiment.final(), 100)
    assert experiment.run("--resume") == 1
    assert "final.npz is missing or damaged" in capsys.readouterr().err


def test_lost_folder_of_an_object_is_made_again(experiment):
    assert experiment.run() == 0
    before = experiment.final().read_bytes()
    experiment.final().parent.rename("elsewhere")
    assert experiment.run("--resume") == 0
    assert experiment.final().read_bytes() == before


def test_second_runner_is_refused(experiment, capsys):
    first = subprocess.Popen(experiment.process(fake="--sleep 30"), cwd=experiment.root, stderr=subprocess.DEVNULL)
    wait_until(lambda: (experiment.folder / "manifest.json").exists())
    assert experiment.run("--resume") == 2
    assert f"is being run by process {first.pid}" in capsys.readouterr().err
    assert main(["status", "--exp_name", "exp"]) == 0
    assert f"run by process {first.pid}" in capsys.readouterr().out
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 143


def wait_until(condition, limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "condition did not come true in time"
        time.sleep(0.02)


def stop(experiment, moment: bytes, number: signal.Signals, **options) -> tuple[int, str]:
    """Runs until the journal has a text, sends a signal; returns exit code and what was told."""
    command = experiment.process("--resume", **options)
    runner = subprocess.Popen(command, cwd=experiment.root, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: holder(experiment.folder) == runner.pid and moment in journal(experiment))
    runner.send_signal(number)
    return runner.wait(30), runner.communicate()[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_everything_writes_what_there_is_and_costs_no_retry(experiment, number, code):
    options = {"fake": "--sleep 0.2", "target": 24}
    stopped, told = stop(experiment, b'"status":"merged"', number, **options)
    assert stopped == code
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert len(experiment.load()["samples"]) == experiment.manifest()["objects"]["box"]["count"] < 24
    assert experiment.manifest()["objects"]["box"]["failures"] == 0


def test_signal_after_one_object_is_done(experiment):
    options = {"fake": "--sleep 0.2", "target": 12}
    for moment in (b'"status":"done"', b'"kind":"settings"'):
        stopped, told = stop(experiment, moment, signal.SIGTERM, **options)
        assert (stopped, "Traceback" in told) == (143, False)
    assert experiment.run("--resume", **options) == 0
    assert len(experiment.load("cup")["samples"]) == 12


def journal(experiment) -> bytes:
    path = experiment.folder / "rounds.jsonl"
    return path.read_bytes() if path.exists() else b""


def test_experiment_that_exists_is_not_touched_without_resume(experiment, capsys):
    interrupted(experiment)
    before = journal(experiment)
    assert experiment.run() == 2
    assert "add --resume" in capsys.readouterr().err
    assert journal(experiment) == before


@pytest.mark.parametrize("taken", ["data/experiments/exp__box__r0", "data/experiments/exp/final/box"])
def test_folders_of_somebody_else_are_not_touched(experiment, taken):
    Path(taken).mkdir(parents=True)
    (Path(taken) / "theirs.npy").write_bytes(b"data")
    assert experiment.run("--resume") in (1, 2)
    assert (Path(taken) / "theirs.npy").read_bytes() == b"data"


def test_resume_with_other_settings_is_refused(experiment, capsys):
    interrupted(experiment)
    assert experiment.run("--resume", "--seed_base", "5") == 2
    assert "seed_base was 0, now 5" in capsys.readouterr().err
    assert experiment.run("--resume", target=5) == 2
    assert "target_count_per_object was 20, now 5" in capsys.readouterr().err


def test_short_write_is_told_and_nothing_is_lost(experiment, undisturbed):
    """A limit on the size of files stands for a full disk: the runner itself cannot write any more."""
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *experiment.process(target=60)]
    os.chdir(experiment.root)
    ended = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended.stderr
    assert "make room, then go on with --resume" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert experiment.run("--resume", target=60) == 0
    assert len(experiment.load()["samples"]) == 60


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield folder
    ctypes.CDLL(None).umount2(os.fsencode(folder), 2)


def test_full_disk_is_no_failure_of_the_rounds(make_experiment, small_disk, capsys, monkeypatch):
    experiment = make_experiment("disk")
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 1_500_000)
    assert experiment.run(fake="--dim 2000", target=40) == 1
    assert "make room, then go on with --resume" in capsys.readouterr().err
    filler.unlink()
    assert experiment.run("--resume", "--clean_after", "round", "--cleanup", "*", fake="--dim 2000", target=40) == 0
    assert sum(state["failures"] for state in experiment.manifest()["objects"].values()) == 0
    assert experiment.load("cup")["samples"].shape == (40, 2000)


def test_program_that_found_the_disk_full_stops_the_run_and_costs_no_retry(experiment, capsys):
    options = {"fake": "--bad disk --bad_rounds 2 --once", "objects": ["box"]}
    assert experiment.run(**options) == 1
    assert "make room, then go on with --resume" in capsys.readouterr().err
    assert experiment.run("--resume", **options) == 0
    assert experiment.manifest()["objects"]["box"]["failures"] == 0
    assert experiment.load()["meta"]["round_id"].tolist() == [number for number in range(5) for _ in range(4)]


def test_given_up_object_has_another_chance(experiment):
    few = ("--retries", "0", "--give_up_after", "2")
    assert experiment.run(*few, fake="--bad exit --bad_rounds 1,2", objects=["box"]) == 1
    assert experiment.manifest()["objects"]["box"]["status"] == "given up"
    assert experiment.run("--resume", *few, objects=["box"]) == 0
    rounds = [line["round_id"] for line in experiment.rounds()]
    assert sorted(rounds) == sorted(set(rounds))
    assert len(experiment.load()["samples"]) == 20
