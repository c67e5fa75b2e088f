"""One conformance suite for both supervisors, then what only processes can do: die, hang and be killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fake_bodies import SPEC, make_body
from helpers import body, small_config

from shared_ppo.errors import CheckpointError, SharedPPOError
from shared_ppo.log_lines import MOST_LINES
from shared_ppo.messages import (
    BodyFailed,
    EpisodeReport,
    EvaluateOrder,
    EvaluationReport,
    Event,
    LearnerRestarted,
    LearnerUpdate,
    TrainOrder,
    WorkerRestarted,
)
from shared_ppo.supervisor import InProcessSupervisor, ProcessSupervisor, Supervisor

Make = Callable[..., Supervisor]
KINDS = {
    "in_process": (InProcessSupervisor, "sync"),
    "sync": (ProcessSupervisor, "sync"),
    "async": (ProcessSupervisor, "async"),
}


def _maker(running: list[Supervisor], cls: type, mode: str) -> Make:
    """Returns a function that builds and starts a supervisor."""

    def build(**settings: object) -> Supervisor:
        config = settings.pop("config", small_config())
        settings = {"num_workers": 2, "seed": 3, "mode": mode, "preload": ("fake_bodies",)} | settings
        supervisor = cls(make_body, SPEC, config, **settings)
        running.append(supervisor)
        supervisor.start()
        return supervisor

    return build


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Builds supervisors of each kind and stops them."""
    running: list[Supervisor] = []
    yield _maker(running, *KINDS[request.param])
    for supervisor in running:
        supervisor.stop()


