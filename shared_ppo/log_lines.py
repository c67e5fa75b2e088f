"""What our processes have to say: lines that travel to the main process and go into its log, wherever that writes.

A process writes nothing to the terminal, where the main process draws its progress bar. Its lines share the pipe with
its other messages, so a process that is killed leaves no lock behind, and one that has too much to say is cut short.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

MOST_LINES = 20
WINDOW_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogLine:
    """A line of a process's log; `logger` is the name of the logger that it was given to."""

    level: int
    logger: str
    text: str


class _LineSender(logging.Handler):
    """Sends at most `MOST_LINES` lines in `WINDOW_S` seconds; the next one after that says how many were left out."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe
        self._window_end, self._sent, self._left_out = 0.0, 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a line, or leaves it out; nobody listens to a process whose pipe is closed."""
        now = time.monotonic()
        if now >= self._window_end:
            self._window_end, self._sent = now + WINDOW_S, 0
        if self._sent == MOST_LINES:
            self._left_out += 1
            return
        text = self.format(record)
        if self._left_out:
            text, self._left_out = f"{text} ({self._left_out} lines before this one were left out)", 0
        self._sent += 1
        try:
            self._pipe.send(LogLine(record.levelno, record.name, text))
        except OSError:
            return


def run_logged(main: Callable[[], None], pipe: Connection) -> None:
    """Runs a process's `main`; its log, its warnings and the error that ends it go through `pipe`.

    Raises:
        SystemExit: with 1 after an error.
    """
    root = logging.getLogger()
    root.handlers[:] = [_LineSender(pipe)]
    logging.captureWarnings(True)
    try:
        main()
    except Exception:
        _log.exception("ended by an error")
        raise SystemExit(1) from None


def log_line(line: LogLine, who: str) -> None:
    """Enters a line of the process `who` into this process's log."""
    logging.getLogger(line.logger).log(line.level, "%s: %s", who, line.text)
