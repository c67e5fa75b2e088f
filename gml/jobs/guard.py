"""The guard: a process that ends the jobs of its scheduler when the scheduler dies, by whatever signal.

It reads traces from a pipe, one JSON object a line; the pipe closes when the scheduler is gone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from gml.jobs.tree import Trace, end

GRACE_S = 2.0


class Guard:
    """The scheduler's side: starts the guard process and tells it of the jobs."""

    def __init__(self, token: str):
        """Starts the guard of all jobs whose token holds `token`."""
        root = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gml.jobs.guard", token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": root},
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is not for the guard
        )

    def tell(self, trace: Trace, *, ended: bool = False) -> None:
        """Adds a job to the guarded ones, or takes it out."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"ended": ended, "trace": asdict(trace)}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # somebody killed the guard; end_orphans is the second line of defence

    def close(self) -> None:
        """Ends the guard; what is still told to it is ended with it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def main() -> None:
    """Waits for the scheduler's end, then ends its jobs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    guarded: dict[str, Trace] = {}
    for line in sys.stdin:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # the scheduler died in the middle of a line
        trace = Trace(**message["trace"])
        guarded.pop(trace.token, None)
        if not message["ended"]:
            guarded[trace.token] = trace
    end([Trace(token=sys.argv[1]), *guarded.values()], grace_s=GRACE_S)


if __name__ == "__main__":
    main()
