"""The baseline: every individual trains a policy of its own, then is scored with it and asks for its cell.

A controller is frozen once its training is over, so scores do not age and need no pairing; the archive's rules are
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from map_elites.archive import Score
from map_elites.evaluation import EpisodesByBody, Settlement, contest_seeds
from map_elites.search import Search

FEWEST_STEPS = 64  # an individual with a smaller budget is not started


@dataclass(frozen=True)
class AloneCommand:
    """Train one body from scratch for some control steps, then score it on the seeds."""

    worker: int
    body: int
    steps: int
    seeds: tuple[int, ...]


class AloneSearch(Search):
    """The evolution in which everybody learns alone.

    Args:
        lockstep: Start a new batch of individuals only when all of the last one are scored, and settle them in the
            order of their ids: then nothing depends on who was faster.
        parts: See `Search`.

    Attributes:
        steps_done: Control steps that a running individual has made so far; whoever trains it knows.
    """

    steps_done: Callable[[int], int]

    def __init__(self, *, lockstep: bool = False, **parts: Any) -> None:
        super().__init__(**parts)
        self._lockstep = lockstep
        self._running: dict[int, AloneCommand] = {}
        self._scores: dict[int, Score] = {}
        self._failed: dict[int, str] = {}
        self._finished: set[int] = set()
        self.steps_done = lambda number: 0

    def commands(self, env_steps: int) -> list[AloneCommand]:
        """An individual for every idle worker, as long as the steps suffice."""
        return list(self._commands(env_steps))

    def _commands(self, env_steps: int) -> Iterator[AloneCommand]:
        if self._lockstep and self._running:
            return
        busy = {command.worker for command in self._running.values()}
        for worker in range(self.plan.workers):
            steps = self._affordable(env_steps)
            if worker in busy or steps is None:
                continue
            number = self._next_body()
            seeds = contest_seeds(self.run_seed, number, self.evaluation.episodes, self.plan.terrains)
            self._running[number] = AloneCommand(worker, number, steps, seeds)
            yield self._running[number]

    def _affordable(self, env_steps: int) -> int | None:
        """Training steps of the next individual; the last ones share what is left. None: too little is left."""
        whole = sum(command.steps + self.plan.score_steps for command in self._running.values())
        reserved = whole - sum(map(self.steps_done, self._running))
        left = self.plan.total_steps - env_steps - reserved - self.plan.score_steps
        steps = min(self.plan.newborn_steps, left)
        rest = left - steps
        if rest < self.plan.score_steps + FEWEST_STEPS and left <= 2 * self.plan.newborn_steps:
            steps = left  # too little for another one after this
        return steps if steps >= FEWEST_STEPS else None

    def _next_body(self) -> int:
        waiting = [n for n in self.nursery.training() if n not in self._running]
        if waiting:
            return waiting[0]
        if self.nursery.born < self.plan.num_initial:
            return self.nursery.random_newborn()
        return self.nursery.breed()

    def finished(self, env_steps: int) -> bool:
        """Whether nobody trains and nobody else can be afforded."""
        return not self._running and self._affordable(env_steps) is None

    def closing_orders(self, env_steps: int) -> list[AloneCommand]:
        """None: controllers that are frozen keep their scores."""
        return []

    @property
    def is_busy(self) -> bool:
        """Whether anybody trains or is scored."""
        return bool(self._running)

    def body_failed(self, number: int, reason: str, worker: int | None = None, *, is_final: bool = False) -> None:
        """An individual could not be trained; it is tried again unless it has failed too often."""
        self._running.pop(number, None)
        super().body_failed(number, reason, worker, is_final=is_final)

    def evaluation_finished(
        self,
        order_id: int,
        policy_version: int,
        results: EpisodesByBody,
        failed: Mapping[int, str],
    ) -> Settlement:
        """An individual is trained and scored, or failed."""
        numbers = {*results, *failed} & set(self._running)
        scores, failed = self.scores_of(policy_version, {n: results[n] for n in numbers & set(results)}, dict(failed))
        self.counters.evaluations += len(numbers)
        self.counters.failed_evaluations += len(failed)
        self._scores |= scores
        self._failed |= failed
        for number in numbers:
            self._finished.add(number)
        if self._lockstep and self._finished != set(self._running):
            return Settlement()
        return self._settle()

    def _settle(self) -> Settlement:
        """Puts everybody who is scored into the archive, in the order of their ids."""
        settlement = Settlement(scores=self._scores, failed=self._failed)
        self._scores, self._failed = {}, {}
        for number in sorted(self._finished):
            self._running.pop(number, None)
        self._finished.clear()
        for number, reason in sorted(settlement.failed.items()):
            self.body_failed(number, f"evaluation: {reason}")
        for number, score in sorted(settlement.scores.items()):
            result = self.archive.add(self.elite_of(number, score))
            settlement.results[number] = result
            self.counters.entered += result.status in ("new", "improved")
            self.nursery.pop(number)
        return settlement
