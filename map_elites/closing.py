"""The end of a run: the last scores of all who may have a cell, then the harvest, in which litters try the last policy.

Nobody trains any more, so that scores under the same seeds can be compared whenever they were made.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from map_elites.archive import Archive, Cell, Elite, Score
from map_elites.contests import Contests, EvaluationOrder
from map_elites.evaluation import EpisodesByBody
from map_elites.litter import LEAST_GAIN, Litter
from map_elites.nursery import Nursery
from map_elites.schedule import Plan

log = logging.getLogger(__name__)

BY_LOT = 1  # a tournament of one: in the harvest any elite may be a parent, for nobody has to learn from the fastest


class Closing:
    """What is scored at the end, in rounds that are settled when all of their orders are back.

    Args:
        plan: Steps that there are for it.
        nursery: Has the children of the harvest.
        contests: Makes the orders.
        litter: The children that try.
        archive: The elites.
        seeds: Episode seeds behind every score.

    Attributes:
        seeds: Episode seeds behind every score.
        contenders: Children of the harvest that promise a gain, the most promising first.
        results: Episodes of the round, by body.
        failed: Reasons, by body that could not be scored in the round.
        tried: Rules of designs that have tried the last policy, and would do no better a second time.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        nursery: Nursery,
        contests: Contests,
        litter: Litter,
        archive: Archive,
        seeds: tuple[int, ...],
    ) -> None:
        self._plan, self._nursery, self._contests = plan, nursery, contests
        self._litter, self._archive = litter, archive
        self.seeds = seeds
        self.contenders: list[int] = []
        self.results: dict[int, Sequence[Mapping[str, float]]] = {}
        self.failed: dict[int, str] = {}
        self.tried: set[tuple[int, ...]] = set()

    def begin_round(self, bodies: Sequence[int]) -> list[EvaluationOrder]:
        """Has bodies scored; the last round is forgotten."""
        self.results, self.failed = {}, {}
        return self._contests.closing_orders(bodies, self.seeds)

    def harvest(self, env_steps: int) -> list[EvaluationOrder]:
        """Has the contenders compete, as many as the steps allow, or another litter try; no orders: it is over."""
        plan, steps_left = self._plan, self._plan.total_steps - env_steps
        affordable = max(0, steps_left) // plan.closing_score_steps
        for number in self.contenders[affordable:]:
            self._nursery.pop(number)
        self.contenders = self.contenders[:affordable]
        if self.contenders:
            return self.begin_round(self.contenders)
        if not (plan.harvest_steps and len(self._archive)) or steps_left < plan.litter_steps + plan.closing_score_steps:
            return []
        return self._litter.breed(BY_LOT)

    def choose_contenders(self) -> None:
        """Ends a litter: all who promise a gain compete, nobody trains."""
        gains = self._litter.gains()
        self.tried |= {self._nursery[number].design.rules for number in gains}
        self.contenders = [number for number, gain in gains.items() if gain >= LEAST_GAIN]
        self._litter.choose([], self.contenders)
        total = math.fsum(gains[number] for number in self.contenders)
        log.info("harvest: %d tried, %d compete, who would add %.3f m/s", len(gains), len(self.contenders), total)

    def record(self, results: EpisodesByBody, failed: Mapping[int, str]) -> None:
        """Notes what came of an order of a round."""
        self.results |= results
        self.failed |= failed

    def scores_of_incumbents(self, challengers: Sequence[Elite], policy_version: int) -> dict[int, Score]:
        """Scores that incumbents have had under the same weights and seeds as their challengers, by id."""
        incumbents = [self._archive.at(self._archive.cell_of(elite.score.descriptors)) for elite in challengers]
        return {elite.id: elite.score for elite in incumbents if elite and self._is_last(elite.score, policy_version)}

    def _is_last(self, score: Score, policy_version: int) -> bool:
        """Whether a score is of this closing: an elite that failed in it still has that of a shorter contest."""
        return score.policy_version == policy_version and score.episodes == len(self.seeds)

    def log_elites_alone(self, scores: Mapping[int, Score]) -> None:
        """Says what the archive would be without all others; nothing in the harvest, where no elite is scored."""
        elites = [score for number, score in scores.items() if number in self._archive]
        if not elites:
            return
        cells: dict[Cell, float] = {}
        for score in elites:
            cell = self._archive.cell_of(score.descriptors)
            cells[cell] = max(score.fitness, cells.get(cell, -math.inf))
        log.info(
            "closing: %d bodies scored, %d of them elites, which alone would fill %d cells with a QD score of %.3f m/s",
            *(len(scores), len(elites), len(cells), math.fsum(cells.values())),
        )
