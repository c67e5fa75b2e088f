"""The study file of a task: one Optuna study in SQLite."""

from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from gml.errors import DamagedError

LOCK_TIMEOUT_S = 60


def open_storage(db: Path) -> optuna.storages.RDBStorage:
    """Opens a study file so that reading and writing do not block each other and kill -9 loses nothing.

    Raises:
        DamagedError: it is no study.
    """
    settings = {"connect_args": {"timeout": LOCK_TIMEOUT_S}}
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{db}", engine_kwargs=settings)
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        raise DamagedError(f"{db} is no readable study: {error.__cause__ or error}") from error

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()
    return storage


def open_study(db: Path) -> optuna.Study:
    """Opens the only study of a file.

    Raises:
        DamagedError: there is no file or no study.
    """
    if not db.is_file():
        raise DamagedError(f"{db} is missing")
    storage = open_storage(db)
    names = optuna.get_all_study_names(storage)
    if len(names) != 1:
        raise DamagedError(f"{db} must hold one study, it holds {len(names)}")
    return optuna.load_study(study_name=names[0], storage=storage, sampler=optuna.samplers.RandomSampler())


def remove_study(db: Path) -> None:
    """Removes a study file with its side files, if there."""
    db.unlink(missing_ok=True)
    remove_side_files(db)


def remove_side_files(db: Path) -> None:
    """Removes the side files of a study; nothing is lost if they have been merged into it."""
    for suffix in ("-wal", "-shm"):
        db.with_name(f"{db.name}{suffix}").unlink(missing_ok=True)


def create_study(db: Path, name: str, *, maximize: bool) -> None:
    """Creates the study."""
    direction = optuna.study.StudyDirection.MAXIMIZE if maximize else optuna.study.StudyDirection.MINIMIZE
    optuna.create_study(storage=open_storage(db), study_name=name, direction=direction, load_if_exists=True)
