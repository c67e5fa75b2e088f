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
from map_elites.contests import Contests, EvaluationOrder, Wait, oldest_scores_first
from map_elites.descriptors import mean_by_name
from map_elites.evaluation import FITNESS, Settlement, settle
from map_elites.schedule import TrainingMix
from map_elites.search import Search
from map_elites.selection import by_tournament

log = logging.getLogger(__name__)

PARENTS_IN_A_LINE = 4  # the fastest of a line so far, in the screening
MOST_RESERVES = 256  # a checkpoint holds a kilobyte of each
LEAST_GAIN = 0.02  # m/s that a child of a litter has to promise to compete untrained


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
        screened: Best speed, m/s, of the bodies that have tried random gaits, by id.
        tried: How many bodies were given random gaits to try.
        warming_up: The first population is being found, or trains; nobody is scored yet.
        warmup_end: Control steps of the run at which that ends.
        initial: Ids of the first population; empty until it is found.
        litter: Children that try the policy, of whom some will be newborns.
        closing: Nobody trains any more; elites, who still waits and the reserve are scored for the last time, then come
            litters of the harvest.
        closing_seeds: Seeds of all scores of that.
        contenders: Children of the harvest that promise a gain, the most promising first.
        reserve: Bodies that lost a contest, by id, the last one at the end. While the policy learns,
            elites come to move otherwise, and leave cells that one of these may fill under the last weights.
    """

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.contests = Contests(self.plan, self.evaluation, self.run_seed)
        self.waits: dict[int, dict[int, Wait]] = {}
        self.screened: dict[int, float] = {}
        self.tried = 0
        self.warmup_end = self.plan.screening_steps + self.plan.warmup_steps
        self.warming_up = True
        self.initial: list[int] = []
        self.litter: list[int] = []
        self._litter_scores: dict[int, Score] = {}
        self.closing = False
        self.closing_seeds: tuple[int, ...] = ()
        self.contenders: list[int] = []
        self.reserve: dict[int, Elite] = {}
        self._closing_results: dict[int, Sequence[Mapping[str, float]]] = {}
        self._closing_failures: dict[int, str] = {}
        self._mixes = [TrainingMix() for _ in range(self.plan.workers)]
        self._sent: list[tuple[int, ...] | None] = [() for _ in range(self.plan.workers)]
        self._changed = True  # something happened that may change who trains

    # -- what to do next -------------------------------------------------------------------------------------------

    def commands(self, env_steps: int) -> Sequence[TrainCommand | EvaluationOrder]:
        """What the workers should do now.

        Args:
            env_steps: Control steps so far, training and evaluation.
        """
        self.closing = False  # a finished run may go on with more steps
        if self.contests.under_way("screening"):
            return []
        if self.warming_up and not self.initial:
            if self.tried < self.plan.num_screened:
                return self._screen()
            self._start_warmup(env_steps)
        if self.warming_up and env_steps >= self.warmup_end:
            self._end_warmup()
        resting = self.steps_left(env_steps) <= self.plan.slack_steps
        return [*self._train_commands(resting), *self._orders(env_steps)]

    def _screen(self) -> list[EvaluationOrder]:
        """A round of the screening: random bodies try random gaits, after the first round children of the fastest."""
        size = self.plan.screening_round(self.tried)
        self.tried += size
        parents = [line[:PARENTS_IN_A_LINE] for line in self._fastest_lines()]
        return self.contests.screening_orders(
            [self.nursery.child_of(parents[turn % len(parents)] if parents else ()) for turn in range(size)]
        )

    def _fastest_lines(self) -> list[list[int]]:
        """Screened bodies by their line of descent, fastest first; only the `num_founders` fastest lines."""
        lines: dict[int, list[int]] = {}
        for number in sorted(self.screened, key=self._slowness):
            lines.setdefault(self._founder_of(number), []).append(number)
        return list(lines.values())[: self.nursery.config.num_founders]

    def _slowness(self, number: int) -> tuple[float, int]:
        """Sorts screened bodies, fastest first; of equal ones the older is first."""
        return -self.screened[number], number

    def _founder_of(self, number: int) -> int:
        """The random body that a body of the screening descends from."""
        while parents := self.nursery[number].parent_ids:
            number = parents[0]
        return number

    def _start_warmup(self, env_steps: int) -> None:
        """The first population: as many of each of the fastest lines, or descendants of theirs if they are too few."""
        self.warmup_end = env_steps + self.plan.warmup_steps  # a screening that was cut short has been made again
        lines = self._fastest_lines()
        for line in lines:
            speed, design = self.screened[line[0]], self.design_of(line[0])
            log.info("fastest of a line: %.3f m/s with a random gait; %s", speed, design)
        share = max(1, self.plan.num_initial // max(1, len(lines)))
        spare = sorted((number for line in lines for number in line[share:]), key=self._slowness)
        fastest = [*(number for line in lines for number in line[:share]), *spare][: self.plan.num_initial]
        self.nursery.keep(fastest)
        self.initial = self.nursery.family(fastest, self.plan.num_initial)

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
        if not self.closing:
            self.closing, self.closing_seeds = True, self.contests.closing_seeds()
            return self._last_scores(self._closing_bodies())
        affordable = max(0, self.plan.total_steps - env_steps) // self.plan.closing_score_steps
        for number in self.contenders[affordable:]:
            self.nursery.pop(number)
        self.contenders = self.contenders[:affordable]
        return self._last_scores(self.contenders) if self.contenders else self._harvest(env_steps)

    def _last_scores(self, bodies: Sequence[int]) -> list[EvaluationOrder]:
        """Orders whose scores count once all of them are in."""
        self._closing_results, self._closing_failures = {}, {}
        return self.contests.closing_orders(bodies, self.closing_seeds)

    def _harvest(self, env_steps: int) -> list[EvaluationOrder]:
        """Has another litter try, if the steps suffice for it and for a contest."""
        plan = self.plan
        needed = plan.litter_steps + plan.closing_score_steps
        if not (plan.harvest_steps and self.closing_seeds and len(self.archive)):
            return []
        return [] if env_steps + needed > plan.total_steps else self._litter_orders()

    @property
    def closed(self) -> bool:
        """Whether nobody trains any more, and all but the children of the harvest have their last scores."""
        return self.closing and bool(self.litter or self.contenders or not self.is_busy)

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
        if self.litter or plan.litter_size < 2 or not len(self.archive):
            return []
        stock = set(self.nursery.training()) - self._placed()
        if len(stock) >= plan.litter_newborns or self.steps_left(env_steps) < needed:
            return []
        return self._litter_orders()

    def _litter_orders(self) -> list[EvaluationOrder]:
        self.litter = self.nursery.litter(self.plan.litter_size * self.plan.litter_newborns)
        return self.contests.litter_orders(self.litter)

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
        results: Mapping[int, Sequence[Mapping[str, float]]],
        failed: Mapping[int, str],
    ) -> Settlement:
        """Scores of an order are in: failures are recorded, the rest is settled; at the end all orders at once."""
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
        if self.closing:
            results = self._closing_results = {**self._closing_results, **results}
            failed = self._closing_failures = {**self._closing_failures, **failed}
            if self.contests.flights:
                return Settlement()
        return self._settle(policy_version, results, dict(failed), waits)

    def _settle(
        self,
        policy_version: int,
        results: Mapping[int, Sequence[Mapping[str, float]]],
        failed: dict[int, str],
        waits: Mapping[int, Wait],
    ) -> Settlement:
        """Scores of one policy version decide who has a cell."""
        scores, failed = self.scores_of(policy_version, results, failed)
        self.counters.failed_evaluations += len(failed)
        for number, reason in sorted(failed.items()):
            self._evaluation_failed(number, reason, waits.get(number))
        if self.closing:
            self._log_elites_alone(scores)
        challengers = [*self._challengers(scores)]
        rescored = {n: score for n, score in scores.items() if n in self.archive}
        if self.closing:
            self.contenders = []
            rescored = self._last_scores_of_incumbents(challengers, policy_version) | rescored
        settlement = settle(self.archive, challengers, rescored)
        self._keep_in_reserve(settlement.homeless)
        for number, result in settlement.results.items():
            if number in self.nursery and result.status in ("new", "improved"):
                self.counters.entered += 1
            self.nursery.pop(number)
            self.contests.forget(number)
            if number in self.archive:
                self.reserve.pop(number, None)
        blocked = {} if self.closing else settlement.blocked  # there is no later order for them
        for number, opponent in sorted(blocked.items()):
            if not self.contests.again(number, opponent, waits.get(number, Wait())):
                self.counters.gave_up += 1
                self.nursery.pop(number)
        settlement.scores, settlement.failed = scores, failed
        return settlement

    def _challengers(self, scores: Mapping[int, Score]) -> Iterator[Elite]:
        """Those among the scored that have no cell yet, or at the end no longer."""
        for number, score in scores.items():
            if number in self.nursery:
                yield self.elite_of(number, score)
            elif self.closing and number in self.reserve:
                yield self.reserve[number].rescored(score)

    def _last_scores_of_incumbents(self, challengers: Sequence[Elite], policy_version: int) -> dict[int, Score]:
        """Scores that incumbents have under the same weights and seeds as their challengers."""
        incumbents = [self.archive.at(self.archive.cell_of(elite.score.descriptors)) for elite in challengers]
        return {elite.id: elite.score for elite in incumbents if elite and elite.score.policy_version == policy_version}

    def _log_elites_alone(self, scores: Mapping[int, Score]) -> None:
        """Says what the archive would be without the reserve; nothing in the harvest, where no elite is scored."""
        elites = [score for number, score in scores.items() if number in self.archive]
        if not elites:
            return
        cells: dict[Cell, float] = {}
        for score in elites:
            cell = self.archive.cell_of(score.descriptors)
            cells[cell] = max(score.fitness, cells.get(cell, -math.inf))
        log.info(
            "closing: %d bodies scored, %d of them elites, which alone would fill %d cells with a QD score of %.3f m/s",
            *(len(scores), len(elites), len(cells), math.fsum(cells.values())),
        )

    def _keep_in_reserve(self, elites: Sequence[Elite]) -> None:
        """Remembers the last bodies that lost, or did not win, a cell; of a design that was bred again the last one."""
        for elite in elites:
            rules = elite.design.rules
            self.reserve = {number: other for number, other in self.reserve.items() if other.design.rules != rules}
            self.reserve[elite.id] = elite
        for number in list(self.reserve)[:-MOST_RESERVES]:
            del self.reserve[number]

    def _screening_finished(
        self, results: Mapping[int, Sequence[Mapping[str, float]]], failed: Mapping[int, str]
    ) -> Settlement:
        """Notes how fast bodies can move; one that fails is out. Nothing is settled."""
        for number, episodes in results.items():
            speeds = [row[FITNESS] for row in episodes if math.isfinite(row.get(FITNESS, math.nan))]
            if number in self.nursery and speeds:
                self.screened[number] = max(speeds)
                self._failures_in_a_row = 0
        for number, reason in sorted(failed.items()):
            self.body_failed(number, f"screening: {reason}")
        if not self.contests.under_way("screening"):
            fastest = max(self.screened.values(), default=math.nan)
            log.info("screening: %d of %d bodies, fastest %.3f m/s", self.tried, self.plan.num_screened, fastest)
        return Settlement()

    def _litter_finished(
        self, policy_version: int, results: Mapping[int, Sequence[Mapping[str, float]]], failed: Mapping[int, str]
    ) -> Settlement:
        """Once all have tried, those that would add most to the archive train, the next best compete untrained.

        In the harvest nobody trains, and all who promise a gain compete.

        Nothing is settled: only a contest decides who has a cell.
        """
        scores, failures = self.scores_of(policy_version, results, dict(failed))
        self._litter_scores |= scores
        for number, reason in sorted(failures.items()):
            self.body_failed(number, f"litter: {reason}")
        if not self.contests.under_way("litter"):
            gains = {n: self.archive.gain(score) for n, score in self._litter_scores.items() if n in self.nursery}
            ranked = sorted(gains, key=lambda n: (-gains[n], n))
            if self.closing:
                self._choose_contenders(ranked, gains)
            else:
                self._choose_newborns(ranked, gains)
            self.litter, self._litter_scores = [], {}
        return Settlement()

    def _choose_contenders(self, ranked: Sequence[int], gains: Mapping[int, float]) -> None:
        """Ends a litter of the harvest."""
        self.contenders = [n for n in ranked if gains[n] >= LEAST_GAIN]
        self.nursery.choose(self.litter, [], self.contenders)
        total = math.fsum(gains[number] for number in self.contenders)
        log.info("harvest: %d tried, %d compete, who would add %.3f m/s", len(gains), len(self.contenders), total)

    def _choose_newborns(self, ranked: Sequence[int], gains: Mapping[int, float]) -> None:
        """Ends a litter of which some train."""
        chosen, others = ranked[: self.plan.litter_newborns], ranked[self.plan.litter_newborns :]
        room = max(0, self.plan.most_bodies - len(self.contests.waiting))  # nobody is to wait longer because of them
        contenders = [n for n in others if gains[n] >= LEAST_GAIN][: min(self.plan.litter_contenders, room)]
        self.nursery.choose(self.litter, chosen, contenders)
        for number in contenders:
            self.nursery[number].recent.append(self._litter_scores[number].descriptors)
            self.contests.enter(number)
        total = math.fsum(gains[number] for number in chosen)
        words = "litter: %d tried, %d chosen, who would add %.3f m/s, %d others compete untrained"
        log.info(words, len(gains), len(chosen), total, len(contenders))

    def _evaluation_failed(self, number: int, reason: str, wait: Wait | None) -> None:
        self.body_failed(number, f"evaluation: {reason}")
        if number in self.nursery:
            self.contests.waiting[number] = wait or Wait()

    def _guess_cell(self, number: int) -> Cell | None:
        if number not in self.nursery or not self.nursery[number].recent:
            return None
        newborn = self.nursery[number]
        try:
            return self.archive.cell_of({**mean_by_name(newborn.recent), **self.world.describe(newborn.design)})
        except ArchiveError:
            return None
