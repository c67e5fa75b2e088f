"""Fields of one object's merged rows: what a row of each is, and which rows no round gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tools.rounds.errors import ResultError

Gaps = dict[str, list[tuple[int, int]]]


@dataclass
class Layout:
    """Fields of an object, and which rows of them no round gave.

    Attributes:
        dtypes: what one row of a field is, as a dtype with the row's shape.
        gaps: half-open ranges of rows that are filled (NaN, or zero where there is no NaN).
        count: rows.
    """

    dtypes: dict[str, np.dtype] = field(default_factory=dict)
    gaps: Gaps = field(default_factory=dict)
    count: int = 0

    def check(self, fields: Mapping[str, np.ndarray]) -> None:
        """Checks a round against the rounds before it.

        Raises:
            ResultError: a field has another shape or dtype.
        """
        for name, array in fields.items():
            wanted, got = self.dtypes.get(name), row_dtype(array)
            if wanted is not None and wanted != got and not _is_shorter_text(got, wanted):
                raise ResultError(f"{name} has rows of {describe(got)}, the rounds before had {describe(wanted)}")

    def add(self, new: Mapping[str, np.dtype], missing: Sequence[str], num_rows: int) -> None:
        """Counts a round's rows in."""
        for name, dtype in new.items():
            self.dtypes[name] = dtype
            self._add_gap(name, 0, self.count)
        for name in missing:
            self._add_gap(name, self.count, self.count + num_rows)
        self.count += num_rows

    def _add_gap(self, name: str, start: int, stop: int) -> None:
        ranges = self.gaps.setdefault(name, [])
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        if start < stop:
            ranges.append((start, stop))
        if not ranges:
            del self.gaps[name]


def row_dtype(array: np.ndarray) -> np.dtype:
    """Returns what one row of an array is, in little-endian order."""
    return np.dtype((array.dtype.newbyteorder("<"), array.shape[1:]))


def describe(dtype: np.dtype) -> str:
    """Returns a row's dtype in words, as in <f8 (22,)."""
    return f"{dtype.base.str} {dtype.shape}" if dtype.shape else dtype.base.str


def dtype_to_json(dtype: np.dtype) -> list[Any]:
    """Returns a row's dtype as plain values."""
    return [dtype.base.str, list(dtype.shape)]


def dtype_from_json(value: Sequence[Any]) -> np.dtype:
    """Returns the dtype that `dtype_to_json` was given."""
    return np.dtype((value[0], tuple(value[1])))


def _is_shorter_text(got: np.dtype, wanted: np.dtype) -> bool:
    same = got.shape == wanted.shape and got.base.kind == wanted.base.kind
    return same and got.base.kind in "US" and got.base.itemsize <= wanted.base.itemsize
