"""The search: random bodies warm the policy up, then newborns train, grow up, are scored and enter the archive.

`Evolution` decides and remembers; it runs nothing. Whoever owns the workers asks for `commands`, carries them out and
reports back what happened. With the same reports in the same order it does the same, whatever the clock says.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from map_elites.archive import Archive, ArchiveError, Cell, Elite, Score
from map_elites.config import EvaluationConfig, EvolutionConfig
from map_elites.contests import Contests, EvaluationOrder, Wait
from map_elites.descriptors import mean_by_name
from map_elites.evaluation import EvaluationFailed, Settlement, score_episodes, settle
from map_elites.nursery import Nursery
from map_elites.schedule import Plan, TrainingMix
from map_elites.variation import Variation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """Where the run takes place, as far as the search has to know.

    Attributes:
        terrain: Its name.
        engine: Physics engine, by name.
        describe: Body descriptors of a design.
    """

    terrain: str
    engine: str
    describe: Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class TrainCommand:
    """The bodies that a worker trains on from now on; none: it rests."""

    worker: int
    bodies: tuple[int, ...]


@dataclass
class Counters:
    """What happened so far; part of every checkpoint."""

    evaluations: int = 0
    failed_evaluations: int = 0
    entered: int = 0
    gave_up: int = 0


class Evolution:
    """The state of the search.

    Attributes:
        archive: The elites.
        nursery: Bodies that are not elites (yet).
        failures: Reasons of failures by rule sequence.
        contests: Queue of bodies to be scored.
        counters: What happened so far.
        trained: Ids of bodies that have trained.
        waits: Queue entries of the bodies being scored, by order.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        evolution: EvolutionConfig,
        evaluation: EvaluationConfig,
        archive: Archive,
        variation: Variation,
        world: World,
        run_seed: int,
    ) -> None:
        self.plan, self.max_strikes = plan, evaluation.max_strikes
        self.archive, self.world = archive, world
        self.rng = np.random.default_rng(np.random.SeedSequence([run_seed, 0]))
        self.contests = Contests(plan, evaluation, run_seed)
        self.nursery = Nursery(evolution, variation, archive, self.rng, self.set_aside)
        self.failures: dict[tuple[int, ...], list[str]] = {}
        self.counters = Counters()
        self.trained: set[int] = set()
        self.warming_up = True
        self.initial: list[int] = []
        self._mixes = [TrainingMix() for _ in range(plan.workers)]
        self._sent: list[tuple[int, ...] | None] = [() for _ in range(plan.workers)]
        self.waits: dict[int, dict[int, Wait]] = {}
        self._changed = True  # something happened that may change who trains

    # -- what to do next -------------------------------------------------------------------------------------------

    def commands(self, env_steps: int) -> list[TrainCommand | EvaluationOrder]:
        """What the workers should do now.

        Args:
            env_steps: Control steps so far, training and evaluation.
        """
        if self.warming_up and not self.initial:
            self.initial = [self.nursery.random_newborn() for _ in range(self.plan.num_initial)]
        if self.warming_up and env_steps >= self.plan.warmup_steps:
            self._end_warmup()
        orders = list(self._orders(env_steps))
        resting = self.steps_left(env_steps) <= self.plan.slack_steps
        return [*self._train_commands(resting), *orders]

    def steps_left(self, env_steps: int) -> int:
        """Control steps neither spent nor reserved by orders under way."""
        return self.plan.total_steps - env_steps - self.contests.reserved_steps

    def finished(self, env_steps: int) -> bool:
        """Whether the steps are used up and every order is back."""
        return not self.contests.flights and self.plan.total_steps - env_steps <= self.plan.slack_steps

    def design_of(self, number: int) -> Any:
        """The design of a body in training, waiting, or in the archive.

        Raises:
            KeyError: No such body (any more).
        """
        return self.nursery[number].design if number in self.nursery else self.archive.get(number).design

    def _orders(self, env_steps: int) -> Iterator[EvaluationOrder]:
        if self.warming_up:
            return
        while found := self.contests.next_order(self.archive, self._guess_cell, self.steps_left(env_steps)):
            order, self.waits[found[0].order_id] = found
            yield order

    def _train_commands(self, resting: bool) -> Iterator[TrainCommand]:
        if self._changed and not resting:
            for worker, mix in enumerate(self._mixes):
                self._refresh(worker, mix)
            self._changed = False
        for worker, mix in enumerate(self._mixes):
            bodies = () if resting else mix.bodies
            if bodies != self._sent[worker]:
                self._sent[worker] = bodies
                yield TrainCommand(worker, bodies)

    def _refresh(self, worker: int, mix: TrainingMix) -> None:
        if self.warming_up:
            shared = self.initial[worker :: self.plan.workers] or self.initial
            mix.rehearsing = sorted(sorted(shared, key=self._warmup_steps)[: self.plan.places])
            return
        placed = {number for other in self._mixes for number in other.newborns}
        mix.refresh(
            self.plan,
            training=self.nursery.training(),
            next_newborn=lambda: self.nursery.without_place(placed),
            elites=self._rehearsal_pool(),
            gone=lambda number: number not in self.archive and number not in self.nursery,
        )

    def _warmup_steps(self, number: int) -> int:
        """Warm-up steps of a body, in shares, so that bodies take turns rather than swap at every episode."""
        share = max(1, self.plan.warmup_steps // len(self.initial))
        return self.nursery[number].steps // share if number in self.nursery else share

    def _rehearsal_pool(self) -> Iterator[int]:
        pool = [elite.id for elite in self.archive] or [n for n in self.initial if n in self.nursery]
        yield from (pool[i] for i in self.rng.permutation(len(pool)))

    def _end_warmup(self) -> None:
        self.warming_up, self._changed = False, True
        for number in self.initial:
            if number in self.nursery:
                self.nursery[number].training = False
                self.contests.enter(number)
        log.info("warm-up done: %d random bodies go into the archive's first contests", len(self.contests.waiting))

    # -- what happened ---------------------------------------------------------------------------------------------

    def episode_finished(self, number: int, steps: int, info: Mapping[str, float]) -> None:
        """A training episode of a body ended."""
        self.trained.add(number)
        if number not in self.nursery:
            return
        newborn = self.nursery[number]
        newborn.steps += steps
        newborn.recent.append({name: value for name, value in info.items() if math.isfinite(value)})
        self._changed |= self.warming_up
        if newborn.training and not self.warming_up and newborn.steps >= self.plan.newborn_steps:
            newborn.training, self._changed = False, True
            self.contests.enter(number)

    def body_failed(self, number: int, reason: str, worker: int | None = None) -> None:
        """A body's simulation failed; after `max_strikes` failures it is set aside for good.

        Args:
            number: The body.
            reason: What went wrong.
            worker: The worker that no longer trains the body; it gets its bodies anew.
        """
        if worker is not None:
            self._sent[worker] = None
        try:
            design = self.design_of(number)
        except KeyError:
            return
        reasons = self.failures.setdefault(design.rules, [])
        reasons.append(reason)
        log.warning("body %d failed (%d of %d): %s; %s", number, len(reasons), self.max_strikes, reason, design)
        if self.set_aside(design):
            log.warning("body %d is set aside after %d failures: %s", number, len(reasons), design)
            self._drop(number)

    def set_aside(self, design: Any) -> bool:
        """Whether a design failed too often to be tried again."""
        return len(self.failures.get(design.rules, ())) >= self.max_strikes

    def evaluation_finished(
        self,
        order_id: int,
        policy_version: int,
        results: Mapping[int, Sequence[Mapping[str, float]]],
        failed: Mapping[int, str],
    ) -> Settlement:
        """Scores of an order are in: failures are recorded, the rest is settled."""
        order = self.contests.finish(order_id)
        waits = self.waits.pop(order_id, {})
        if order is None:
            return Settlement()
        self._changed = True
        scores, failed = self._scores(policy_version, results, dict(failed))
        self.counters.evaluations += len(order.bodies)
        self.counters.failed_evaluations += len(failed)
        for number, reason in sorted(failed.items()):
            self._evaluation_failed(number, reason, waits.get(number))
        settlement = settle(
            self.archive,
            [self._challenger(n, score) for n, score in scores.items() if n in self.nursery],
            {n: score for n, score in scores.items() if n in self.archive},
        )
        for number, result in settlement.results.items():
            if number in self.nursery and result.status in ("new", "improved"):
                self.counters.entered += 1
            self.nursery.pop(number)
            self.contests.forget(number)
        for number, opponent in sorted(settlement.blocked.items()):
            if not self.contests.again(number, opponent, waits.get(number, Wait())):
                self.counters.gave_up += 1
                self.nursery.pop(number)
        settlement.scores, settlement.failed = scores, failed
        return settlement

    def _scores(
        self,
        policy_version: int,
        results: Mapping[int, Sequence[Mapping[str, float]]],
        failed: dict[int, str],
    ) -> tuple[dict[int, Score], dict[int, str]]:
        """Scores by id; what gives no score joins the failures."""
        scores = {}
        for number, episodes in sorted(results.items()):
            try:
                body = self.world.describe(self.design_of(number))
                score = score_episodes(episodes, body=body, policy_version=policy_version)
                self.archive.cell_of(score.descriptors)
                scores[number] = score
            except KeyError:  # removed meanwhile
                continue
            except (EvaluationFailed, ArchiveError) as error:
                failed[number] = str(error)
        return scores, failed

    def _evaluation_failed(self, number: int, reason: str, wait: Wait | None) -> None:
        self.body_failed(number, f"evaluation: {reason}")
        if number in self.nursery:
            self.contests.waiting[number] = wait or Wait()

    def _challenger(self, number: int, score: Score) -> Elite:
        newborn = self.nursery[number]
        return Elite(
            id=number,
            design=newborn.design,
            score=score,
            joints=newborn.design.num_joints,
            terrain=self.world.terrain,
            engine=self.world.engine,
            parent_ids=newborn.parent_ids,
        )

    def _guess_cell(self, number: int) -> Cell | None:
        if number not in self.nursery or not self.nursery[number].recent:
            return None
        newborn = self.nursery[number]
        try:
            return self.archive.cell_of({**mean_by_name(newborn.recent), **self.world.describe(newborn.design)})
        except ArchiveError:
            return None

    def _drop(self, number: int) -> None:
        """Takes a body out of everything."""
        self._changed = True
        self.nursery.pop(number)
        self.contests.forget(number)
        if number in self.archive:
            self.archive.remove(number)
