"""The screening: random bodies try random gaits, then children of the fastest; the fastest of all begin the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from map_elites.evaluation import FITNESS
from map_elites.nursery import Nursery
from map_elites.schedule import Plan

log = logging.getLogger(__name__)

PARENTS_IN_A_LINE = 4  # the fastest of a line so far


class Screening:
    """Finds bodies that can move.

    Args:
        plan: Number of bodies, and how many of them go on.
        nursery: Makes the bodies and keeps them.

    Attributes:
        tried: How many bodies were given random gaits to try.
        speeds: Best speed, m/s, of those that have tried them, by id.
    """

    def __init__(self, plan: Plan, nursery: Nursery) -> None:
        self._plan, self._nursery = plan, nursery
        self.tried = 0
        self.speeds: dict[int, float] = {}

    @property
    def all_given(self) -> bool:
        """Whether all bodies were given gaits."""
        return self.tried >= self._plan.num_screened

    def next_round(self) -> list[int]:
        """Ids of those that try next: at first random bodies, then children of the fastest."""
        size = self._plan.screening_round(self.tried)
        self.tried += size
        parents = [line[:PARENTS_IN_A_LINE] for line in self._fastest_lines()]
        return [self._nursery.child_of(parents[turn % len(parents)] if parents else ()) for turn in range(size)]

    def record(self, number: int, episodes: Sequence[Mapping[str, float]]) -> bool:
        """Notes how fast a body can move; False where no episode says so, or the body is gone."""
        speeds = [row[FITNESS] for row in episodes if math.isfinite(row.get(FITNESS, math.nan))]
        if number not in self._nursery or not speeds:
            return False
        self.speeds[number] = max(speeds)
        return True

    def log_progress(self) -> None:
        """Says how many have tried, and how fast the fastest was."""
        fastest = max(self.speeds.values(), default=math.nan)
        log.info("screening: %d of %d bodies, fastest %.3f m/s", self.tried, self._plan.num_screened, fastest)

    def first_population(self) -> list[int]:
        """As many of each of the fastest lines, or descendants if they are too few; all others are forgotten."""
        lines, size = self._fastest_lines(), self._plan.num_initial
        for line in lines:
            speed, design = self.speeds[line[0]], self._nursery[line[0]].design
            log.info("fastest of a line: %.3f m/s with a random gait; %s", speed, design)
        share = max(1, size // max(1, len(lines)))
        spare = sorted((number for line in lines for number in line[share:]), key=self._slowness)
        fastest = [*(number for line in lines for number in line[:share]), *spare][:size]
        self._nursery.keep(fastest)
        return self._nursery.family(fastest, size)

    def _fastest_lines(self) -> list[list[int]]:
        """Bodies by their line of descent, fastest first; only the `num_founders` fastest lines."""
        lines: dict[int, list[int]] = {}
        for number in sorted(self.speeds, key=self._slowness):
            lines.setdefault(self._founder_of(number), []).append(number)
        return list(lines.values())[: self._nursery.config.num_founders]

    def _slowness(self, number: int) -> tuple[float, int]:
        """Sorts bodies, fastest first; of equal ones the older is first."""
        return -self.speeds[number], number

    def _founder_of(self, number: int) -> int:
        """The random body that a body descends from."""
        while parents := self._nursery[number].parent_ids:
            number = parents[0]
        return number
