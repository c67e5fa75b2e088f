"""Finds and ends every process of a job, also those that left its process group. Standard library only; Linux."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

TOKEN_VARIABLE = "GML_JOB"  # in the environment of every process of a job
TRACE_FILE = "process.json"  # beside the log of a job for as long as it runs
KILL_COMMAND_LIMIT_S = 30.0


@dataclass(frozen=True)
class Trace:
    """What it takes to find a job's processes again, from any process at any time.

    Attributes:
        token: unique text in the environment of the job's processes.
        pid: first process and id of its group and session; 0 before the start.
        started: start of `pid` in clock ticks since boot; 0 before the start.
        kill_command: shell command that ends what does not run below `pid` (a Slurm job, a container).
        boot: id of the boot that `pid` and `started` belong to.
    """

    token: str
    pid: int = 0
    started: int = 0
    kill_command: str = ""
    boot: str = ""

    def write(self, job_dir: Path) -> None:
        """Writes the trace into `job_dir`, whole or not at all."""
        part = job_dir / f"{TRACE_FILE}.part"
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(job_dir / TRACE_FILE)


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    group: int
    session: int
    started: int


def boot_id() -> str:
    """Returns the id of the running boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int:
    """Returns the start of a process, also of a zombie, in clock ticks since boot; 0 if there is none."""
    fields = _content(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) if fields else 0


def _read(pid: int) -> _Process | None:
    """Returns a living process; zombies count as dead."""
    fields = _content(pid, "stat").rpartition(b")")[2].split()  # the name before it may hold anything
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return _Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def _content(pid: int, name: str) -> bytes:
    """Returns a file of /proc, b"" if the process has gone; each job's end reads hundreds, so no layers between."""
    try:
        file = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    except OSError:
        return b""
    try:
        chunks = []
        while chunk := os.read(file, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:
        return b""
    finally:
        os.close(file)


def members(trace: Trace) -> list[int]:
    """Returns the living processes of a job: its group, its session, its descendants and whoever carries its token."""
    if trace.boot and trace.boot != boot_id():
        return []
    found = [_read(int(entry.name)) for entry in os.scandir("/proc") if entry.name.isdigit()]
    alive = {process.pid: process for process in found if process and process.pid != os.getpid()}
    leader = alive.get(trace.pid)
    pid_is_ours = trace.pid > 0 and (leader is None or leader.started == trace.started)
    token = trace.token.encode()
    inside = {
        process.pid
        for process in alive.values()
        if process.started >= trace.started
        and (
            (pid_is_ours and trace.pid in (process.group, process.session)) or token in _content(process.pid, "environ")
        )
    }
    return _with_descendants(inside, alive)


def _with_descendants(inside: set[int], alive: dict[int, _Process]) -> list[int]:
    grown = True
    while grown:
        below = {process.pid for process in alive.values() if process.parent in inside}
        grown = not below <= inside
        inside |= below
    return sorted(inside)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Sends a signal to every process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def start_kill_command(command: str) -> subprocess.Popen | None:
    """Starts the command that ends the remote part of a job, if there is one."""
    if not command:
        return None
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, shell=True, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def wait_kill_command(process: subprocess.Popen | None) -> None:
    """Waits for a kill command; its failure is no news (the job may have ended by itself)."""
    if process is not None:
        try:
            process.wait(KILL_COMMAND_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end(traces: list[Trace], *, grace_s: float) -> list[int]:
    """Ends all processes of the jobs: SIGTERM, after `grace_s` seconds SIGKILL.

    Returns:
        The processes that were found alive at first.
    """
    for process in [start_kill_command(trace.kill_command) for trace in traces]:
        wait_kill_command(process)
    first = _all_members(traces)
    send(first, signal.SIGTERM)
    kill_at, give_up_at = time.monotonic() + grace_s, time.monotonic() + grace_s + 10.0
    while (left := _all_members(traces)) and time.monotonic() < give_up_at:
        if time.monotonic() > kill_at:
            send(left, signal.SIGKILL)
        time.sleep(0.02)
    return first


def _read_trace(file: Path) -> Trace | None:
    try:
        return Trace(**json.loads(file.read_text(encoding="utf-8")))
    except (TypeError, ValueError):  # cut off, as a power failure may leave it: nothing can be found by it
        return None


def _all_members(traces: list[Trace]) -> list[int]:
    return sorted({pid for trace in traces for pid in members(trace)})


def end_orphans(folder: Path, *, grace_s: float = 5.0) -> list[Path]:
    """Ends the jobs whose trace is still below `folder`; their scheduler must be dead.

    Returns:
        The job folders that held a trace.
    """
    files = sorted(folder.rglob(TRACE_FILE))
    end([trace for file in files if (trace := _read_trace(file))], grace_s=grace_s)
    for file in files:
        file.unlink(missing_ok=True)
    return [file.parent for file in files]