@pytest.fixture(params=["sync", "async"])
def make_processes(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Builds supervisors with processes and stops them."""
    running: list[Supervisor] = []
    yield _maker(running, *KINDS[request.param])
    for supervisor in running:
        supervisor.stop()


def poll_until(supervisor: Supervisor, done: Callable[[list[Event]], bool], timeout_s: float = 40.0) -> list[Event]:
    """Polls until `done` says so of all events so far."""
    events: list[Event] = []
    end = time.monotonic() + timeout_s
    while not done(events):
        assert time.monotonic() < end, f"not done after {timeout_s} s; last events: {events[-5:]}"
        events += supervisor.poll(0.5)
    return events


def of(kind: type, events: list[Event]) -> list:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def updates(count: int) -> Callable[[list[Event]], bool]:
    """Done after so many updates."""
    return lambda events: len(of(LearnerUpdate, events)) >= count


# --- conformance ------------------------------------------------------------------------------------------------


def test_training_runs_and_everything_is_counted(make: Make) -> None:
    """Updates arrive, versions grow, episodes are reported, and received = used + dropped in the end."""
    supervisor = make()
    supervisor.train(0, TrainOrder((body(1), body(2, num_joints=5))))
    supervisor.train(1, TrainOrder((body(3, num_joints=1),)))
    events = poll_until(supervisor, updates(3))
    versions = [update.metrics["policy_version"] for update in of(LearnerUpdate, events)]
    assert versions == sorted(set(versions)) and supervisor.policy_version >= 4
    assert {report.body_id for report in of(EpisodeReport, events)} == {1, 2, 3}
    assert all(report.steps == 20 and report.info["total"] < 0 for report in of(EpisodeReport, events))
    supervisor.freeze()
    counts = supervisor.counters()
    assert counts["experience_sent"] == counts["experience_received"] == supervisor.env_steps
    assert counts["experience_received"] == counts["experience_used"] + counts["experience_dropped"]
    last = of(LearnerUpdate, supervisor.poll(1.0))
    assert not last or last[-1].metrics["policy_version"] == supervisor.policy_version


def test_evaluation_covers_bodies_and_seeds(make: Make) -> None:
    """Every body from every seed under one version, also while others train, also when frozen."""
    supervisor = make()
    supervisor.train(0, TrainOrder((body(1),)))
    orders = [EvaluateOrder(n, (body(10 + n), body(20 + n, fault="raise", at=5)), (0, 1, 2)) for n in range(3)]
    for order in orders:
        supervisor.evaluate(order)
    events = poll_until(supervisor, lambda events: len(of(EvaluationReport, events)) == 3)
    reports = {report.order_id: report for report in of(EvaluationReport, events)}
    assert sorted(reports) == [0, 1, 2]
    for number, report in reports.items():
        assert list(report.results) == [10 + number] and len(report.results[10 + number]) == 3
        assert "ZeroDivisionError" in report.failed[20 + number]
        assert report.policy_version >= 1 and report.steps == 64
    supervisor.freeze()
    version = supervisor.policy_version
    supervisor.evaluate(EvaluateOrder(7, (body(1),), (0,)))
    events = poll_until(supervisor, lambda events: bool(of(EvaluationReport, events)))
    assert of(EvaluationReport, events)[-1].policy_version == version == supervisor.policy_version


def test_a_body_that_raises_leaves_the_mix(make: Make) -> None:
    """Its neighbours train on."""
    supervisor = make()
    supervisor.train(0, TrainOrder((body(1, fault="raise", at=40), body(2))))
    supervisor.train(1, TrainOrder((body(3, fault="build"), body(4))))
    events = poll_until(supervisor, updates(2))
    assert {failure.body_id for failure in of(BodyFailed, events)} == {1, 3}
    later = poll_until(supervisor, updates(2))
    assert not of(BodyFailed, later) and {report.body_id for report in of(EpisodeReport, later)} == {2, 4}


def test_resume_goes_on_where_the_checkpoint_was(make: Make, tmp_path: Path) -> None:
    """Version, updates, steps and counters continue."""
    first = make()
    first.train(0, TrainOrder((body(1), body(2))))
    poll_until(first, updates(2))
    first.freeze()
    first.checkpoint(tmp_path / "learner.ckpt")
    first.stop()
    second = make(checkpoint=tmp_path / "learner.ckpt")
    assert second.policy_version == first.policy_version and second.env_steps == first.env_steps
    second.train(0, TrainOrder((body(1), body(2))))
    metrics = of(LearnerUpdate, poll_until(second, updates(1)))[0].metrics
    assert metrics["policy_version"] == first.policy_version + 1 and metrics["updates"] >= 3
    counts = second.counters()
    assert counts["experience_used"] > first.counters()["experience_used"]


def test_damaged_checkpoints_are_refused(make: Make, tmp_path: Path) -> None:
    """Missing, cut short, flipped, or of another network: a CheckpointError that says so."""
    supervisor = make()
    path = tmp_path / "learner.ckpt"
    supervisor.checkpoint(path)
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match="cannot read"):
        make(checkpoint=tmp_path / "none.ckpt")
    for damaged in (b"", whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            make(checkpoint=path)
    path.write_bytes(whole)
    other = small_config()
    other = replace(other, policy=replace(other.policy, core_dim=40))
    with pytest.raises(CheckpointError, match="shape"):
        make(checkpoint=path, config=other)


def run_rounds(supervisor: Supervisor, path: Path) -> tuple[list[Event], bytes]:
    """A small search: mixes change and evaluations happen in fixed rounds."""
    events: list[Event] = []
    supervisor.train(0, TrainOrder((body(1), body(2, num_joints=5))))
    supervisor.train(1, TrainOrder((body(3, num_joints=2),)))
    for number in range(8):
        if number == 3:
            supervisor.evaluate(EvaluateOrder(1, (body(1), body(4)), (0, 1)))
            supervisor.evaluate(EvaluateOrder(2, (body(2, num_joints=5),), (0,)))
            supervisor.train(1, TrainOrder((body(4), body(3, num_joints=2))))
        events += poll_until(supervisor, bool)
    supervisor.checkpoint(path)
    return events, path.read_bytes()


def test_sync_is_reproducible_in_processes_and_without(tmp_path: Path) -> None:
    """Twice with processes and once without: the same events and the same learner, bit by bit."""
    outcomes = []
    for number, (cls, mode) in enumerate([KINDS["sync"], KINDS["sync"], KINDS["in_process"]]):
        running: list[Supervisor] = []
        supervisor = _maker(running, cls, mode)()
        try:
            events, checkpoint = run_rounds(supervisor, tmp_path / f"{number}.ckpt")
        finally:
            supervisor.stop()
        for update in of(LearnerUpdate, events):
            for name in ("learn_seconds", "queue_fill", "buffer_bytes"):
                update.metrics.pop(name)
        outcomes.append((events, checkpoint))
    assert len(of(LearnerUpdate, outcomes[0][0])) >= 2
    assert outcomes[0] == outcomes[1] == outcomes[2]


# --- processes --------------------------------------------------------------------------------------------------


def worker_pid(supervisor: ProcessSupervisor, worker: int) -> int:
    """Process id of a worker."""
    return supervisor._workers[worker].child.process.pid


def test_titles(make_processes: Make) -> None:
    """What `ps` shows."""
    supervisor = make_processes(title="tested")
    supervisor.train(0, TrainOrder((body(1),)))
    poll_until(supervisor, updates(1))
    titles = {" ".join(child.cmdline()).strip() for child in psutil.Process().children(recursive=True)}
    assert {"tested: worker 0", "tested: worker 1", "tested: shared_ppo learner"} <= titles


@pytest.mark.parametrize("fault", ["segfault", "exit", "hang"])
def test_a_body_that_breaks_two_workers_is_set_aside(make_processes: Make, fault: str) -> None:
    """First a restart, then a BodyFailed; the other bodies train on; later orders leave it out."""
    config = small_config()
    config = replace(config, workers=replace(config.workers, hang_timeout_s=2.0))
    supervisor = make_processes(config=config)
    supervisor.train(0, TrainOrder((body(1, fault=fault, at=40), body(2))))
    supervisor.train(1, TrainOrder((body(3),)))
    events = poll_until(supervisor, lambda events: bool(of(BodyFailed, events)))
    assert [restart.worker for restart in of(WorkerRestarted, events)] == [0, 0]
    assert of(WorkerRestarted, events)[0].bodies == (1, 2)
    failure = of(BodyFailed, events)[0]
    assert failure.body_id == 1 and failure.is_final and "2 workers" in failure.reason
    supervisor.evaluate(EvaluateOrder(1, (body(1, fault=fault), body(2)), (0,)))
    supervisor.train(1, TrainOrder((body(1, fault=fault, at=1), body(3))))
    later = poll_until(supervisor, lambda events: updates(2)(events) and bool(of(EvaluationReport, events)))
    assert not of(WorkerRestarted, later)
    report = of(EvaluationReport, later)[0]
    assert list(report.results) == [2] and "set aside" in report.failed[1]


def test_an_evaluation_that_breaks_workers_comes_back(make_processes: Make) -> None:
    """The order is given again, and the second time without the body."""
    supervisor = make_processes()
    supervisor.evaluate(EvaluateOrder(1, (body(1, fault="segfault", at=5), body(2)), (0, 1)))
    events = poll_until(supervisor, lambda events: bool(of(EvaluationReport, events)))
    report = of(EvaluationReport, events)[0]
    assert len(of(WorkerRestarted, events)) == 2
    assert len(report.results[2]) == 2 and "SIGSEGV" in report.failed[1]


def test_what_processes_say_is_logged_here_and_not_on_the_terminal(
    make_processes: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each line once, with the name of its process; whoever has too much to say is cut short."""
    supervisor = make_processes()
    supervisor.train(1, TrainOrder((body(1, fault="talk", at=5),)))
    poll_until(supervisor, updates(1))
    lines = [record.getMessage() for record in caplog.records if record.name == "fake"]
    assert lines == [f"worker 1: joint {number} is hot" for number in range(MOST_LINES)]
    assert capfd.readouterr().err == ""


def test_the_error_that_ends_a_process_is_logged(
    make_processes: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its traceback, under the name of the process."""
    supervisor = make_processes()
    supervisor._learner.send("what is this?")
    poll_until(supervisor, lambda events: bool(of(LearnerRestarted, events)))
    [line] = [record.getMessage() for record in caplog.records if record.name == "shared_ppo.log_lines"]
    assert line.startswith("learner: ended by an error") and "Traceback" in line and "TypeError" in line
    assert capfd.readouterr().err == ""


def test_workers_killed_from_outside(make_processes: Make) -> None:
    """20 SIGKILLs at random moments: 20 restarts, no body blamed, training goes on, and the counts add up."""
    supervisor = make_processes()
    supervisor.train(0, TrainOrder((body(1), body(2))))
    supervisor.train(1, TrainOrder((body(3), body(4))))
    events = poll_until(supervisor, updates(1))
    choose = random.Random(5)
    for _ in range(20):
        os.kill(worker_pid(supervisor, choose.randrange(2)), signal.SIGKILL)
        events += poll_until(supervisor, lambda new: bool(of(WorkerRestarted, new)))
        end = time.monotonic() + choose.uniform(0, 0.15)
        while time.monotonic() < end:
            events += supervisor.poll(0.02)
    events += poll_until(supervisor, updates(3))
    assert len(of(WorkerRestarted, events)) == 20
    assert {restart.exitcode_or_signal for restart in of(WorkerRestarted, events)} == {-signal.SIGKILL}
    assert not of(BodyFailed, events)
    supervisor.freeze()
    counts = supervisor.counters()
    assert counts["experience_received"] == counts["experience_used"] + counts["experience_dropped"]
    assert counts["experience_received"] <= counts["experience_sent"] <= supervisor.env_steps


def test_experience_is_fresh(make_processes: Make) -> None:
    """Workers wait for the weights that their batch makes, so the learner hardly ever sees an older segment."""
    supervisor = make_processes()
    supervisor.train(0, TrainOrder((body(1), body(2))))
    supervisor.train(1, TrainOrder((body(3), body(4))))
    later = of(LearnerUpdate, poll_until(supervisor, updates(30)))[10:]
    fresh = [update for update in later if update.metrics["policy_lag_max"] == 0]
    assert len(fresh) >= 0.8 * len(later)


@pytest.mark.parametrize("make_processes", ["async"], indirect=True)
def test_nobody_waits_for_a_worker_that_hangs(make_processes: Make) -> None:
    """The others roll out its share too; in sync mode a round is a round."""
    supervisor = make_processes()
    supervisor.train(0, TrainOrder((body(1), body(2))))
    supervisor.train(1, TrainOrder((body(3), body(4))))
    poll_until(supervisor, updates(2))
    hanging = worker_pid(supervisor, 1)
    os.kill(hanging, signal.SIGSTOP)
    try:
        events = poll_until(supervisor, updates(6), timeout_s=30.0)
    finally:
        os.kill(hanging, signal.SIGCONT)
    assert not of(WorkerRestarted, events)


def test_workers_retire_after_their_share_of_bodies(make_processes: Make) -> None:
    """In async mode a fresh process goes on with mix and evaluations; it is no restart, and nothing sent is lost."""
    config = small_config()
    supervisor = make_processes(config=replace(config, workers=replace(config.workers, bodies_per_process=4)))
    supervisor.train(0, TrainOrder((body(1), body(2))))
    pids, events = {worker_pid(supervisor, 0)}, []
    for order in range(6):
        supervisor.evaluate(EvaluateOrder(order, (body(5), body(6)), (0,)))
        events += poll_until(supervisor, lambda new: bool(of(EvaluationReport, new)))
        pids.add(worker_pid(supervisor, 0))
    events += poll_until(supervisor, updates(2))
    assert (len(pids) >= 2) != supervisor._is_sync
    assert not of(WorkerRestarted, events) and not of(BodyFailed, events)
    assert {report.order_id for report in of(EvaluationReport, events)} == set(range(6))
    supervisor.freeze()
    counts = supervisor.counters()
    assert counts["experience_sent"] == counts["experience_received"]
    assert counts["experience_received"] == counts["experience_used"] + counts["experience_dropped"]


def test_learner_killed(make_processes: Make) -> None:
    """It goes on from its last update with its counters; versions keep growing."""
    supervisor = make_processes()
    supervisor.train(0, TrainOrder((body(1), body(2))))
    supervisor.evaluate(EvaluateOrder(1, (body(5),), (0,)))
    events = poll_until(supervisor, updates(2))
    before = of(LearnerUpdate, events)[-1].metrics
    os.kill(supervisor._learner.process.pid, signal.SIGKILL)
    events = poll_until(supervisor, updates(2))
    [restart] = of(LearnerRestarted, events)
    assert restart.exitcode == -signal.SIGKILL and not of(WorkerRestarted, events)
    after = of(LearnerUpdate, events)[-1].metrics
    assert after["updates"] >= before["updates"] + 2 and after["policy_version"] > before["policy_version"]
    supervisor.freeze()
    counts = supervisor.counters()
    assert counts["experience_received"] == counts["experience_used"] + counts["experience_dropped"]


def test_a_learner_that_stands_still_is_replaced(make_processes: Make) -> None:
    """Stopped by a signal it gives no sign of life; it is killed and goes on."""
    config = small_config()
    supervisor = make_processes(config=replace(config, workers=replace(config.workers, hang_timeout_s=2.0)))
    supervisor.train(0, TrainOrder((body(1),)))
    poll_until(supervisor, updates(1))
    os.kill(supervisor._learner.process.pid, signal.SIGSTOP)
    events = poll_until(supervisor, lambda events: bool(of(LearnerRestarted, events)))
    poll_until(supervisor, updates(1))
    assert of(LearnerRestarted, events)[0].exitcode == -signal.SIGKILL


def test_a_learner_that_keeps_dying_is_an_error(make_processes: Make) -> None:
    """After the forgiven deaths a clear failure."""
    supervisor = make_processes()

    def kill_again_and_again() -> None:
        for _ in range(10):
            os.kill(supervisor._learner.process.pid, signal.SIGKILL)
            supervisor._learner.process.join()
            supervisor.poll(0.05)

    with pytest.raises(SharedPPOError, match="learner died 4 times"):
        kill_again_and_again()


def test_a_stopped_run_leaves_no_process(make_processes: Make) -> None:
    """Also with a full buffer, a hanging body and a long evaluation under way."""
    supervisor = make_processes()
    supervisor.train(0, TrainOrder((body(1, fault="hang", at=3),)))
    supervisor.train(1, TrainOrder((body(3), body(4))))
    supervisor.poll(0.3)
    children = [record.child.process.pid for record in supervisor._workers] + [supervisor._learner.process.pid]
    started = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started < 12
    assert not any(psutil.pid_exists(pid) for pid in children)
