"""Run folders that are damaged or not finished: one clear line, a fitting exit code, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from map_elites.archive import Archive, Elite, Score
from map_elites.checkpoint import search_state, write_state
from map_elites.cli import main
from map_elites.config import to_yaml
from map_elites.trainer.runs import make_search, open_run, plan_of
from map_elites.trainer.settings import TrainConfig, config_from
from robogrammar_env.design import RobotDesign

WALKER = RobotDesign.from_text("body(swing, obtuse_lift) -lift- body(swing, obtuse_lift)")


@pytest.fixture(autouse=True)
def work_in(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complaint(capsys, *argv: str) -> tuple[int, str]:
    code = main([str(part) for part in argv])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err and "unexpected" not in captured.err
    return code, captured.err


def make_config(*, shared: bool = False) -> TrainConfig:
    return config_from({"run": {"shared": shared, "multiprocess": False}})


def make_run(*, shared: bool = True, elites: int = 1) -> Path:
    """A run folder with an archive and no policy."""
    config = make_config(shared=shared)
    archive = Archive(config.archive.axes())
    for number in range(elites):
        measured = {axis.name: axis.low for axis in archive.axes}
        archive.add(Elite(number, WALKER, Score(0.1, measured, 1, 1), WALKER.num_joints, "flat", "pybullet"))
    folder = Path("run")
    (folder / "checkpoints" / "step_000000000010").mkdir(parents=True)
    (folder / "policies").mkdir()
    (folder / "config.yaml").write_text(to_yaml(config))
    archive.save(folder / "archive.json")
    return folder


JOBS = (("--export", "run", "--out", "out"), ("--replay", "run", "--out", "a.gif"), ("--evaluate", "run"))


@pytest.mark.parametrize("job", JOBS, ids=[job[0] for job in JOBS])
@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 half", b"text"])
@pytest.mark.parametrize("shared", [True, False])
def test_damaged_policy_is_exit_code_1(capsys, job, content, shared):
    place = "checkpoints/step_000000000010/learner.npz" if shared else "policies/0.npz"
    file = make_run(shared=shared) / place
    if content is not None:
        file.write_bytes(content)
    code, text = complaint(capsys, *job)
    assert code == 1 and str(file) in text and "pickle" not in text


@pytest.mark.parametrize("job", JOBS, ids=[job[0] for job in JOBS])
def test_there_is_nothing_to_do_with_an_empty_archive(capsys, job):
    make_run(elites=0)
    code, text = complaint(capsys, *job)
    assert code == 2 and "no elite" in text and not Path("run/evaluations").exists()


def test_a_run_made_on_a_gpu_needs_none_afterwards(capsys, monkeypatch):
    """Whoever has none scores, films and exports; only going on needs another --device."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = make_run()
    config = make_config(shared=True)
    (folder / "config.yaml").write_text(to_yaml(replace(config, ppo=replace(config.ppo, device="cuda"))))
    assert open_run(folder)[1].ppo.device == "cpu"
    code, text = complaint(capsys, "--resume", folder)
    assert code == 2 and "--device cuda" in text and "take --device cpu or auto" in text
    code, text = complaint(capsys, "--resume", folder, "--device", "cpu")
    assert code == 1 and "device" not in text


def test_an_independent_run_has_no_device(capsys):
    code, text = complaint(capsys, "--resume", make_run(shared=False), "--device", "cpu")
    assert code == 2 and "--device means nothing with --train-independent" in text


def test_a_shared_run_does_not_go_on_as_an_independent_one(capsys):
    """As after a wrong edit of config.yaml: its elites would lose their scores."""
    folder = make_run(shared=False)
    before = (folder / "archive.json").read_bytes()
    write_state(
        folder / "checkpoints" / "step_000000000010",
        {"env_steps": 10, "totals": {}, "search": search_state(make_search(make_config(), plan_of(make_config())))},
    )
    (folder / "checkpoints" / "step_000000000010" / "learner.npz").touch()
    code, text = complaint(capsys, "--resume", folder)
    assert code == 1 and "config.yaml is damaged: run.shared is false" in text
    assert (folder / "archive.json").read_bytes() == before
