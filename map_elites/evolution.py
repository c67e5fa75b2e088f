"""The search: random bodies and children of the fastest try random gaits; the fastest of all warm the policy up; then
children of elites try the policy, those that would add most to the archive are the newborns, which train, grow up, are
scored and enter it, while the next best are scored at once; at the end all elites are scored once more, and with them
those that had lost their cells on the way, so that the archive is the best that the last policy makes of all of them;
then comes the harvest: more children, who only compete, under a policy that does not change any more.

`Evolution` decides and remembers; it runs nothing. Whoever owns the workers asks for `commands`, carries them out and
reports back what happened. With the same reports in the same order it does the same, whatever the clock says.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from map_elites.archive import ArchiveError, Cell, Elite, Score
from map_elites.closing import Closing
from map_elites.contests import Contests, EvaluationOrder, Wait, oldest_scores_first
from map_elites.descriptors import mean_by_name
from map_elites.evaluation import EpisodesByBody, Settlement, settle
from map_elites.litter import LEAST_GAIN, Litter
from map_elites.reserve import Reserve
from map_elites.schedule import TrainingMix
from map_elites.screening import Screening
from map_elites.search import Search
from map_elites.selection import by_tournament

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainCommand:
    """The bodies that a worker trains on from now on; none: it rests."""

    worker: int
    bodies: tuple[int, ...]


class Evolution(Search):
    """The evolution under a shared policy.

    Attributes:
        contests: Queue of bodies to be scored.
        waits: Queue entries of the bodies being scored, by order.
        screening: Finds the first population.
        warming_up: The first population is being found, or trains; nobody is scored yet.
        warmup_end: Control steps of the run at which that ends.
        initial: Ids of the first population; empty until it is found.
        litter: Children that try the policy, of whom some will be newborns.
        reserve: Bodies that lost a contest.
        closing: The end of the run; None while somebody trains.
    """

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.contests = Contests(self.plan, self.evaluation, self.run_seed)
        self.waits: dict[int, dict[int, Wait]] = {}
        self.screening = Screening(self.plan, self.nursery)
        self.warmup_end = self.plan.screening_steps + self.plan.warmup_steps
        self.warming_up = True
        self.initial: list[int] = []
        self.litter = Litter(self.plan, self.nursery, self.contests, self.archive)
        self.reserve = Reserve()
        self.closing: Closing | None = None
        self._mixes = [TrainingMix() for _ in range(self.plan.workers)]
        self._sent: list[tuple[int, ...] | None] = [() for _ in range(self.plan.workers)]
        self._changed = True  # something happened that may change who trains

    # -- what to do next -------------------------------------------------------------------------------------------

    def commands(self, env_steps: int) -> Sequence[TrainCommand | EvaluationOrder]:
        """What the workers should do now.

        Args:
            env_steps: Control steps so far, training and evaluation.
        """
        self.closing = None  # a finished run may go on with more steps
        if self.contests.under_way("screening"):
            return []
        if self.warming_up and not self.initial:
            if not self.screening.all_given:
                return self.contests.screening_orders(self.screening.next_round())
            self.warmup_end = env_steps + self.plan.warmup_steps  # a screening that was cut short has been made again
            self.initial = self.screening.first_population()
        if self.warming_up and env_steps >= self.warmup_end:
            self._end_warmup()
        resting = self.steps_left(env_steps) <= self.plan.slack_steps
        return [*self._train_commands(resting), *self._orders(env_steps)]

    def steps_left(self, env_steps: int) -> int:
        """Control steps neither spent, nor reserved by orders under way, nor kept for closing scores and harvest."""
        kept = len(self._closing_bodies()) * self.plan.closing_score_steps + self.plan.harvest_steps
        return self.plan.total_steps - env_steps - self.contests.reserved_steps - kept

    def finished(self, env_steps: int) -> bool:
        """Whether all but the steps of the closing is used up and every order is back."""
        return not self.is_busy and self.steps_left(env_steps) <= self.plan.slack_steps

    def closing_orders(self, env_steps: int) -> list[EvaluationOrder]:
        """The next orders for the weights that training has ended with, when the last ones are back; none: it is over.

        First everybody is scored who may have a cell. Then litters try, and those of each that promise a gain compete.
        """
        if self.closing is not None:
            return self.closing.harvest(env_steps)
        return self.close(self.contests.closing_seeds()).begin_round(self._closing_bodies())

    def close(self, seeds: tuple[int, ...]) -> Closing:
        """Starts the closing, or goes on with one, whose scores are on these seeds."""
        self.closing = Closing(
            plan=self.plan,
            nursery=self.nursery,
            contests=self.contests,
            litter=self.litter,
            archive=self.archive,
            seeds=seeds,
        )
        return self.closing

    @property
    def closed(self) -> bool:
        """Whether nobody trains any more, and all but the children of the harvest have their last scores."""
        return self.closing is not None and bool(self.passing_children or not self.is_busy)

    @property
    def passing_children(self) -> set[int]:
        """Who only tries the policy, or competes in the harvest; no checkpoint keeps them."""
        return {*self.litter.children, *(self.closing.contenders if self.closing else ())}

    @property
    def is_busy(self) -> bool:
        """Whether orders are under way."""
        return bool(self.contests.flights)

    def _closing_bodies(self) -> list[int]:
        """Who is scored at the end: elites, who still waits for a contest, then the reserve, the last to lose first."""
        reserve = [
            number
            for number, elite in self.reserve.items()
            if not (self.archive.has_design(elite.design) or self.set_aside(elite.design))
        ]
        elites = (elite.id for elite in oldest_scores_first(self.archive))
        bodies = dict.fromkeys([*elites, *self.contests.waiting, *reversed(reserve)])  # an elite may wait, too
        return list(bodies)[: self.plan.most_closing_scores]

    def _orders(self, env_steps: int) -> Iterator[EvaluationOrder]:
        if self.warming_up:
            return
        yield from self._next_litter(env_steps)
        while found := self.contests.next_order(self.archive, self._guess_cell, self.steps_left(env_steps)):
            order, self.waits[found[0].order_id] = found
            yield order

    def _next_litter(self, env_steps: int) -> list[EvaluationOrder]:
        """Has children try the policy, if soon nobody is left to take a place that falls free.

        None where those chosen could not train any more, even if places were free for them at once, or while nobody is
        an elite.
        """
        plan, needed = self.plan, self.plan.litter_steps + self.plan.litter_newborns * self.plan.newborn_steps
        if self.litter.children or plan.litter_size < 2 or not len(self.archive):
            return []
        stock = set(self.nursery.training()) - self._placed()
        if len(stock) >= plan.litter_newborns or self.steps_left(env_steps) < needed:
            return []
        return self.litter.breed()

    def _placed(self) -> set[int]:
        """Newborns that have a place in a worker."""
        return {number for mix in self._mixes for number in mix.newborns}

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
            mix.rehearsing = sorted(sorted(shared, key=self._warmup_turns)[: self.plan.places])
            return
        placed = self._placed()
        mix.refresh(
            self.plan,
            training=self.nursery.training(),
            next_newborn=lambda: self.nursery.without_place(placed),
            elites=self._rehearsal_pool(),
            gone=lambda number: number not in self.archive and number not in self.nursery,
        )

    def _warmup_turns(self, number: int) -> int:
        """Shares of the warm-up that a body has had, so that bodies take turns rather than swap at every episode."""
        return self.nursery[number].steps // max(1, self.plan.warmup_steps // len(self.initial))

    def _rehearsal_pool(self) -> Iterator[int]:
        """Ids of those who may train again, in the order of their turns; the first bodies while there is no elite."""
        if len(self.archive):
            yield from (elite.id for elite in by_tournament(self.archive, self.nursery.config.tournament, self.rng))
        else:
            pool = [number for number in self.initial if number in self.nursery]
            yield from (pool[index] for index in self.rng.permutation(len(pool)))

    def _end_warmup(self) -> None:
        self.warming_up, self._changed = False, True
        for number in self.initial:
            if number in self.nursery:
                self.nursery[number].training = False
                self.contests.enter(number)
        log.info("warm-up done: %d bodies go into the archive's first contests", len(self.contests.waiting))

    # -- what happened ---------------------------------------------------------------------------------------------

    def episode_finished(self, number: int, steps: int, info: Mapping[str, float]) -> None:
        """A training episode of a body ended."""
        super().episode_finished(number, steps, info)
        if number not in self.nursery:
            return
        newborn = self.nursery[number]
        newborn.steps += steps
        newborn.recent.append({name: value for name, value in info.items() if math.isfinite(value)})
        self._changed |= self.warming_up
        if newborn.training and not self.warming_up and newborn.steps >= self.plan.newborn_steps:
            newborn.training, self._changed = False, True
            self.contests.enter(number)

    def body_failed(self, number: int, reason: str, worker: int | None = None, *, is_final: bool = False) -> None:
        """A body's simulation failed; `worker` (if it trained there) gets its bodies anew, without it if set aside."""
        if worker is not None:
            self._sent[worker] = None
        super().body_failed(number, reason, worker, is_final=is_final)

    def design_of(self, number: int) -> Any:
        """As in `Search`, or the design of a body of the reserve."""
        return self.reserve[number].design if number in self.reserve else super().design_of(number)

    def unwanted(self, design: Any) -> bool:
        """As in `Search`, or it has tried the last policy: an archive that only gets better will not want it either."""
        return super().unwanted(design) or (self.closing is not None and design.rules in self.closing.tried)

    def drop(self, number: int) -> None:
        """Takes a body out of everything."""
        super().drop(number)
        self.reserve.pop(number, None)
        self._changed = True
        if self.warming_up and number in self.initial:
            self.initial[self.initial.index(number)] = self.nursery.random_newborn()
        self.contests.forget(number)

    def evaluation_finished(
        self,
        order_id: int,
        policy_version: int,
        results: EpisodesByBody,
        failed: Mapping[int, str],
    ) -> Settlement:
        """Scores of an order are in: failures are recorded, the rest is settled; at the end a whole round at once."""
        order = self.contests.finish(order_id)
        waits = self.waits.pop(order_id, {})
        if order is None:
            return Settlement()
        if order.purpose == "screening":
            return self._screening_finished(results, failed)
        if order.purpose == "litter":
            return self._litter_finished(policy_version, results, failed)
        self._changed = True
        self.counters.evaluations += len(order.bodies)
        if self.closing is None:
            return self._contest_finished(policy_version, results, failed, waits)
        self.closing.record(results, failed)
        return Settlement() if self.is_busy else self._closing_round_finished(self.closing, policy_version)

    def _contest_finished(
        self,
        policy_version: int,
        results: EpisodesByBody,
        failed: Mapping[int, str],
        waits: Mapping[int, Wait],
    ) -> Settlement:
        """An order decides who has a cell; who met an incumbent that was not in it waits for the next one."""
        scores, failed = self._contest_scores(policy_version, results, failed, waits)
        settlement = self._settle(scores, failed, self._challengers(scores), known={})
        for number, opponent in sorted(settlement.blocked.items()):
            if not self.contests.again(number, opponent, waits.get(number, Wait())):
                self.counters.gave_up += 1
                self.nursery.pop(number)
        return settlement

    def _closing_round_finished(self, closing: Closing, policy_version: int) -> Settlement:
        """All orders of a round decide together; children of the harvest that fail or are blocked have no other try."""
        scores, failed = self._contest_scores(policy_version, closing.results, closing.failed, {})
        closing.tried |= {self.design_of(number).rules for number in scores}
        closing.log_elites_alone(scores)
        challengers = self._challengers(scores)
        challengers += [self.reserve[n].rescored(score) for n, score in scores.items() if n in self.reserve]
        settlement = self._settle(
            scores, failed, challengers, closing.scores_of_incumbents(challengers, policy_version)
        )
        for number in closing.contenders:
            self.nursery.pop(number)
            self.contests.forget(number)
        closing.contenders = []
        return settlement

    def _contest_scores(
        self,
        policy_version: int,
        results: EpisodesByBody,
        failed: Mapping[int, str],
        waits: Mapping[int, Wait],
    ) -> tuple[dict[int, Score], dict[int, str]]:
        """Scores and failures by id; a newborn that failed waits for another try."""
        scores, reasons = self.scores_of(policy_version, results, dict(failed))
        self.counters.failed_evaluations += len(reasons)
        for number, reason in sorted(reasons.items()):
            self.body_failed(number, f"evaluation: {reason}")
            if number in self.nursery:
                self.contests.waiting[number] = waits.get(number, Wait())
        return scores, reasons

    def _challengers(self, scores: Mapping[int, Score]) -> list[Elite]:
        """Those among the scored that have not had a cell yet."""
        return [self.elite_of(number, score) for number, score in scores.items() if number in self.nursery]

    def _settle(
        self,
        scores: Mapping[int, Score],
        failed: Mapping[int, str],
        challengers: Sequence[Elite],
        known: Mapping[int, Score],
    ) -> Settlement:
        """Scores of one policy version decide who has a cell; elites may have had theirs in an earlier round."""
        rescored = {**known, **{n: score for n, score in scores.items() if n in self.archive}}
        settlement = settle(self.archive, challengers, rescored)
        settlement.scores, settlement.failed = scores, failed
        self.reserve.keep(settlement.homeless)
        for number, result in settlement.results.items():
            if number in self.nursery and result.status in ("new", "improved"):
                self.counters.entered += 1
            self.nursery.pop(number)
            self.contests.forget(number)
            if number in self.archive:
                self.reserve.pop(number, None)
        return settlement

    def _screening_finished(self, results: EpisodesByBody, failed: Mapping[int, str]) -> Settlement:
        """Notes how fast bodies can move; one that fails is out. Nothing is settled."""
        for number, episodes in results.items():
            if self.screening.record(number, episodes):
                self._failures_in_a_row = 0
        for number, reason in sorted(failed.items()):
            self.body_failed(number, f"screening: {reason}")
        if not self.contests.under_way("screening"):
            self.screening.log_progress()
        return Settlement()

    def _litter_finished(self, policy_version: int, results: EpisodesByBody, failed: Mapping[int, str]) -> Settlement:
        """Once all have tried, some are chosen. Nothing is settled: only a contest decides who has a cell."""
        scores, reasons = self.scores_of(policy_version, results, dict(failed))
        for number, reason in sorted(reasons.items()):
            self.body_failed(number, f"litter: {reason}")
        if self.litter.record(scores):
            if self.closing is None:
                self._choose_newborns()
            else:
                self.closing.choose_contenders()
        return Settlement()

    def _choose_newborns(self) -> None:
        """Of a litter, those that would add most to the archive train, the next best compete untrained."""
        gains = self.litter.gains()
        ranked, size = list(gains), self.plan.litter_newborns
        room = max(0, self.plan.most_bodies - len(self.contests.waiting))  # nobody is to wait longer because of them
        contenders = [n for n in ranked[size:] if gains[n] >= LEAST_GAIN][: min(self.plan.litter_contenders, room)]
        self.litter.choose(ranked[:size], contenders)
        for number in contenders:
            self.contests.enter(number)
        total = math.fsum(gains[number] for number in ranked[:size])
        words = "litter: %d tried, %d chosen, who would add %.3f m/s, %d others compete untrained"
        log.info(words, len(gains), len(ranked[:size]), total, len(contenders))

    def _guess_cell(self, number: int) -> Cell | None:
        if number not in self.nursery or not self.nursery[number].recent:
            return None
        newborn = self.nursery[number]
        try:
            return self.archive.cell_of({**mean_by_name(newborn.recent), **self.world.describe(newborn.design)})
        except ArchiveError:
            return None
