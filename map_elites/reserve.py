"""The reserve: bodies that lost a contest, one of which may fill a cell that the elites leave."""

from __future__ import annotations

from collections.abc import Iterable

from map_elites.archive import Elite

MOST_RESERVES = 256  # a checkpoint holds a kilobyte of each


class Reserve(dict[int, Elite]):
    """The last bodies that lost, or did not win, a cell, by id, the last one at the end.

    While the policy learns, elites come to move otherwise, and leave cells that one of these may fill under the last
    weights.
    """

    def keep(self, elites: Iterable[Elite]) -> None:
        """Takes bodies in; of a design that was bred again only the last one stays."""
        for elite in elites:
            for number in [n for n, other in self.items() if other.design.rules == elite.design.rules]:
                del self[number]
            self[elite.id] = elite
        for number in list(self)[:-MOST_RESERVES]:
            del self[number]
