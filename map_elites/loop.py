"""One run from its first to its last step: commands go out, events come in, checkpoints are written on the way."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from map_elites.archive import Archive
from map_elites.checkpoint import write_state
from map_elites.config import RunConfig
from map_elites.crew import BodyBroke, Crew, CrewEvent, EpisodeDone, Learned, OrderDone, ProcessReplaced
from map_elites.errors import Interrupted
from map_elites.evaluation import Settlement
from map_elites.report import Reporter
from map_elites.run_folder import RunFolder
from map_elites.search import Counters
from map_elites.verification import verify_elites

log = logging.getLogger(__name__)

POLL_S = 0.05


class RunnableSearch(Protocol):
    """What decides: the evolution under a shared policy, or the one where everybody learns alone."""

    archive: Archive
    counters: Counters
    trained: set[int]

    def commands(self, env_steps: int) -> Sequence[Any]:
        """What the crew should do now."""

    def finished(self, env_steps: int) -> bool:
        """Whether training is over."""

    def closing_orders(self, env_steps: int) -> Sequence[Any]:
        """What is to be done next under the last weights; nothing: it is done."""

    @property
    def is_busy(self) -> bool:
        """Whether orders are under way."""

    def episode_finished(self, number: int, steps: int, info: Mapping[str, float]) -> None:
        """A training episode ended."""

    def body_failed(self, number: int, reason: str, worker: int | None = None, *, is_final: bool = False) -> None:
        """A body could not be simulated."""

    def evaluation_finished(
        self, order_id: int, policy_version: int, results: Mapping[int, Any], failed: Mapping[int, str]
    ) -> Settlement:
        """Scores are in."""


class StopSignal:
    """Remembers that a signal asked the run to end, so that it ends between two steps.

    A closed terminal's SIGHUP counts where nobody has asked to ignore it, as `nohup` does.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number

    def check(self) -> None:
        """Raises `Interrupted` if a signal has come."""
        if self.number is not None:
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def excuses_dead_processes(self) -> Iterator[None]:
        """Once a signal has come, lost contact with a process means that it got the same signal, as with `timeout`."""
        try:
            yield
        except (EOFError, ConnectionError):
            self.check()
            raise


class Loop:
    """Runs a search with a crew.

    Args:
        search: Decides.
        crew: Works.
        reporter: Watches.
        folder: Keeps.
        config: Intervals and seed.
        describe: Body descriptors of a design.
        verification_seeds: Episodes per elite at the end.
        save_search: The search's state as plain data.
        stop: Asked between two polls.
    """

    def __init__(
        self,
        *,
        search: RunnableSearch,
        crew: Crew,
        reporter: Reporter,
        folder: RunFolder,
        config: RunConfig,
        describe: Callable[[Any], Mapping[str, float]],
        verification_seeds: tuple[int, ...],
        save_search: Callable[[], dict[str, Any]],
        stop: StopSignal,
    ) -> None:
        self._search, self._crew, self._reporter, self._folder = search, crew, reporter, folder
        self._config, self._describe, self._seeds, self._stop = config, describe, verification_seeds, stop
        self._save_search = save_search
        self._next_checkpoint = 0.0

    def run(self) -> dict[str, Any]:
        """Trains, verifies, and returns the summary; the crew is left running.

        Raises:
            Interrupted: After a signal, see `StopSignal`; the checkpoint is written.
            OSError: A file cannot be written.
        """
        self._crew.start()
        self._reporter.started()
        self.checkpoint()
        done, total = self._crew.env_steps, self._config.total_steps
        if done < total and self._search.finished(done):
            log.warning("%d of %d steps are done, the closing takes the rest: nobody trains any more", done, total)
        try:
            self._train()
        except Interrupted:
            self.checkpoint("interrupted")
            raise
        env_steps = self._crew.env_steps
        try:
            summary = self._verify()
        except Interrupted:  # the checkpoint of the end of training stays: steps of a verification do not count
            self._save_results(self._reporter.summary("interrupted", env_steps=env_steps))
            raise
        log.info("finished: %d steps, %d elites", env_steps, len(self._search.archive))
        return summary

    def _train(self) -> None:
        while not self._search.finished(self._crew.env_steps):
            for command in self._search.commands(self._crew.env_steps):
                self._crew.carry_out(command)
            self._watch()
            self._checkpoint_if_due()
        for event in self._crew.finish():
            self._handle(event)
        self.checkpoint()
        while orders := self._search.closing_orders(self._crew.env_steps):
            for order in orders:
                self._crew.carry_out(order)
            while self._search.is_busy:
                self._watch()
            self._checkpoint_if_due()
        self._reporter.stop_clock()
        self.checkpoint()

    def _watch(self) -> None:
        """Takes what has happened, shows it, and stops where a signal says so."""
        for event in self._crew.poll(POLL_S):
            self._handle(event)
        self._reporter.tick()
        self._stop.check()

    def _verify(self) -> dict[str, Any]:
        env_steps = self._crew.env_steps
        log.info("verification: %d elites, %d episodes each", len(self._search.archive), len(self._seeds))

        def watch() -> None:
            self._reporter.tick()
            self._stop.check()

        outcome = verify_elites(
            self._crew,
            self._search.archive,
            describe=self._describe,
            seeds=self._seeds,
            while_waiting=watch,
        )
        self._search.counters.evaluations += outcome.evaluations
        self._search.counters.failed_evaluations += len(outcome.failed)
        self._reporter.tick(force=True)
        summary = self._reporter.summary("finished", env_steps=env_steps, verification=outcome)
        self._save_results(summary)
        return summary

    def _handle(self, event: CrewEvent) -> None:
        match event:
            case EpisodeDone():
                self._search.episode_finished(event.body, event.steps, event.info)
                self._reporter.episode(event)
            case OrderDone():
                outcome = self._search.evaluation_finished(
                    event.order_id, event.policy_version, event.results, event.failed
                )
                self._reporter.scored(event.order_id, event.policy_version, outcome)
            case BodyBroke():
                self._search.body_failed(event.body, event.reason, event.worker, is_final=event.is_final)
            case ProcessReplaced():
                self._reporter.replaced(event)
            case Learned():
                self._reporter.learned(event)

    def _checkpoint_if_due(self) -> None:
        if time.monotonic() >= self._next_checkpoint:
            self.checkpoint()

    def checkpoint(self, status: str = "running") -> None:
        """Writes a checkpoint, and archive, heatmap and summary as they are now.

        Raises:
            OSError: A file cannot be written.
        """
        steps = self._crew.env_steps
        self._folder.write_checkpoint(steps, self._write_checkpoint, keep=self._config.keep_checkpoints)
        self._save_results(self._reporter.summary(status, env_steps=steps))
        self._next_checkpoint = time.monotonic() + self._config.checkpoint_interval_s
        log.info("checkpoint at %d steps", steps)

    def record_failure(self) -> None:
        """Notes in `summary.json` that the run failed, if that can still be written; checkpoints stay as they are."""
        with contextlib.suppress(OSError):
            self._folder.write_summary(self._reporter.summary("failed", env_steps=self._crew.env_steps))

    def _write_checkpoint(self, folder: Path) -> None:
        self._crew.write_checkpoint(folder)
        totals = self._reporter.state()
        write_state(
            folder,
            {
                "env_steps": self._crew.env_steps,
                "totals": totals,
                "search": self._save_search(),
                "crew": self._crew.state(),
            },
        )

    def _save_results(self, summary: Mapping[str, Any]) -> None:
        self._search.archive.save(self._folder.archive_path)
        self._reporter.heatmap()
        self._folder.write_summary(summary)
