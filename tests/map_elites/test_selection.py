"""Tournaments among elites."""

from __future__ import annotations

import numpy as np

from map_elites.selection import by_tournament
from tests.map_elites.fakes import toy_elite, toy_score

ELITES = [toy_elite(number, toy_score(number / 10)) for number in range(10)]


def firsts(size: int, draws: int = 400) -> np.ndarray:
    """Fitness of the first elite of many orders."""
    rng = np.random.default_rng(0)
    return np.array([next(by_tournament(ELITES, size, rng)).fitness for _ in range(draws)])


def test_everybody_gets_a_turn_once():
    order = [elite.id for elite in by_tournament(ELITES, 3, np.random.default_rng(1))]
    assert sorted(order) == list(range(10)) and order != list(range(10))


def test_larger_tournaments_prefer_fitter_elites():
    uniform, of_two, of_many = firsts(1).mean(), firsts(2).mean(), firsts(64).mean()
    assert abs(uniform - 0.45) < 0.05
    assert abs(of_two - 0.615) < 0.05  # mean of the larger of two draws from 0, 0.1 ... 0.9
    assert of_many > 0.89


def test_of_equals_the_older_wins():
    twins = [toy_elite(number, toy_score(0.5)) for number in (7, 3)]
    assert next(by_tournament(twins, 64, np.random.default_rng(0))).id == 3
