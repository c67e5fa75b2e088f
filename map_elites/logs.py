"""training.log, twice: in the run folder and where `tail -f` looks for it. A log that cannot be written is an error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from map_elites.errors import UserError

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class LogFile(logging.FileHandler):
    """A log file that keeps the first error of writing instead of printing a traceback for each line."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, mode="a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write log file {path}: {error.strerror}") from None
        self.setFormatter(logging.Formatter(FORMAT))
        self.failure: BaseException | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        """Keeps the error for `RunLog.check`."""
        self.failure = self.failure or sys.exc_info()[1]


class RunLog:
    """The log of one run, for every module that uses `logging`.

    Attributes:
        paths: Files that get each line.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(dict.fromkeys(path.absolute() for path in paths))
        self._handlers: list[LogFile] = []

    @staticmethod
    def check_path(path: Path) -> None:
        """Checks, without touching anything, that a log file can be written.

        Raises:
            UserError: Its folder is missing, or permissions forbid it.
        """
        folder = path.absolute().parent
        existing = path if path.exists() else folder
        if path.is_dir() or not folder.is_dir() or not os.access(existing, os.W_OK):
            raise UserError(f"cannot write log file {path}; choose another one with --log-file")

    def open(self) -> None:
        """Starts writing.

        Raises:
            UserError: A file cannot be opened.
        """
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        for name in ("matplotlib", "PIL", "tensorboard", "absl", "h5py"):
            logging.getLogger(name).setLevel(logging.WARNING)
        for path in self.paths:
            handler = LogFile(path)
            self._handlers.append(handler)
            root.addHandler(handler)

    def check(self) -> None:
        """Raises the first error of writing, such as a full disk.

        Raises:
            OSError: A line could not be written.
        """
        for handler in self._handlers:
            if handler.failure is not None:
                raise handler.failure

    def close(self) -> None:
        """Stops writing; whatever cannot be flushed any more is lost."""
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            try:
                handler.close()
            except OSError:
                handler.failure = handler.failure or sys.exc_info()[1]
        self._handlers.clear()
