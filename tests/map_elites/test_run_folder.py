"""Names, refusals, checkpoints, logs and tables of a run folder."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from map_elites.curves import Table, TensorBoard
from map_elites.errors import RunFailedError, UserError
from map_elites.files import write_atomically
from map_elites.logs import LogFile, RunLog
from map_elites.run_folder import (
    RunFolder,
    check_name,
    check_new_folder,
    default_name,
    describe_versions,
    make_folder,
    open_folder,
)


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "..", "a..b", "../x", ".hidden", "-x", "a\nb", "x" * 300, "a\\b", "/tmp", "\udcc3"]
)
def test_bad_names_are_refused(name: str):
    with pytest.raises(UserError, match="--run-name"):
        check_name(name)


@pytest.mark.parametrize("name", ["run1", "läuft", "a b", "2026-11-21_x.y"])
def test_plain_names_are_taken(name: str):
    assert check_name(name) == name


def test_existing_folder_is_refused_and_untouched(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="exists; choose another --run-name, or go on with --resume"):
        make_folder(tmp_path, "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_refusal_makes_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    for results_dir, name in ((tmp_path / "new", "a/b"), (tmp_path / "file", "run"), (tmp_path / "file" / "x", "run")):
        with pytest.raises(UserError):
            make_folder(results_dir, name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written to"):
        check_new_folder(tmp_path / "new", "run")
    with pytest.raises(UserError):
        make_folder(Path("/proc/nothing"), "run")


@pytest.mark.parametrize("results_dir", ["/proc/nothing", "x" * 300])
def test_folder_that_no_system_would_make_is_refused(results_dir: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot"):
        make_folder(Path(results_dir), "run")


def test_default_names_do_not_collide(tmp_path: Path):
    first = default_name(tmp_path, mode="sync", seed=3)
    (tmp_path / first).mkdir()
    assert default_name(tmp_path, mode="sync", seed=3) != first and first.endswith("sync-seed3")


def test_only_run_folders_are_opened(tmp_path: Path):
    with pytest.raises(UserError, match="no folder"):
        open_folder(tmp_path / "nothing")
    with pytest.raises(UserError, match="not a run folder"):
        open_folder(tmp_path)


def test_newest_complete_checkpoints_and_the_first_one_stay(tmp_path: Path):
    folder = make_folder(tmp_path, "run")
    with pytest.raises(RunFailedError, match="no complete checkpoint"):
        folder.newest_checkpoint()
    for steps in (0, 10, 20, 30, 30):
        folder.write_checkpoint(steps, lambda path, steps=steps: (path / "x").write_text(str(steps)), keep=2)
    (folder.checkpoints_path / ".writing").mkdir()
    (folder.checkpoints_path / "notes").mkdir()
    names = [int(path.name.removeprefix("step_")) for path in folder.checkpoints()]
    assert names == [0, 20, 30] and (folder.newest_checkpoint() / "x").read_text() == "30"


def test_failed_checkpoint_leaves_the_earlier_ones(tmp_path: Path):
    folder = make_folder(tmp_path, "run")
    folder.write_checkpoint(1, lambda path: (path / "x").write_text("good") and None, keep=2)

    def fail(path: Path) -> None:
        (path / "x").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        folder.write_checkpoint(2, fail, keep=2)
    assert (folder.newest_checkpoint() / "x").read_text() == "good"
    assert [path.name for path in folder.checkpoints_path.iterdir()] == ["step_000000000001"]


def test_failed_write_names_the_file_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "a.json"
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        write_atomically(path, "text")
    assert caught.value.filename == str(path) and list(tmp_path.iterdir()) == [path]


def test_log_lines_go_to_both_files_and_errors_are_kept(tmp_path: Path):
    log = RunLog([tmp_path / "a.log", tmp_path / "b.log"])
    log.open()
    logging.getLogger("map_elites.x").info("hello %d", 3)
    log.check()
    log.close()
    assert all((tmp_path / name).read_text().endswith("INFO    hello 3\n") for name in ("a.log", "b.log"))


def test_full_disk_is_seen_by_the_log(capsys):
    log = RunLog([Path("/dev/full")])
    log.open()
    logging.getLogger("map_elites.x").info("hello")
    with pytest.raises(OSError, match="No space"):
        log.check()
    log.close()
    assert capsys.readouterr().err == ""


def test_log_file_that_cannot_be_opened_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot write log file"):
        LogFile(tmp_path / "nothing" / "x.log")


def test_table_is_cut_back_to_the_checkpoint(tmp_path: Path):
    path = tmp_path / "m.csv"
    table = Table(path, ["env_steps", "speed", "note"])
    for steps in (10, 20, 30):
        table.add({"env_steps": steps, "speed": steps / 3, "extra": 1})
    table.close()
    again = Table(path, ["env_steps", "speed", "note"], upto=20)
    again.add({"env_steps": 25, "speed": None, "note": "a,b"})
    again.close()
    assert path.read_text() == 'env_steps,speed,note\n10,3.33333,\n20,6.66667,\n25,,"a,b"\n'


def test_table_without_its_damaged_rows_goes_on(tmp_path: Path):
    path = tmp_path / "m.csv"
    path.write_bytes(b"env_steps,speed\n10,0.5\n\0\0\0\0\n\xff\xfe,1\n15,0")
    Table(path, ["env_steps", "speed"], upto=20).close()
    assert path.read_text() == "env_steps,speed\n10,0.5\n15,0\n"


@pytest.mark.parametrize("content", [b"\x80\xff\n1\n", b"speed\n1\n"])
def test_foreign_table_is_named_and_kept(tmp_path: Path, content: bytes):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(RunFailedError, match="is damaged; the run can go on"):
        Table(path, ["env_steps", "speed"], upto=20)
    assert path.read_bytes() == content


def test_empty_table_starts_again(tmp_path: Path):
    path = tmp_path / "m.csv"
    path.touch()
    Table(path, ["env_steps", "speed"], upto=20).close()
    assert path.read_text() == "env_steps,speed\n"


def test_tensorboard_reads_the_curves(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from map_elites.archive import Archive
    from map_elites.plots import draw_heatmap, figure_png
    from tests.map_elites.fakes import AXES

    board = TensorBoard(tmp_path)
    board.scalars({"archive/coverage": 0.25, "train/kl": 0.01}, 100)
    board.image("archive/heatmap", figure_png(draw_heatmap(Archive(AXES))), 100)
    board.flush()
    seen = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    seen.Reload()
    assert set(seen.Tags()["scalars"]) == {"archive/coverage", "train/kl"}
    assert seen.Scalars("archive/coverage")[0].value == 0.25 and seen.Images("archive/heatmap")[0].width > 500
    board.close()


def test_versions_name_what_results_depend_on():
    text = describe_versions()
    assert all(f"{name} " in text for name in ("python", "torch", "numpy", "pybullet", "commit"))


def test_two_runs_never_write_to_one_folder(tmp_path: Path):
    folder = make_folder(tmp_path, "a")
    with (
        folder.claimed(),
        pytest.raises(UserError, match="another process is writing"),
        RunFolder(folder.path).claimed(),
    ):
        pass
    with folder.claimed():
        pass
