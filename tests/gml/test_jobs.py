"""The job engine: states, whole trees, slots, time limits, dead schedulers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gml import signals
from gml.jobs import Interrupted, Job, JobPool, Retry, Slots, State, end_orphans, interrupts
from gml.jobs.tree import TRACE_FILE

ROOT = Path(__file__).resolve().parents[2]


def make_job(tmp_path: Path, command: str, name: str = "job", **settings) -> Job:
    return Job(command, name, job_dir=tmp_path / name, **settings)


def alive(pid: int) -> bool:
    """Zombies count as dead: not every init process reaps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition, limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "condition did not come true in time"
        time.sleep(0.01)


def read_pid(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


@pytest.mark.parametrize(
    ("command", "state", "returncode", "reason", "failure"),
    [
        ("true", State.FINISHED, 0, "", ""),
        ("exit 3", State.ERROR, 3, "exit code 3", "exit"),
        ("kill -SEGV $$", State.ERROR, 139, "exit code 139 (SIGSEGV)", "signal"),
        ("sh -c 'kill -SEGV $$'; exit $?", State.ERROR, 139, "exit code 139 (SIGSEGV)", "signal"),
        ("kill -9 $$", State.ERROR, 137, "exit code 137 (SIGKILL)", "signal"),
        ("echo 'RuntimeError: CUDA out of memory'; exit 1", State.ERROR, 1, "exit code 1, out of memory", "memory"),
    ],
)
def test_state_says_how_the_command_ended(tmp_path, command, state, returncode, reason, failure):
    job = make_job(tmp_path, command)
    assert job.status == State.PENDING
    job.start()
    assert job.wait(20) == state
    assert (job.returncode, job.reason, job.failure) == (returncode, reason, failure)


def test_failure_is_read_from_its_own_part_of_a_shared_log(tmp_path):
    log_file = tmp_path / "shared.log"
    log_file.write_text("the job before: CUDA out of memory\n")
    job = make_job(tmp_path, "exit 1", log_file=log_file)
    job.start()
    job.wait(20)
    assert (job.failure, job.reason) == ("exit", "exit code 1")


def test_memory_limit_hit_is_seen_as_memory(tmp_path):
    command = f"ulimit -v 2000000; exec {sys.executable} -c 'bytearray(4 * 10**9)'"
    job = make_job(tmp_path, command)
    job.start()
    assert (job.wait(20), job.failure) == (State.ERROR, "memory")


def test_output_is_in_the_log_while_the_job_runs(tmp_path):
    job = make_job(tmp_path, f"{sys.executable} -c 'import time; print(\"line one\"); time.sleep(60)'")
    job.start()
    wait_until(lambda: "line one" in job.log_file.read_text())
    assert job.poll() == State.RUNNING
    job.kill()


def test_time_limit_kills(tmp_path):
    job = make_job(tmp_path, "sleep 60", timeout_s=0.2)
    job.start()
    assert job.wait(20) == State.KILLED
    assert (job.reason, job.failure) == ("time limit of 0.2 s", "timeout")
    assert job.wall_s < 5


def test_kill_ends_child_that_ignores_term(tmp_path):
    job = make_job(tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done", grace_s=0.3)
    job.start()
    wait_until(lambda: "ready" in job.log_file.read_text())
    assert job.kill() == State.KILLED
    assert job.returncode == 137


TREE = """
import os, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
plain = subprocess.Popen(["sleep", "300"])
apart = subprocess.Popen(["sleep", "301"], start_new_session=True)
daemon = subprocess.Popen(["sh", "-c", "setsid sleep 302 & echo $! > " + str(folder / "daemon")])
(folder / "plain").write_text(str(plain.pid))
(folder / "apart").write_text(str(apart.pid))
daemon.wait()
if len(sys.argv) > 2:
    sys.exit(0)
time.sleep(300)
"""


@pytest.mark.parametrize("ending", ["kill", "exit"])
def test_no_process_of_the_tree_outlives_the_job(tmp_path, ending):
    job = make_job(tmp_path, f"exec {sys.executable} -c '{TREE}' {tmp_path} {'leave' if ending == 'exit' else ''}")
    job.start()
    pids = [read_pid(tmp_path / name) for name in ("plain", "apart", "daemon")]
    if ending == "kill":
        job.kill()
    assert job.wait(20) == (State.KILLED if ending == "kill" else State.FINISHED)
    assert [pid for pid in pids if alive(pid)] == []
    assert not (job.job_dir / TRACE_FILE).exists()


def test_process_without_environment_is_ended_with_its_group(tmp_path):
    job = make_job(tmp_path, f"env -i sleep 300 & echo $! > {tmp_path}/pid; wait")
    job.start()
    pid = read_pid(tmp_path / "pid")
    job.kill()
    assert not alive(pid)


def test_job_starts_once_and_again_makes_a_new_one(tmp_path):
    job = make_job(tmp_path, "exit 1", env={"A": "1"}, timeout_s=9)
    job.start()
    job.wait()
    with pytest.raises(RuntimeError, match="started before"):
        job.start()
    copy = job.again()
    assert (copy.status, copy.attempt, copy.env, copy.timeout_s) == (State.PENDING, 1, {"A": "1"}, 9)


def test_crash_of_one_job_touches_no_other(tmp_path):
    commands = ["kill -SEGV $$", "exit 1", "sleep 0.3", "kill -9 $$"]
    with JobPool(Slots.plain(4)) as pool:
        jobs = [make_job(tmp_path, command, f"job{index}") for index, command in enumerate(commands)]
        for job in jobs:
            pool.start(job)
        while pool.running:
            pool.wait(10)
    assert [job.status for job in jobs] == [State.ERROR, State.ERROR, State.FINISHED, State.ERROR]


def test_pool_refuses_more_jobs_than_slots(tmp_path):
    with JobPool(Slots.plain(1)) as pool:
        pool.start(make_job(tmp_path, "sleep 60"))
        assert not pool.has_room()
        with pytest.raises(RuntimeError, match="all 1 slots are taken"):
            pool.start(make_job(tmp_path, "true", "other"))


def test_pool_gives_each_job_a_gpu_of_its_own_and_thread_limits(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with JobPool(Slots.gpus("6,7", threads=3)) as pool:
        jobs = [make_job(tmp_path, "echo $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS; sleep 0.2", f"j{n}") for n in (0, 1)]
        for job in jobs:
            pool.start(job)
        while pool.running:
            pool.wait(10)
    assert [job.log_file.read_text() for job in jobs] == ["6 3\n", "7 3\n"]
    assert [job.gpu for job in jobs] == ["6", "7"]


def test_gpu_is_locked_over_pools_until_its_last_process_is_gone(tmp_path):
    with JobPool(Slots.gpus("91")) as one, JobPool(Slots.gpus("91")) as two:
        one.start(make_job(tmp_path, "sleep 60"))
        assert not two.has_room()
        one.end_all(State.KILLED, "test")
        assert two.has_room()


@pytest.mark.parametrize("gpus", ["", "0,,1", "0,0", "0 1"])
def test_bad_gpu_list_is_refused(gpus):
    with pytest.raises(ValueError, match="different ids"):
        Slots.gpus(gpus)


def test_jobs_on_one_gpu_share_it():
    slots = Slots.gpus("92,93", jobs_per_gpu=2)
    taken = [slots.acquire() for _ in range(4)]
    assert sorted(slot.gpu for slot in taken) == ["92", "92", "93", "93"]
    assert slots.acquire() is None
    for slot in taken:
        slots.release(slot)


def test_retry_allows_named_failures_only(tmp_path):
    job = make_job(tmp_path, "exit 7")
    job.start()
    job.wait()
    assert Retry(times=1).allows(job)
    assert not Retry().allows(job)
    assert not Retry(times=1, on=frozenset({"signal"})).allows(job)
    assert not Retry(times=1, exit_codes=frozenset({3})).allows(job)
    again = job.again()
    again.start()
    again.wait()
    assert not Retry(times=1).allows(again)
    with pytest.raises(ValueError, match="unknown kind"):
        Retry(on=frozenset({"typo"}))


def test_linked_paths_are_linked_and_the_rest_is_copied(tmp_path):
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "main.sh").write_text("cat data/x; echo changed > main.out")
    (project / "data" / "x").write_text("data\n")
    job = make_job(tmp_path, "sh main.sh", cwd=project, symlink_paths=["data"])
    job.start()
    job.wait()
    assert job.log_file.read_text() == "data\n"
    assert (job.job_dir / "project" / "data").is_symlink()
    assert not (project / "main.out").exists()
    with pytest.raises(ValueError, match="'nothere', must exist"):
        make_job(tmp_path, "true", "other", cwd=project, symlink_paths=["nothere"]).start()


SCHEDULER = """
import sys
from pathlib import Path
from gml.jobs import Job, JobPool, Slots, interrupts
folder = Path(sys.argv[1])
with interrupts(), JobPool(Slots.plain(2)) as pool:
    for name in ("a", "b"):
        pool.start(Job(f"sleep 300 & echo $! > {folder}/{name}.pid; wait", name, job_dir=folder / name))
    while pool.running:
        pool.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_job_outlives_its_scheduler(tmp_path, number):
    scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    pids = [read_pid(tmp_path / f"{name}.pid") for name in "ab"]
    scheduler.send_signal(number)
    scheduler.wait(20)
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_orphans_are_found_when_scheduler_and_guard_are_dead(tmp_path):
    scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER, str(tmp_path)], cwd=ROOT)
    pids = [read_pid(tmp_path / f"{name}.pid") for name in "ab"]
    children = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(scheduler.pid)], capture_output=True, text=True)
    guard = next(int(line.split()[0]) for line in children.stdout.splitlines() if "gml.jobs.guard" in line)
    os.kill(guard, signal.SIGKILL)
    scheduler.kill()
    scheduler.wait()
    assert all(alive(pid) for pid in pids)
    assert end_orphans(tmp_path, grace_s=1.0) == [tmp_path / "a", tmp_path / "b"]
    assert not any(alive(pid) for pid in pids)
    assert end_orphans(tmp_path) == []


def test_interrupt_carries_the_exit_code():
    with pytest.raises(Interrupted) as caught, interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert caught.value.exit_code == 143


class Dying:
    """Gets a signal while it is destroyed, where Python drops every exception."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_lost_in_a_destructor_is_raised_at_the_next_check():
    with pytest.raises(Interrupted) as caught, interrupts():
        Dying()
        signals.check()
    assert caught.value.exit_code == 143


def test_engine_costs_little_per_job(tmp_path):
    """The engine's own cost per job, without any study: far below the 60 ms that a whole trial may cost."""
    num, slots = 60, 2
    begun = time.monotonic()
    with JobPool(Slots.plain(slots)) as pool:
        for index in range(num):
            while not pool.has_room():
                pool.wait()
            pool.start(make_job(tmp_path, "sleep 0.01", f"job{index}"))
        while pool.running:
            pool.wait()
    assert ((time.monotonic() - begun) * slots - num * 0.01) / num < 0.06


def test_cut_off_trace_does_not_hinder_the_others(tmp_path):
    for name, text in (("a", '{"token": '), ("b", '{"token": "none-has-this"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "process.json").write_text(text)
    assert [folder.name for folder in end_orphans(tmp_path)] == ["a", "b"]
    assert not list(tmp_path.rglob("process.json"))
