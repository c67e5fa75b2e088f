"""The command line: bad input is one clear line and a fitting exit code, and touches nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from map_elites.cli import main, make_parser, overrides

ROOT = Path(__file__).parents[2]


def complaint(capsys, *argv: str) -> tuple[int, str]:
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "Traceback" not in captured.err
    return code, captured.err


@pytest.fixture(autouse=True)
def work_in(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)


BAD = [
    ((), "nothing to do"),
    (("--train-shred",), "unknown argument --train-shred; did you mean --train-shared?"),
    (("--train-shared", "stray"), "unknown argument stray"),
    (("--train-shared", "--train-independent"), "not allowed with"),
    (("--train-shared", "--seed"), "expected one argument"),
    (("--train-shared", "--seed", "x"), "run.seed: wants a whole number, got 'x'"),
    (("--train-shared", "--seed", "-1"), "run.seed: must be in"),
    (("--train-shared", "--seed", "1.5"), "run.seed: wants a whole number"),
    (("--train-shared", "--total-steps", "0"), "run.total_steps: must be at least 1"),
    (("--train-shared", "--total-steps", "nan"), "run.total_steps"),
    (("--train-shared", "--max-workers", "0"), "run.max_workers: must be in"),
    (("--train-shared", "--mode", "fast"), "run.mode: wants one of async, sync; got 'fast'"),
    (("--train-shared", "--device", "gpu"), "device must be one of auto, cpu, cuda, got 'gpu'"),
    (("--train-independent", "--device", "cuda"), "--device means nothing with --train-independent"),
    (("--train-shared", "--terrain", "flatt"), "unknown terrain 'flatt', did you mean 'flat'?"),
    (("--train-shared", "--engine", "bullet"), "unknown engine 'bullet'"),
    (("--train-shared", "--training-engine", "mojoco"), "engine 'mojoco', did you mean 'mujoco'?"),
    (("--train-shared", "--run-name", "a/b"), "--run-name"),
    (("--train-shared", "--run-name", ".."), "--run-name"),
    (("--train-shared", "--run-name", ""), "--run-name"),
    (("--train-shared", "--config", "nothing.yaml"), "cannot read config nothing.yaml: No such file or directory"),
    (("--train-shared", "--config", "."), "cannot read config .: Is a directory"),
    (("--train-shared", "--log-file", "no/such/folder/x.log"), "cannot write log file"),
    (("--train-shared", "--log-file", f"{__file__}/x.log"), "cannot write log file"),
    (("--train-shared", "--set", "ppo.clip"), "wants KEY=VALUE"),
    (("--train-shared", "--set", "ppo.clipp=0.1"), "unknown key ppo.clipp; did you mean ppo.clip?"),
    (("--train-shared", "--set", "ppo.clip=-1"), "ppo: clip must be above 0"),
    (("--train-shared", "--set", "archive.descriptors=[joint]"), "did you mean 'joints'"),
    (("--train-shared", "--total-steps", "5", "--set", "run=3"), "run: wants a mapping, got 3"),
    (("--train-shared", "--set", "evolution.max_joints=1"), "evolution.max_joints: must be in [2, 24], got 1"),
    (("--train-shared", "--axes", "a,b"), "--axes goes with --plot"),
    (("--gallery", "runs/x", "--total-steps", "5"), "--total-steps means nothing with --gallery"),
    (("--export", "runs/x", "--out", "y", "--set", "ppo.clip=0.1"), "--set means nothing with --export"),
    (("--evaluate", "runs/x", "--set", "ppo.clip=0.1"), "--set ppo.clip=0.1 means nothing with --evaluate"),
    (("--evaluate", "runs/x", "--resume", "runs/x"), "--resume means nothing with --evaluate"),
    (("--plot", "runs/x", "--axes", ""), "no folder runs/x"),
    (("--train-shared", "--axes", ""), "--axes goes with --plot"),
    (("--export", "runs/x", "--out", ""), "--out: is empty"),
    (("--resume", ""), "--resume: is empty"),
    (("--export", "runs/x", "--out", __file__), "is not a folder"),
    (("--export", "runs/x", "--out", "/proc/out"), "no folder runs/x"),
    (("--replay", "runs/x", "--out", f"{__file__}/walk.gif"), "is not a folder"),
    (("--gallery", "runs/x", "--out", f"{__file__}/all.png"), "is not a folder"),
    (("--gallery", "runs/x", "--out", "."), "is a folder"),
    (("--gallery", "runs/x", "--out", "all.bmp"), "wants a name that ends in .png, .pdf or .svg"),
    (("--gallery", "runs/x", "--out", "all"), "wants a name that ends in .png, .pdf or .svg"),
    (("--resume", "nothing"), "no folder nothing"),
    (("--resume", "."), "not a run folder"),
    (("--evaluate", "."), "not a run folder"),
    (("--plot", "nothing"), "no folder nothing"),
]


@pytest.mark.parametrize(("argv", "message"), BAD, ids=[" ".join(argv) or "(empty)" for argv, _ in BAD])
def test_bad_command_line_is_exit_code_2_and_touches_nothing(capsys, tmp_path: Path, argv, message):
    code, text = complaint(capsys, *argv)
    assert code == 2 and message in text
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(capsys, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, text = complaint(capsys, "--train-shared", "--device", "cuda")
    assert code == 2 and "--device cuda (ppo.device): PyTorch" in text
    assert list(tmp_path.iterdir()) == []


def test_existing_run_folder_is_refused(capsys, tmp_path: Path):
    (tmp_path / "results" / "old").mkdir(parents=True)
    code, text = complaint(capsys, "--train-shared", "--run-name", "old")
    assert code == 2 and "exists" in text and list((tmp_path / "results" / "old").iterdir()) == []


def test_every_problem_of_a_config_is_named_in_one_line(capsys, tmp_path: Path):
    (tmp_path / "c.yaml").write_text("run: {seeed: 1}\nppo: {learning_rate: fast}\nmodel_config: {hidden_dims: 3}\n")
    code, text = complaint(capsys, "--train-shared", "--config", "c.yaml")
    assert code == 2 and "unknown key model_config.hidden_dims" in text
    (tmp_path / "c.yaml").write_text("run: {seeed: 1}\nppo: {learning_rate: fast}\n")
    code, text = complaint(capsys, "--train-shared", "--config", "c.yaml")
    assert code == 2 and "did you mean run.seed?" in text and "ppo.learning_rate: wants a number, got 'fast'" in text


def test_damaged_archive_is_exit_code_1(capsys, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {seed: 3}\n")
    for text in ("", "[{]", '[{"id": 1}]'):
        (tmp_path / "run" / "archive.json").write_text(text)
        code, message = complaint(capsys, "--plot", "run")
        assert code == 1 and "archive.json is damaged" in message and "--resume" in message
    (tmp_path / "run" / "archive.json").unlink()
    assert complaint(capsys, "--plot", "run")[0] == 1


def test_damaged_settings_of_a_run_are_exit_code_1(capsys, tmp_path: Path):
    (tmp_path / "run").mkdir()
    for content in ("run: [", "", " \n"):
        (tmp_path / "run" / "config.yaml").write_text(content)
        for flag in ("--resume", "--plot", "--evaluate"):
            code, text = complaint(capsys, flag, "run")
            assert code == 1 and "config.yaml is damaged" in text


def test_run_without_checkpoint_cannot_be_resumed(capsys, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {seed: 3}\n")
    code, text = complaint(capsys, "--resume", "run")
    assert code == 1 and "no complete checkpoint" in text


def test_settings_of_a_run_stay_when_it_is_resumed(capsys, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {seed: 3}\n")
    code, text = complaint(capsys, "--resume", "run", "--seed", "4")
    assert code == 2 and "--seed cannot change" in text
    code, text = complaint(capsys, "--resume", "run", "--train-independent")
    assert code == 2 and "is a --train-shared run" in text


def test_a_run_is_not_cut_short_by_its_resume(capsys, tmp_path: Path):
    folder = tmp_path / "run" / "checkpoints" / "step_000000000300"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"format": 1, "env_steps": 300}')
    (tmp_path / "run" / "config.yaml").write_text("run: {total_steps: 1000}\n")
    code, text = complaint(capsys, "--resume", "run", "--total-steps", "200")
    assert code == 2 and "--total-steps 200: run has 300 steps behind it already" in text


def test_an_empty_archive_can_be_plotted_over_any_axes(capsys, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {seed: 3}\n")
    (tmp_path / "run" / "archive.json").write_text("[]")
    assert main(["--plot", "run"]) == 0 and (tmp_path / "run" / "plots" / "heatmap.png").exists()
    assert main(["--plot", "run", "--axes", "joints, mass_kg"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("heatmap_joints_mass_kg.png")
    for axes in ("joints", "joints,joints", "joints,legs,mass_kg", "joints,mass"):
        code, text = complaint(capsys, "--plot", "run", "--axes", axes)
        assert code == 2 and "--axes" in text


def test_flags_become_settings():
    arguments = make_parser().parse(
        ["--train-shared", "--total-steps", "2e4", "--run-name", "x", "--terrain", "flat", "--set", "ppo.clip=1e-1"]
    )
    assert overrides(arguments) == {
        "run": {"total_steps": "2e4", "name": "x", "shared": True},
        "environment": {"terrain": "flat"},
        "ppo": {"clip": "1e-1"},
    }


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for flag in ("--train-shared", "--train-independent", "--config", "--results-dir", "--run-name", "--seed",
                 "--max-workers", "--total-steps", "--terrain", "--engine", "--mode", "--device", "--resume",
                 "--log-file", "--evaluate", "--plot", "--axes"):  # fmt: skip
        assert flag in text


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_shell_closed_are_not_given_to_a_file(tmp_path: Path, closed: str):
    code = "import os, sys; from map_elites.cli import main; main(['--plot', 'nothing']); print(1)"
    code += "; print(2, file=sys.stderr); x = open('x', 'w'); os._exit(x.fileno() < 3)"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0


def test_entry_point_answers_bad_input_fast(tmp_path: Path):
    started = time.monotonic()
    command = [sys.executable, str(ROOT / "map_elites_trainer.py"), "--train-shared", "--seed", "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert time.monotonic() - started < 15 and list(tmp_path.iterdir()) == []
