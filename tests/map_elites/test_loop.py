"""A whole run on toy bodies: files, summary, signals, resume, failures."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from map_elites.checkpoint import read_state, restore_or_fail, search_state
from map_elites.config import RunConfig
from map_elites.crew import BodyBroke, OrderDone, ProcessReplaced
from map_elites.errors import Interrupted
from map_elites.evaluation import verification_seeds
from map_elites.logs import RunLog
from map_elites.loop import Loop, StopSignal
from map_elites.metrics import COLUMNS, SUMMARY
from map_elites.report import Reporter, Totals
from map_elites.run_folder import RunFolder, make_folder
from tests.map_elites.fakes import ToyCrew, read_parted
from tests.map_elites.test_evolution import make_evolution


class Run:
    """A run of toys in a folder."""

    def __init__(self, folder: RunFolder, total_steps: int = 40_000, *, resume: bool = False, **settings) -> None:
        self.folder, self.search = folder, make_evolution(total_steps)
        checkpoint = folder.newest_checkpoint() if resume else None
        state = read_state(checkpoint) if checkpoint else {}
        if checkpoint:
            restore_or_fail(self.search, checkpoint, state, read_parted)
        self.crew = ToyCrew(self.search, before=state.get("env_steps", 0))
        self.config = RunConfig(
            total_steps=total_steps, **{"checkpoint_interval_s": 0.3, "log_interval_s": 0.1} | settings
        )
        self.log = RunLog([folder.log_path])
        totals = Totals(**state["totals"]) if checkpoint else Totals()
        self.log.open()
        self.reporter = Reporter(
            folder, self.log, self.config, search=self.search, crew=self.crew, totals=totals,
            resumed_at=state.get("env_steps"),
        )  # fmt: skip

    def run(self, stop: StopSignal | None = None) -> dict:
        loop = Loop(
            search=self.search, crew=self.crew, reporter=self.reporter, folder=self.folder, config=self.config,
            describe=self.search.world.describe, verification_seeds=verification_seeds(0, 3, 1),
            save_search=lambda: search_state(self.search), stop=stop or StopSignal(),
        )  # fmt: skip
        try:
            return loop.run()
        finally:
            self.reporter.close()
            self.log.close()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path, "run")


def test_a_run_leaves_a_complete_folder(folder: RunFolder):
    run = Run(folder)
    summary = run.run()
    assert tuple(summary) == SUMMARY and summary["status"] == "finished"
    assert json.loads(folder.summary_path.read_text()) == summary
    assert (
        abs(summary["env_steps"] - 40_000) <= 2000
        and summary["verification_steps"] == len(run.search.archive) * 4 * 128
    )
    assert summary["policy_lag_mean"] == 1.0 and summary["peak_memory_bytes"] > 10**6
    elites = json.loads(folder.archive_path.read_text())
    assert len(elites) == summary["num_elites"] > 0
    assert summary["verified_qd_score"] == pytest.approx(sum(elite["verified_fitness"] for elite in elites))
    assert summary["qd_score"] == pytest.approx(sum(elite["fitness"] for elite in elites))
    assert folder.heatmap_path.stat().st_size > 5000 and len(folder.checkpoints()) >= 2


def test_curves_have_every_column_and_rising_steps(folder: RunFolder):
    Run(folder).run()
    rows = list(csv.DictReader(folder.metrics_path.open()))
    assert tuple(rows[0]) == COLUMNS and len(rows) >= 2
    steps = [int(row["env_steps"]) for row in rows]
    assert steps == sorted(steps) and float(rows[-1]["coverage"]) > 0
    assert abs(steps[-1] - 40_000) <= 2000 and any(row["kl"] == "0.01" for row in rows)
    scored = list(csv.DictReader(folder.evaluations_path.open()))
    assert {row["outcome"] for row in scored} >= {"new"} and all(row["policy_version"] for row in scored)


def test_log_has_progress_and_what_happened(folder: RunFolder):
    Run(folder).run()
    text = folder.log_path.read_text()
    for part in ("ETA", "coverage", "QD score", "best", "steps/s", "policy version", "lag", "failed evaluations 0",
                 "worker restarts 0", "checkpoint at", "scored", "finished"):  # fmt: skip
        assert part in text


def test_tensorboard_has_scalars_and_the_heatmap(folder: RunFolder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Run(folder).run()
    seen = EventAccumulator(str(folder.tensorboard_path))
    seen.Reload()
    tags = set(seen.Tags()["scalars"])
    assert {
        "archive/coverage",
        "archive/qd_score",
        "learner/kl",
        "episode/episode_speed",
        "system/memory_bytes",
    } <= tags
    assert "archive/heatmap" in seen.Tags()["images"]


def test_a_signal_during_the_verification_does_not_count_its_steps(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    run = Run(folder, 5_000)

    def interrupted(crew: ToyCrew, *arguments, while_waiting, **settings):
        crew.env_steps += 1_000
        os.kill(os.getpid(), signal.SIGINT)
        while_waiting()

    monkeypatch.setattr("map_elites.loop.verify_elites", interrupted)
    with pytest.raises(Interrupted), StopSignal() as stop:
        run.run(stop)
    summary = json.loads(folder.summary_path.read_text())
    assert summary["status"] == "interrupted" and summary["env_steps"] == run.crew.env_steps - 1_000
    assert read_state(folder.newest_checkpoint())["env_steps"] == summary["env_steps"]


def run_until(run: Run, ready: Callable[[], bool]) -> None:
    """Runs until a signal comes, as soon as `ready`; from then on nothing is done."""
    poll = run.crew.poll

    def interrupt(timeout_s: float):
        if ready():
            os.kill(os.getpid(), signal.SIGINT)
        return [] if ready() else poll(timeout_s)

    run.crew.poll = interrupt
    with pytest.raises(Interrupted), StopSignal() as stop:
        run.run(stop)


def test_a_run_that_was_stopped_while_it_closed_closes_again_and_a_finished_one_does_not(folder: RunFolder):
    run = Run(folder, 400_000)
    run_until(run, lambda: run.crew.frozen)
    assert run.search.is_busy and run.search.reserve
    again = Run(folder, 400_000, resume=True)
    before, reserve = again.crew.env_steps, set(again.search.reserve)
    summary = again.run()
    assert reserve == set(run.search.reserve) and summary["env_steps"] > before
    assert {elite.score.policy_version for elite in again.search.archive} == {again.crew.version}
    finished = Run(folder, 400_000, resume=True)
    assert finished.run()["env_steps"] == summary["env_steps"]


def test_a_run_that_was_stopped_in_its_harvest_goes_on_with_it(folder: RunFolder):
    """Nobody is scored again, children that were about to compete are forgotten."""
    run = Run(folder, 400_000)
    run_until(run, lambda: bool(run.search.closing and run.search.closing.contenders))
    assert run.search.is_busy and run.search.closed
    again = Run(folder, 400_000, resume=True)
    again.crew.version, orders, close = run.crew.version, [], again.search.closing_orders

    def note(env_steps: int):
        orders.append(close(env_steps))
        return orders[-1]

    again.search.closing_orders = note
    assert not any(number in again.search.nursery for number in run.search.closing.contenders)
    assert again.search.closing.seeds == run.search.closing.seeds
    assert again.run()["env_steps"] <= 400_000
    assert orders[0] and all(order.purpose == "litter" for order in orders[0]) and not orders[-1]
    scored = {number for given in orders for order in given for number in order.bodies}
    assert not scored & {elite.id for elite in run.search.archive}


def test_a_run_that_was_killed_in_its_harvest_goes_on_with_it(folder: RunFolder):
    """There are checkpoints between its rounds."""
    run = Run(folder, 400_000, checkpoint_interval_s=0.1)
    poll, closing_orders, rounds = run.crew.poll, run.search.closing_orders, []

    def close(env_steps: int):
        rounds.append(env_steps)
        time.sleep(0.1)
        return closing_orders(env_steps)

    def killed(timeout_s: float):
        if len(rounds) == 4:
            raise MemoryError
        return poll(timeout_s)

    run.search.closing_orders, run.crew.poll = close, killed
    with pytest.raises(MemoryError):
        run.run()
    again = Run(folder, 400_000, resume=True)
    assert again.crew.env_steps == rounds[-1] and again.search.closing.seeds == run.search.closing.seeds
    assert {elite.id for elite in again.search.archive} == {elite.id for elite in run.search.archive}
    assert again.run()["env_steps"] <= 400_000
    counts = re.findall(r"(\d+) scored, (\d+) new, (\d+) improved, (\d+) rejected", folder.log_path.read_text())
    assert counts and all(int(scored) >= sum(map(int, decided)) for scored, *decided in counts)


@pytest.mark.parametrize(("more", "trains"), [(4_000, False), (400_000, True)])
def test_a_finished_run_says_so_if_more_steps_are_too_few_to_train(folder: RunFolder, more: int, trains: bool):
    short = Run(folder, 400_000)
    short.run()
    longer = Run(folder, 400_000 + more, resume=True)
    longer.run()
    assert (longer.search.trained > short.search.trained) == trains
    assert ("nobody trains any more" in folder.log_path.read_text()) != trains


def test_a_run_goes_on_after_a_closing_in_which_an_elite_failed(folder: RunFolder):
    """Bodies that wanted the failed one's cell are not waiting for anything: with more steps the run has other work."""
    run = Run(folder, 400_000)
    poll, closing_orders = run.crew.poll, run.search.closing_orders
    bad: set[int] = set()

    def close(env_steps: int):
        if not run.search.closing:
            bad.update(elite.id for elite in list(run.search.archive)[:5])
        return closing_orders(env_steps)

    def failing(timeout_s: float):
        events = []
        for event in poll(timeout_s):
            if isinstance(event, OrderDone) and bad & set(event.results) and run.search.is_busy:
                results = {number: rows for number, rows in event.results.items() if number not in bad}
                event = replace(event, results=results, failed=dict.fromkeys(bad & set(event.results), "fell apart"))
            events.append(event)
        return events

    run.crew.poll, run.search.closing_orders = failing, close
    run.run()
    assert run.search.counters.failed_evaluations == 5
    waiting = run.search.contests.waiting
    assert all(newborn.training or newborn.id in waiting for newborn in run.search.nursery)
    again = Run(folder, 800_000, resume=True)
    assert abs(again.run()["env_steps"] - 800_000) <= 16_000


