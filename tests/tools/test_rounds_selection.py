"""Quality filter and near-duplicates against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.rounds.errors import ResultError, RoundsError
from tools.rounds.selection import Distinct, Filter


def test_filter_keeps_what_meets_it_in_every_entry():
    fields = {"energies.total": np.array([0.1, 0.2, np.nan]), "samples": np.array([[1, 2], [3, 0], [5, 6]])}
    assert Filter.parse("energies.total<=0.1").keep(fields).tolist() == [True, False, False]
    assert Filter.parse(" samples > 0 ").keep(fields).tolist() == [True, False, True]


@pytest.mark.parametrize("text", ["total", "total=1", "total<=x", "<=1", ""])
def test_filter_that_is_none_is_told(text):
    with pytest.raises(RoundsError, match="must look like"):
        Filter.parse(text)


def test_filter_on_a_missing_field_fails_the_round():
    with pytest.raises(ResultError, match=r"needs the field energies\.total; there are: samples"):
        Filter.parse("energies.total<1").keep({"samples": np.zeros(1)})


def plain_loop(points: np.ndarray, limit: float) -> list[bool]:
    kept: list[np.ndarray] = []
    keep = []
    for point in points:
        keep.append(all(np.linalg.norm(point - other) > limit for other in kept))
        if keep[-1]:
            kept.append(point)
    return keep


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_distinct_keeps_what_a_plain_loop_keeps(seed, batches):
    points = np.random.default_rng(seed).random((sum(batches), 2))
    distinct, keep = Distinct(0.15), []
    for batch in np.split(points, np.cumsum(batches)[:-1]):
        mask = distinct.keep(batch)
        distinct.add(batch[mask])
        keep += mask.tolist()
    assert keep == plain_loop(points, 0.15)


def test_distinct_wants_finite_numbers():
    with pytest.raises(ResultError, match="NaN"):
        Distinct(0.1).keep(np.array([[np.nan]]))
