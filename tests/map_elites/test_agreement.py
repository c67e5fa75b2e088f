"""Recorded against fresh speeds: rank correlation, and who walks in both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from map_elites.agreement import agreement, rank_correlation
from map_elites.cli import print_evaluation

SPEEDS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=20)


def row(number: int, recorded: float | None, speed: float | None) -> dict:
    return {"id": number, "recorded_speed": recorded, "speed": speed}


def test_rank_correlation_asks_for_the_order_alone():
    assert rank_correlation([0.1, 0.2, 0.4], [1.0, 9.0, 10.0]) == pytest.approx(1.0)
    assert rank_correlation([0.1, 0.2, 0.4], [3.0, 2.0, -1.0]) == pytest.approx(-1.0)


@settings(deadline=None)
@given(SPEEDS)
def test_rank_correlation_is_scipys(pairs):
    first, second = zip(*pairs, strict=True)
    found = rank_correlation(first, second)
    if found is None:
        assert len(set(first)) == 1 or len(set(second)) == 1
    else:
        np.testing.assert_allclose(found, stats.spearmanr(first, second).statistic, atol=1e-12)


def test_too_few_elites_have_no_correlation():
    assert rank_correlation([0.1, 0.2], [0.3, 0.4]) is None and rank_correlation([0.1] * 3, [1, 2, 3]) is None


def test_who_walks_where_is_told_by_id_and_failures_are_left_out():
    found = agreement([row(1, 0.3, 0.2), row(2, 0.3, 0.01), row(3, 0.0, 0.4), row(4, 0.0, 0.0), row(5, 0.3, None)])
    assert found["compared"] == 4
    assert (found["walking_in_both"], found["walking_before"], found["walking_now"]) == ([1], [2], [3])
    assert agreement([])["rank_correlation"] is None


def test_the_printed_evaluation_has_speeds_by_terrain_and_the_agreement(capsys):
    rows = [row(1, 0.3, 0.2), row(2, 0.2, 0.1), row(7, 0.1, None)]
    for entry in rows:
        entry |= {"design": "body", "terrain_speeds": {"flat": 0.25, "gap": 0.125}, "robogrammar_objective": None}
    world = {"engine": "mujoco", "terrain": "flat,gap"}
    print_evaluation({**world, **agreement(rows), "elites": rows})
    out = capsys.readouterr().out
    assert "0.2500" in out and "0.1250" in out and "2 elites scored on flat,gap in mujoco: mean 0.1500 m/s" in out
    assert "rank correlation (Spearman) with the recorded speeds: not defined for so few" in out
    assert "faster than 0.05 m/s, recorded and now: 1, 2; only recorded: none; only now: none" in out
