"""Which samples are kept: a quality filter on fields, and no near-duplicates."""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from tools.rounds.errors import ResultError, RoundsError

OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Filter:
    """A condition such as energies.penetration<=0.01; NaN never meets it."""

    field: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Reads a condition.

        Raises:
            RoundsError: it is not FIELD<=NUMBER (or >=, <, >).
        """
        parts = re.fullmatch(r"\s*([\w.]+)\s*(<=|>=|<|>)\s*(\S+)\s*", text)
        try:
            if parts:
                return cls(parts[1], parts[2], float(parts[3]))
        except ValueError:
            pass
        raise RoundsError(f"a filter must look like energies.penetration<=0.01, got {text!r}")

    def keep(self, fields: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns a (num_samples,) mask; every entry of a sample has to meet the condition.

        Raises:
            ResultError: the field is not there, or holds no numbers.
        """
        if self.field not in fields:
            raise ResultError(f"the filter needs the field {self.field}; there are: {', '.join(sorted(fields))}")
        values = fields[self.field]
        if values.dtype.kind not in "biuf":
            raise ResultError(f"the filter needs numbers in {self.field}, got {values.dtype}")
        met = OPERATORS[self.sign](values, self.limit)
        return met.all(axis=tuple(range(1, met.ndim)))


class Distinct:
    """Remembers points; says which new ones are farther than `min_distance` from all before them.

    Points sit in search trees of doubling size, so that n points cost O(n log^2 n) in all.
    """

    def __init__(self, min_distance: float):
        """Starts without points."""
        self._min_distance = min_distance
        self._trees: list[KDTree] = []

    def keep(self, points: np.ndarray) -> np.ndarray:
        """Returns a (num_points,) mask of points to keep; of two close ones the earlier stays. Adds nothing.

        Args:
            points: (num_points, ...) numbers.

        Raises:
            ResultError: something is not finite.
        """
        flat = _flat(points)
        fresh = np.ones(len(flat), dtype=bool)
        for tree in self._trees:
            distance, _ = tree.query(flat, distance_upper_bound=np.nextafter(self._min_distance, np.inf))
            fresh &= ~np.isfinite(distance)
        return fresh & self._first_of_close(flat, fresh)

    def _first_of_close(self, flat: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        kept = fresh.copy()
        pairs = KDTree(flat).query_pairs(self._min_distance, output_type="ndarray")
        for first, second in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
            if kept[first]:
                kept[second] = False
        return kept

    def add(self, points: np.ndarray) -> None:
        """Remembers points."""
        data = _flat(points)
        if not len(data):
            return
        while self._trees and self._trees[-1].n <= 2 * len(data):
            data = np.concatenate([self._trees.pop().data, data])
        self._trees.append(KDTree(data))


def _flat(points: np.ndarray) -> np.ndarray:
    flat = np.asarray(points, dtype=np.float64).reshape(len(points), math.prod(points.shape[1:]))
    if not np.isfinite(flat).all():
        raise ResultError("samples holds NaN or infinite numbers, no distance can be measured")
    return flat
