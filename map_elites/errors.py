"""What a user can be told in one line, with the exit code that goes with it."""

from __future__ import annotations

import signal
from pathlib import Path


class UserError(ValueError):
    """The command line, a setting or a folder is wrong: exit code 2, nothing has been touched."""


class RunFailedError(RuntimeError):
    """The run cannot go on, or what it left is damaged: exit code 1."""


class Interrupted(Exception):
    """A signal asked the run to end: exit code 128 + signal. `folder` is that of a run with a checkpoint.

    Attributes:
        signal_number: SIGINT, SIGTERM or SIGHUP.
    """

    def __init__(self, signal_number: int, folder: Path | None = None) -> None:
        self.signal_number = signal_number
        hint = f"; a checkpoint is written, go on with --resume {folder}" if folder else ""
        super().__init__(f"ended by {signal.Signals(signal_number).name}{hint}")
