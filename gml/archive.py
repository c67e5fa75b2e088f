"""Moves and mends tasks: export, import, clean, and true states after a scheduler's death."""

import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import optuna

from gml.book import ATTRIBUTE, TrialBook, entry_of
from gml.errors import DamagedError, UserError
from gml.jobs import State
from gml.rows import Row
from gml.schedulers.session import close_orphans
from gml.searchers import BaseSearcher
from gml.study import create_study, open_study, remove_side_files, remove_study
from gml.summary import mode_of, task_rows
from gml.task import NAME, TaskFolder

NO_RESULT = (State.ERROR, State.KILLED, "FILTERED")


def close_dead(task: TaskFolder, state: State, reason: str) -> None:
    """Gives every RUNNING and PENDING trial of a task without schedulers a last state."""
    space = task.config().task.search_args
    book = TrialBook(task.db, space, BaseSearcher(space), scheduler="search-ctl", seed=0)
    with task.gate():
        close_orphans(task, book, state, reason)
        book.close_waiting(state, reason)


def failed_rows(task: TaskFolder) -> list[Row]:
    """Returns the trials without a result."""
    return [row for row in task_rows(task) if row.state in NO_RESULT]


def clean(task: TaskFolder, gone: Sequence[Row]) -> Path | None:
    """Copies the other trials into a new study (Optuna cannot delete a trial) and removes the job folders of those.

    Returns:
        The old study; None if there was nothing to do.
    """
    if not gone:
        return None
    close_dead(task, State.ERROR, "its scheduler died")
    numbers = {row.number for row in gone}
    kept = [trial for trial in open_study(task.db).get_trials() if trial.number not in numbers]
    for trial in kept:  # what a job was a retry of goes, and another trial gets that number
        entry = {key: item for key, item in entry_of(trial).items() if key != "retry_of"}
        trial.user_attrs = {**trial.user_attrs, ATTRIBUTE: entry}
    fresh, backup = task.path / "clean.db", task.path / f"study.{datetime.now():%Y%m%d%H%M%S}.db"
    remove_study(fresh)
    create_study(fresh, task.name, maximize=mode_of(task)[1])
    open_study(fresh).add_trials(kept)
    _merge_wal(task.db)
    _merge_wal(fresh)
    shutil.copy(task.db, backup)
    remove_side_files(task.db)  # they do not fit the new file
    fresh.replace(task.db)  # at once: whenever this ends, a whole study is there
    remove_side_files(fresh)
    for row in gone:
        shutil.rmtree(task.jobs / row.job, ignore_errors=True)
    return backup


def _merge_wal(db: Path) -> None:
    """Moves everything into the one file, so that it can be copied."""
    connection = sqlite3.connect(db, timeout=60)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{db} is no readable study: {error}") from error
    finally:
        connection.close()


def export(task: TaskFolder, tar_path: str | None) -> Path:
    """Packs a task; by default to archive/<task>.<time>.tar.gz."""
    target = Path(tar_path) if tar_path else Path("archive") / f"{task.name}.{datetime.now():%Y%m%d%H%M%S}.tar.gz"
    if target.exists() and not target.is_file():
        raise UserError(f"--tar-path: {target} is there and is no file")
    target.parent.mkdir(parents=True, exist_ok=True)
    _merge_wal(task.db)
    part = target.with_name(f"{target.name}.part")
    with tarfile.open(part, "w:gz") as tar:
        tar.add(task.path, arcname=task.name, filter=_is_packed)
    part.replace(target)
    return target


def _is_packed(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out what is made anew (shim) or belongs to the project (its copies)."""
    inside = item.name.split("/")[1:]  # deeper folders of these names are what jobs have written
    is_project = len(inside) == 3 and inside[0] == "jobs" and inside[2] == "project"
    return None if inside == ["shim"] or is_project else item


def _is_safe(item: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Leaves out links that lead out of the task, and refuses everything else that is unsafe."""
    try:
        return tarfile.data_filter(item, folder)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return None


def unpack(tar_path: Path, name: str | None, *, force: bool) -> TaskFolder:
    """Unpacks a task.

    Args:
        tar_path: what `export` wrote.
        name: of the task; default: the one in the file.
        force: replace a task of that name.

    Raises:
        UserError: no such file, or the task exists.
        DamagedError: the file is not from `export`, or cut off.
    """
    if not tar_path.is_file():
        raise UserError(f"--tar-path: {tar_path} is no file")
    TaskFolder.named(name or "unpacked").path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TaskFolder.named("unpacked").path.parent) as folder:
        packed = _extracted(tar_path, Path(folder))
        task = TaskFolder.named(name or packed.name)
        if task.exists():
            if not force:
                raise UserError(f"task {task.name} exists; --force replaces it")
            if task.live_schedulers():
                raise UserError(f"task {task.name} is running; stop it first: search-ctl stop -t {task.name}")
            task.remove()
        packed.replace(task.path)
    return task


def _extracted(tar_path: Path, folder: Path) -> Path:
    try:
        with tarfile.open(tar_path) as tar:
            tar.extractall(folder, filter=_is_safe)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DamagedError(f"{tar_path} cannot be unpacked: {str(error).splitlines()[0].rstrip(':')}") from error
    found = list(folder.iterdir())
    if len(found) != 1 or not re.fullmatch(NAME, found[0].name) or not TaskFolder(found[0]).exists():
        raise DamagedError(f"{tar_path} does not hold a task")
    try:
        open_study(found[0] / "study.db")
    except optuna.exceptions.OptunaError as error:
        raise DamagedError(f"{tar_path} does not hold a study: {error}") from error
    return found[0]
