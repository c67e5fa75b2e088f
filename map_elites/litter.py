"""The litter: children that try the policy for an episode, of whom the most promising are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from map_elites.archive import Archive, Score
from map_elites.contests import Contests, EvaluationOrder
from map_elites.nursery import Nursery
from map_elites.schedule import Plan

LEAST_GAIN = 0.02  # m/s that a child has to promise to compete without training


class Litter:
    """One litter at a time.

    Args:
        plan: Its size.
        nursery: Makes the children.
        contests: Has them try.
        archive: Says what a child would add.

    Attributes:
        children: Ids; none: there is no litter.
    """

    def __init__(self, plan: Plan, nursery: Nursery, contests: Contests, archive: Archive) -> None:
        self._plan, self._nursery, self._contests, self._archive = plan, nursery, contests, archive
        self.children: list[int] = []
        self._scores: dict[int, Score] = {}

    def breed(self, tournament: int | None = None) -> list[EvaluationOrder]:
        """Makes the children, of parents found as in `Nursery.breed`, and orders that let them try."""
        self.children = self._nursery.litter(self._plan.litter_size * self._plan.litter_newborns, tournament)
        return self._contests.litter_orders(self.children)

    def record(self, scores: Mapping[int, Score]) -> bool:
        """Notes what came of an order; whether all have tried."""
        self._scores |= scores
        return not self._contests.under_way("litter")

    def gains(self) -> dict[int, float]:
        """Speed, m/s, that each child which could be scored would add to the archive, the most first."""
        gains = {n: self._archive.gain(score) for n, score in self._scores.items() if n in self._nursery}
        return dict(sorted(gains.items(), key=lambda item: (-item[1], item[0])))

    def choose(self, newborns: Sequence[int], contenders: Sequence[int]) -> None:
        """Ends the litter: newborns train, contenders compete as they are, the others are forgotten."""
        self._nursery.choose(self.children, newborns, contenders)
        for number in contenders:
            self._nursery[number].recent.append(self._scores[number].descriptors)
        self.children, self._scores = [], {}
