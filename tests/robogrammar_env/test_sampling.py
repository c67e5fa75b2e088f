"""Samplers: what they give, how evenly, and how much they throw away."""

from collections import Counter

import numpy as np
import pytest

from robogrammar_env import sampling
from robogrammar_env.design import RobotDesign
from robogrammar_env.errors import NoJointsError, UnfinishedDesignError
from robogrammar_env.robot import build_robot, check_robot
from robogrammar_env.sampling import all_designs, random_derivation, sample_design


@pytest.mark.parametrize(("max_rules", "count"), [(3, 0), (4, 1), (7, 17), (10, 273), (13, 4369)])
def test_all_designs_yields_every_robot_once(max_rules, count):
    found = list(all_designs(max_rules))
    assert len(found) == len(set(found)) == count
    assert all(design.num_rules <= max_rules for design in found)


def test_sample_design_gives_bodies_that_can_be_trained():
    rng = np.random.default_rng(1)
    for _ in range(60):
        design = sample_design(rng)
        assert design.num_rules <= 40
        check_robot(build_robot(design))


def test_sample_design_is_spread_over_sizes():
    rng = np.random.default_rng(2)
    drawn = [sample_design(rng) for _ in range(300)]
    segments = Counter(len(design.segments) for design in drawn)
    legs = Counter(sum(map(bool, design.segments)) for design in drawn)
    assert set(segments) == {1, 2, 3, 4, 5, 6} and min(segments.values()) > 20
    assert set(legs) == {1, 2, 3, 4} and min(legs.values()) > 10
    joints = sorted(design.num_joints for design in drawn)
    assert joints[0] <= 3 and joints[-1] >= 18 and 5 <= joints[150] <= 12
    assert len(set(drawn)) > 280


def test_sample_design_throws_away_few_bodies(monkeypatch):
    tries = []
    original = sampling._try_design
    monkeypatch.setattr(sampling, "_try_design", lambda *args: tries.append(original(*args)) or tries[-1])
    rng = np.random.default_rng(3)
    for _ in range(150):
        sample_design(rng)
    assert tries.count(None) / len(tries) < 0.2


@pytest.mark.parametrize(("low", "high"), [(2, 2), (3, 3), (5, 8), (23, 23), (24, 24)])
def test_sample_design_keeps_to_the_number_of_joints(low, high):
    rng = np.random.default_rng(4)
    assert all(low <= sample_design(rng, min_joints=low, max_joints=high).num_joints <= high for _ in range(3))


def test_sample_design_keeps_to_the_number_of_rules():
    rng = np.random.default_rng(5)
    assert all(sample_design(rng, max_rules=13).num_rules <= 13 for _ in range(30))


def test_sample_design_that_nothing_fits_is_an_error():
    with pytest.raises(NoJointsError, match="no body has 25 to 30 joints"):
        sample_design(np.random.default_rng(0), min_joints=25, max_joints=30)


def test_same_seed_gives_the_same_designs():
    one, other = np.random.default_rng(6), np.random.default_rng(6)
    assert [sample_design(one) for _ in range(5)] == [sample_design(other) for _ in range(5)]


def test_random_derivation_gives_small_bodies_as_robogrammar_does():
    """Medians of RoboGrammar's uniform sampler: 2 joints, 1 torso segment; a third of the bodies cannot move."""
    rng = np.random.default_rng(7)
    joints, unfinished = [], 0
    for _ in range(100):
        try:
            joints.append(random_derivation(rng).num_joints)
        except UnfinishedDesignError:
            unfinished += 1
    assert 1 <= np.median(joints) <= 4
    assert 0.15 < np.mean(np.array(joints) == 0) < 0.45
    assert unfinished < 12


def test_random_derivation_takes_a_limit():
    rng = np.random.default_rng(8)
    with pytest.raises(UnfinishedDesignError, match="not finished after 3 rules"):
        random_derivation(rng, max_rules=3)


def test_random_derivation_of_another_grammar_replays():
    design = None
    rng = np.random.default_rng(9)
    while design is None:
        try:
            design = random_derivation(rng, grammar="apr30_wheel")
        except UnfinishedDesignError:
            continue
    assert not isinstance(design, RobotDesign)
    assert design.grammar.replay(design.rules)
