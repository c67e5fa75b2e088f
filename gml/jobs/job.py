"""A job: one shell command in a process group of its own, from its start until its last process is gone."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from gml.jobs import tree
from gml.jobs.project import copy_project

FAILURES = ("exit", "signal", "memory", "timeout")
OOM_SCORE = "500"  # short of memory, the kernel takes a job before the scheduler
POLL_S = 0.02  # while left-over processes are ending
GIVE_UP_S = 10.0  # after SIGKILL; a process in uninterruptible sleep must not hold its slot for ever
OUT_OF_MEMORY = re.compile(rb"out of memory|MemoryError|std::bad_alloc|oom-kill", re.IGNORECASE)
LOG_TAIL_BYTES = 4096
MEANINGS = {126: " (cannot be executed)", 127: " (command not found)"}  # of a shell's exit codes


class State(StrEnum):
    """The states of a job that a user sees."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    EARLY_STOPPED = "EARLY_STOPPED"
    KILLED = "KILLED"
    ERROR = "ERROR"


class Job:
    """One command with its processes; on this machine. Subclasses run it elsewhere.

    Attributes:
        status: a State.
        reason: why it ended so, in words; "" while all is well.
        failure: the same in one word of FAILURES; "" if it did not fail.
        returncode: exit code; 128 + signal number if a signal ended it; None before the end.
        gpu: GPU id of its slot, "" without one.
        attempt: how many tries came before this one.
    """

    def __init__(
        self,
        command: str,
        name: str,
        arg_dict: Mapping[str, Any] | None = None,
        pavi_compare_id: str | None = None,
        symlink_paths: Sequence[str] = (),
        *,
        job_dir: Path | str | None = None,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        log_file: Path | str | None = None,
        timeout_s: float | None = None,
        grace_s: float = 5.0,
    ):
        """Describes the job; nothing runs yet.

        Args:
            command: shell command.
            name: name of the job, also towards Slurm and containers.
            arg_dict: the values that the command was made with; kept for the reader.
            pavi_compare_id: the Compare that the job's scalars belong to.
            symlink_paths: if any: the job runs in a copy of `cwd`, with these paths below it linked instead of copied.
            job_dir: folder of its log and trace; default ./gml_jobs/NAME.
            cwd: where the command runs; default the current folder.
            env: additions to the environment.
            log_file: where its output is appended; default training.log in `job_dir`.
            timeout_s: after so many seconds it is killed.
            grace_s: seconds between SIGTERM and SIGKILL.
        """
        self.command, self.name = command, name
        self.arg_dict = dict(arg_dict or {})
        self.pavi_compare_id = pavi_compare_id
        self.symlink_paths = tuple(symlink_paths)
        self.job_dir = Path(job_dir or Path("gml_jobs") / name).absolute()
        self.cwd = Path(cwd or Path.cwd()).absolute()
        self.env = dict(env or {})
        self.log_file = Path(log_file).absolute() if log_file else self.job_dir / "training.log"
        self.timeout_s, self.grace_s = timeout_s, grace_s
        self.status, self.reason, self.failure = State.PENDING, "", ""
        self.returncode: int | None = None
        self.gpu = ""
        self.attempt = 0
        self.wall_s = 0.0
        self.trace: tree.Trace | None = None
        self.exit_fd = -1  # readable once the first process has exited
        self._process: subprocess.Popen | None = None
        self._stop: tuple[State, str, str] | None = None
        self._kill_at: float | None = None
        self._killer: subprocess.Popen | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.status}{', ' + self.reason if self.reason else ''})"

    def again(self) -> "Job":
        """Returns the same job, not yet started, as the next attempt."""
        copy = type(self)(self.command, self.name, self.arg_dict, self.pavi_compare_id, self.symlink_paths)
        kept = ("job_dir", "cwd", "env", "log_file", "timeout_s", "grace_s", *self.own_settings)
        for key in kept:
            setattr(copy, key, getattr(self, key))
        copy.attempt = self.attempt + 1
        return copy

    # What other kinds of job change.
    own_settings: tuple[str, ...] = ()

    def configure(self, *args: Any, **settings: Any) -> None:
        """Takes the settings of this kind of job; the local one has none.

        Raises:
            TypeError: a setting that it does not have.
        """
        if args or settings:
            raise TypeError(f"unexpected setting {min(settings, default=args)!r}")

    def command_line(self) -> str:
        """Returns what the shell on this machine runs."""
        return self.command

    def kill_command(self) -> str:
        """Returns the shell command that ends what does not run below the local process, "" if there is nothing."""
        return ""

    def outcome(self, returncode: int) -> tuple[State, str, str]:
        """Returns state, reason and failure of a job that nobody stopped."""
        if returncode == 0:
            return State.FINISHED, "", ""
        return self._describe_failure(returncode)

    # Life.
    def start(self, *, env: Mapping[str, str] | None = None, token: str = "", pass_fds: Sequence[int] = ()) -> None:
        """Starts the command and returns at once.

        Args:
            env: what the slot adds to the environment.
            token: id of the pool, so that its guard knows the job.
            pass_fds: file descriptors that the job holds open for its whole life.

        Raises:
            RuntimeError: it was started before; `again()` makes a new one.
        """
        if self.status != State.PENDING:
            raise RuntimeError(f"job {self.name} was started before and is {self.status}")
        self.job_dir.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        full_token = "/".join(filter(None, (os.environ.get(tree.TOKEN_VARIABLE), token, uuid.uuid4().hex)))
        boot, cwd = tree.boot_id(), self._prepared_cwd()
        tree.Trace(full_token, kill_command=self.kill_command(), boot=boot).write(self.job_dir)
        self._popen({**(env or {}), **self.env, tree.TOKEN_VARIABLE: full_token}, cwd, pass_fds)
        assert self._process is not None
        pid = self._process.pid
        self.trace = tree.Trace(full_token, pid, tree.start_ticks(pid), self.kill_command(), boot)
        self.trace.write(self.job_dir)

    def _prepared_cwd(self) -> Path:
        return copy_project(self.cwd, self.job_dir / "project", self.symlink_paths) if self.symlink_paths else self.cwd

    def _popen(self, env: Mapping[str, str], cwd: Path, pass_fds: Sequence[int]) -> None:
        with self.log_file.open("ab") as log:
            if self.attempt:
                log.write(f"--- attempt {self.attempt + 1} ---\n".encode())
                log.flush()
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self.command_line(),
                shell=True,
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        self.status, self._started_at = State.RUNNING, time.monotonic()
        self.exit_fd = os.pidfd_open(self._process.pid)
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")

    def poll(self) -> State:
        """Moves the job on (time limit, signals to what is left of it) and returns its state; never waits."""
        if self.status != State.RUNNING:
            return self.status
        now = time.monotonic()
        if self.timeout_s is not None and now - self._started_at > self.timeout_s and self._stop is None:
            self.stop(State.KILLED, f"time limit of {self.timeout_s:g} s", failure="timeout")
        if self._has_exited():
            self._drain(now)
        elif self._kill_at is not None and now > self._kill_at:
            self._signal(signal.SIGKILL)
        return self.status

    def next_poll_s(self) -> float | None:
        """Returns in how many seconds `poll` has something to do besides a process exit, None for never."""
        if self._kill_at is not None:
            return POLL_S
        if self.timeout_s is None:
            return None
        return max(0.0, self.timeout_s - (time.monotonic() - self._started_at)) + 0.001

    def stop(self, state: State = State.KILLED, reason: str = "killed", *, failure: str = "") -> None:
        """Asks the job to end (SIGTERM) and returns at once; `poll` follows with SIGKILL."""
        if self.status == State.PENDING:
            self.status, self.reason = state, reason
        if self.status != State.RUNNING or self._stop is not None:
            return
        self._stop = (state, reason, failure)
        self._killer = tree.start_kill_command(self.kill_command())
        self._signal(signal.SIGTERM)

    def wait(self, timeout_s: float | None = None) -> State:
        """Waits until the job has ended or `timeout_s` is over; returns its state."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.poll() == State.RUNNING:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            wait_exits([self], left)
        return self.status

    def kill(self, state: State = State.KILLED, reason: str = "killed") -> State:
        """Ends the job; on return none of its processes lives."""
        self.stop(state, reason)
        return self.wait()

    # The inside of poll.
    def _has_exited(self) -> bool:
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG  # not reaped: its pid, and so its group id, stays ours
        return os.waitid(os.P_PIDFD, self.exit_fd, flags) is not None

    def _drain(self, now: float) -> None:
        assert self.trace is not None
        left = tree.members(self.trace)
        if not left or (self._kill_at is not None and now > self._kill_at + GIVE_UP_S):
            self._finish(left)
        elif self._kill_at is None:
            self._signal(signal.SIGTERM)
        elif now > self._kill_at:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        assert self.trace is not None
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self.grace_s
        tree.send(tree.members(self.trace), number)

    def _finish(self, left: list[int]) -> None:
        assert self._process is not None
        tree.wait_kill_command(self._killer)
        code = self._process.wait()
        os.close(self.exit_fd)
        self.wall_s = time.monotonic() - self._started_at
        self.returncode = 128 - code if code < 0 else code
        self.status, self.reason, self.failure = self._stop or self.outcome(self.returncode)
        if left:
            self.reason += f"; processes {left} could not be ended"
        (self.job_dir / tree.TRACE_FILE).unlink(missing_ok=True)

    def _describe_failure(self, returncode: int) -> tuple[State, str, str]:
        reason, failure = f"exit code {returncode}{MEANINGS.get(returncode, '')}", "exit"
        with contextlib.suppress(ValueError):
            reason += f" ({signal.Signals(returncode - 128).name})"
            failure = "signal"
        with contextlib.suppress(OSError), self.log_file.open("rb") as log:
            log.seek(max(self._log_start, self.log_file.stat().st_size - LOG_TAIL_BYTES))
            if OUT_OF_MEMORY.search(log.read()):
                return State.ERROR, f"{reason}, out of memory", "memory"
        return State.ERROR, reason, failure


def wait_exits(jobs: Sequence[Job], timeout_s: float | None) -> None:
    """Waits until one of the running jobs exits or needs a poll, at most `timeout_s` seconds."""
    poller = select.poll()
    limits = [timeout_s] if timeout_s is not None else []
    for job in jobs:
        limit = job.next_poll_s()
        limits += [limit] if limit is not None else []
        if limit != POLL_S:  # an exited first process would end every wait while its left-overs are ending
            poller.register(job.exit_fd, select.POLLIN)
    poller.poll(None if not limits else 1000.0 * max(0.0, min(limits)))
