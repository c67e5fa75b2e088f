"""Who is chosen among the elites: to train again, and to be a parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from map_elites.archive import Elite


def by_tournament(elites: Iterable[Elite], size: int, rng: np.random.Generator) -> Iterator[Elite]:
    """Yields every elite once; each is the fittest of `size` drawn, with replacement, from those that are left.

    With size 1 the order is uniform; larger sizes bring faster robots forward (tournament selection, Goldberg and Deb
    1991). Of equal ones the older wins.
    """
    left = list(elites)
    while left:
        drawn = {int(index) for index in rng.integers(len(left), size=size)}
        yield left.pop(max(drawn, key=lambda index: (left[index].fitness, -left[index].id)))
