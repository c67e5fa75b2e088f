"""The folder of a task: ./gml_tasks/<task>/ with everything that belongs to one search.

config.json      the config, and where the search was started
study.db         the Optuna study, SQLite
jobs/<job>/      manifest.json, training.log, scalars.jsonl, rendered files
files/           the originals of the program's files that are rendered
schedulers/      a lock file per scheduler, held while it lives
stop             a request to stop: {"state", "reason"}
winners.yaml     results of the winner check
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gml import locks, values
from gml.config import SearchConfig, read_config
from gml.errors import ConfigError, DamagedError, UserError, unknown
from gml.jobs.job import State
from gml.space import FileArg

ROOT = Path("gml_tasks")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
COMPARES = "compares"  # the folder of the Compares, beside the tasks


class TaskFolder:
    """Paths and locks of a task.

    Attributes:
        name: name of the task.
        path: its folder.
        jobs: folder of its jobs.
        db: its study.
    """

    def __init__(self, path: Path | str):
        """Points to a folder that may not exist yet; its last part is the task's name."""
        self.path = Path(path).absolute()
        self.name = self.path.name
        self.jobs, self.files = self.path / "jobs", self.path / "files"
        self.db = self.path / "study.db"
        self._schedulers, self._stop_file = self.path / "schedulers", self.path / "stop"
        self._config_file = self.path / "config.json"

    @classmethod
    def named(cls, name: str) -> "TaskFolder":
        """Returns the task below ./gml_tasks.

        Raises:
            UserError: the name is none for a folder.
        """
        if not NAME.fullmatch(name):
            known = "at most 128 letters, digits, '.', '_' and '-', the first a letter or digit"
            raise UserError(f"task name {name!r}: use {known}")
        if name == COMPARES:
            raise UserError(f"task name {name!r}: is the folder of the Compares; use another one")
        return cls(ROOT / name)

    @classmethod
    def existing(cls, name: str) -> "TaskFolder":
        """Returns a task that exists.

        Raises:
            UserError: it does not.
        """
        task = cls.named(name)
        if not task.exists():
            raise UserError(unknown("task", name, [other.name for other in cls.all()]))
        return task

    @classmethod
    def all(cls) -> list["TaskFolder"]:
        """Returns the tasks below ./gml_tasks by name."""
        found = [cls(path) for path in sorted(ROOT.iterdir())] if ROOT.is_dir() else []
        return [task for task in found if task.exists()]

    def exists(self) -> bool:
        """Returns whether the task was created."""
        return self._config_file.is_file()

    def gate(self):
        """Returns the lock around every decision about what runs next."""
        return locks.hold(self.path / "gate.lock")

    @contextmanager
    def scheduler_lock(self, scheduler: str) -> Iterator[None]:
        """Holds the lock of one scheduler: as long as it is held, the scheduler lives."""
        file = self._schedulers / f"{scheduler}.lock"
        with locks.hold(file):
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def is_live(self, scheduler: str) -> bool:
        """Returns whether a scheduler lives."""
        return locks.is_held(self._schedulers / f"{scheduler}.lock")

    def live_schedulers(self) -> list[str]:
        """Returns the living schedulers."""
        return [file.stem for file in sorted(self._schedulers.glob("*.lock")) if locks.is_held(file)]

    def create(self, content: Mapping[str, Any], config: SearchConfig) -> None:
        """Creates the folder with the config and the originals of the files."""
        self.jobs.mkdir(parents=True, exist_ok=True)
        self.files.mkdir(exist_ok=True)
        for arg in config.task.search_args.files:
            source = Path(arg.file)
            if not source.is_file():
                raise ConfigError(f"task.search_args: file {arg.file} of {arg.name!r} does not exist")
            shutil.copy(source, self.source(arg))
        self.write_config(content)

    def source(self, arg: FileArg) -> Path:
        """Returns the kept original of a file."""
        return self.files / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', arg.name)}{Path(arg.file).suffix}"

    def write_config(self, content: Mapping[str, Any]) -> None:
        """Keeps the config, and the folder that the search was started in."""
        part = self._config_file.with_suffix(".part")
        text = json.dumps({"cwd": str(Path.cwd()), "config": content}, indent=2)
        part.write_text(text, encoding="utf-8")
        part.replace(self._config_file)

    def read_config(self) -> dict[str, Any]:
        """Returns the kept config.

        Raises:
            DamagedError: it cannot be read.
        """
        try:
            content = json.loads(self._config_file.read_text(encoding="utf-8"))["config"]
            pavi = values.mapping(content.get("pavi") or {})
            for part in (content, content.get("searcher") or {}, pavi.get("compare") or {}):
                values.mapping(part)
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            raise DamagedError(f"{self._config_file} cannot be read: {error}") from error
        return content

    def config(self) -> SearchConfig:
        """Returns the kept config, checked as a whole.

        Raises:
            DamagedError: it cannot be read.
        """
        try:
            return read_config(self.read_config())
        except ConfigError as error:
            raise DamagedError(f"{self._config_file} cannot be read: {error}") from error

    def compare_id(self) -> str:
        """Returns the id of the task's Compare."""
        return str(((self.read_config().get("pavi") or {}).get("compare") or {}).get("id", ""))

    def request_stop(self, state: str, reason: str) -> None:
        """Asks all schedulers of the task to stop."""
        self._stop_file.write_text(json.dumps({"state": state, "reason": reason}), encoding="utf-8")

    def stop_request(self) -> dict[str, str] | None:
        """Returns the request to stop, if there is one."""
        try:
            content = json.loads(self._stop_file.read_text(encoding="utf-8"))
            return {"state": State(content["state"]), "reason": str(content["reason"])}
        except (FileNotFoundError, KeyError, TypeError, ValueError):  # none, half written, or not ours
            return None

    def clear_stop(self) -> None:
        """Takes the request back."""
        self._stop_file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path)


def new_scheduler_id() -> str:
    """Returns an id for a scheduler: host, process and something random."""
    return f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
