"""Scores from episodes, and the rule that only scores of one order are compared."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map_elites.archive import Archive
from map_elites.evaluation import (
    CONTESTS,
    REFERENCE_SEED,
    VERIFICATION,
    EvaluationFailed,
    contest_seeds,
    draw_seeds,
    score_episodes,
    settle,
    verification_seeds,
)
from tests.map_elites.fakes import AXES, toy_elite, toy_score


def episode(speed: float, objective: float = 4.0, contact: float = 0.5) -> dict[str, float]:
    return {"speed_m_s": speed, "robogrammar_objective": objective, "contact": contact, "steps": 128.0}


def test_score_is_the_mean_and_the_objective_is_the_reference_episode():
    score = score_episodes([episode(0.1, 5.0, 0.2), episode(0.3, 9.0, 0.4)], body={"joints": 4.0}, policy_version=7)
    assert score.fitness == pytest.approx(0.2) and score.robogrammar_objective == 5.0
    assert score.descriptors == {"contact": pytest.approx(0.3), "joints": 4.0}
    assert (score.policy_version, score.episodes) == (7, 2)


def test_verification_leaves_the_reference_episode_out_of_the_mean():
    score = score_episodes([episode(9.0), episode(0.3), episode(0.5)], body={}, policy_version=1, count_reference=False)
    assert score.fitness == pytest.approx(0.4) and score.episodes == 2


@pytest.mark.parametrize("episodes", [[], [{}], [episode(math.nan)], [episode(1.0), episode(0.1, contact=math.inf)]])
def test_episodes_without_numbers_give_no_score(episodes):
    with pytest.raises(EvaluationFailed):
        score_episodes(episodes, body={}, policy_version=1)


def test_seeds_are_fresh_for_each_order_and_purpose():
    drawn = [draw_seeds(3, branch, order, 4) for branch in (CONTESTS, VERIFICATION) for order in range(50)]
    flat = [seed for seeds in drawn for seed in seeds]
    assert len(set(flat)) == len(flat) and REFERENCE_SEED not in flat
    assert draw_seeds(3, CONTESTS, 7, 4) == drawn[7]


@pytest.mark.parametrize("terrains", [1, 2, 3, 15])
@pytest.mark.parametrize("order", [0, 7])
def test_every_score_has_the_same_number_of_episodes_on_each_terrain(terrains, order):
    contest, verification = contest_seeds(3, order, 4, terrains), verification_seeds(3, 2, terrains)
    assert contest[0] == verification[0] == REFERENCE_SEED and REFERENCE_SEED not in contest[1:] + verification[1:]
    assert [seed % terrains for seed in contest] == list(range(terrains)) * 4
    assert [seed % terrains for seed in verification[1:]] == list(range(terrains)) * 2
    assert len(set(contest)) == len(contest)


def test_a_score_has_the_speed_on_each_terrain_and_the_fitness_is_their_mean():
    rows = [
        episode(0.1, 5.0) | {"speed_m_s_on_flat": 0.1},
        episode(0.2, 2.0) | {"speed_m_s_on_gap": 0.2},
        episode(0.5, 6.0) | {"speed_m_s_on_flat": 0.5},
        episode(-0.4, 2.0) | {"speed_m_s_on_gap": -0.4},
    ]
    score = score_episodes(rows, body={}, policy_version=1)
    assert score.terrain_speeds == {"flat": pytest.approx(0.3), "gap": pytest.approx(-0.1)}
    assert score.fitness == pytest.approx(0.1) and score.robogrammar_objective == 5.0
    assert score.descriptors == {"contact": pytest.approx(0.5)}


def test_challenger_takes_an_empty_cell():
    archive = Archive(AXES)
    assert settle(archive, [toy_elite(1, toy_score(0.1))], {}).results[1].status == "new"


def test_challenger_that_meets_an_incumbent_without_a_score_of_the_order_is_undecided():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.1, version=1)))
    outcome = settle(archive, [toy_elite(2, toy_score(9.0, version=5))], {})
    assert outcome.blocked == {2: 1} and not outcome.results and archive.get(1).fitness == 0.1


def test_contest_uses_the_scores_of_the_order_not_the_stored_one():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(9.0, version=1)))
    outcome = settle(archive, [toy_elite(2, toy_score(0.2, version=5))], {1: toy_score(0.1, version=5)})
    assert outcome.results[2].status == "improved" and 1 not in archive


def test_incumbent_stays_on_a_tie():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.5)))
    settle(archive, [toy_elite(2, toy_score(0.2))], {1: toy_score(0.2)})
    assert 1 in archive and 2 not in archive


def test_elites_may_swap_their_cells():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.5, contact=0.1)))
    archive.add(toy_elite(2, toy_score(0.6, contact=0.9)))
    outcome = settle(archive, [], {1: toy_score(0.1, contact=0.9), 2: toy_score(0.2, contact=0.1)})
    assert not outcome.blocked and archive.cell_of_elite(1) == (4, 1) and archive.cell_of_elite(2) == (0, 1)


def test_undecided_elites_block_those_who_want_their_cells():
    archive = Archive(AXES)
    for number, contact in ((1, 0.1), (2, 0.5), (3, 0.9)):
        archive.add(toy_elite(number, toy_score(0.5, contact=contact)))
    outcome = settle(archive, [], {1: toy_score(0.1, contact=0.5), 2: toy_score(0.2, contact=0.9)})
    assert outcome.blocked == {2: 3, 1: 2} and [elite.fitness for elite in archive] == [0.5, 0.5, 0.5]


scores = st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(scores, max_size=12), st.lists(scores, max_size=8), st.data())
def test_nobody_is_replaced_by_a_score_of_another_version(old, new, data):
    archive = Archive(AXES)
    for number, values in enumerate(old):
        archive.add(toy_elite(number, toy_score(*values, version=1)))
    present = [elite.id for elite in archive]
    again = data.draw(st.lists(st.sampled_from(present), unique=True)) if present else []
    before = {elite.id: elite.fitness for elite in archive}
    outcome = settle(
        archive,
        [toy_elite(100 + number, toy_score(*values, version=2)) for number, values in enumerate(new)],
        {number: toy_score(*data.draw(scores), version=2) for number in again},
    )
    for number in present:  # an elite that was not scored again is still there, with its old score
        if number not in again or number in outcome.blocked:
            assert archive.get(number).fitness == before[number]
    for number, result in outcome.results.items():
        if result.evicted is not None:
            assert result.evicted.score.policy_version == 2
        if result.status in ("new", "improved") and number in archive:
            assert archive.get(number).score.policy_version == 2
    for number, opponent in outcome.blocked.items():
        assert opponent in archive and number != opponent