def test_processes_that_got_the_same_signal_are_no_failure():
    """`timeout` and batch systems signal the whole group; without a signal, lost contact stays an error."""
    with pytest.raises(EOFError), StopSignal() as stop, stop.excuses_dead_processes():
        raise EOFError
    with pytest.raises(Interrupted), StopSignal() as stop, stop.excuses_dead_processes():
        os.kill(os.getpid(), signal.SIGTERM)
        raise BrokenPipeError
    with pytest.raises(OSError, match="full"), StopSignal() as stop, stop.excuses_dead_processes():
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError("disk full")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_write_a_checkpoint_and_the_run_goes_on_from_it(folder: RunFolder, number: int):
    run = Run(folder, 100_000)
    poll, polls = run.crew.poll, []

    def interrupt(timeout_s: float):
        polls.append(1)
        if len(polls) == 20:
            os.kill(os.getpid(), number)
        return poll(timeout_s)

    run.crew.poll = interrupt
    with pytest.raises(Interrupted) as caught, StopSignal() as stop:
        run.run(stop)
    assert caught.value.signal_number == number and len(polls) <= 21
    assert json.loads(folder.summary_path.read_text())["status"] == "interrupted"
    stopped_at = run.crew.env_steps
    again = Run(folder, 100_000, resume=True)
    assert again.crew.env_steps == stopped_at and search_state(again.search) == search_state(again.search)
    seconds = again.reporter.totals.wall_seconds
    summary = again.run()
    assert summary["status"] == "finished" and summary["wall_seconds"] > seconds > 0
    assert abs(summary["env_steps"] - 100_000) <= 5000
    steps = [int(row["env_steps"]) for row in csv.DictReader(folder.metrics_path.open())]
    assert steps == sorted(steps)


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_full_disk_ends_the_run(folder: RunFolder, monkeypatch):
    run = Run(folder)
    calls = []

    def full(env_steps, write, *, keep):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "write_checkpoint", lambda self, *args, **kwargs: full(*args, **kwargs))
    with pytest.raises(OSError, match="No space"):
        run.run()


def test_broken_bodies_and_dead_workers_are_counted(folder: RunFolder):
    run = Run(folder)
    run.crew.events = [ProcessReplaced("worker 1", "signal 9"), BodyBroke(0, "fell apart", 0), BodyBroke(0, "again", 0)]
    summary = run.run()
    assert summary["worker_restarts"] == 1 and list(run.search.failures.values()) == [["fell apart", "again"]]
    text = folder.log_path.read_text()
    assert "worker 1 died (signal 9) and was replaced" in text and "body 0 is set aside after 2 failures" in text
