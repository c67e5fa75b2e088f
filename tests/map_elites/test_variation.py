"""Operators on toy designs: always well-formed, bounded, reproducible."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map_elites.variation import OPERATORS, Parts, Variation, join_halves
from tests.map_elites.fakes import PartedToy, ToyLink, read_parted, toy_space

links = st.builds(ToyLink, st.sampled_from("abc"), st.booleans())
legs = st.lists(links, max_size=3).map(tuple)


@st.composite
def designs(draw) -> PartedToy:
    segments = draw(st.lists(legs, min_size=1, max_size=5))
    spine = draw(st.lists(st.sampled_from(["fixed", "roll"]), min_size=len(segments) - 1, max_size=len(segments) - 1))
    return PartedToy(tuple(segments), tuple(spine))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
@settings(max_examples=30, deadline=None)
@given(design=designs(), seed=st.integers(0, 2**32 - 1))
def test_every_operator_keeps_one_spine_joint_fewer_than_segments(operator, design, seed):
    parts = operator(Parts(design.segments, design.spine), toy_space(), np.random.default_rng(seed))
    if parts is not None:
        assert len(parts.segments) == len(parts.spine) + 1 >= 1


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_every_operator_can_change_something(operator):
    design = read_parted((0, 1, 2, 3, 1, 1, 4, 10, 11))
    parts = Parts(design.segments, design.spine)
    results = [operator(parts, toy_space(), np.random.default_rng(seed)) for seed in range(30)]
    assert any(result is not None and result != parts for result in results)


@settings(max_examples=60, deadline=None)
@given(first=designs(), second=designs(), seed=st.integers(0, 2**32 - 1))
def test_crossover_takes_the_front_of_one_and_the_rear_of_the_other(first, second, seed):
    one, two = Parts(first.segments, first.spine), Parts(second.segments, second.spine)
    child = join_halves(one, two, toy_space(), np.random.default_rng(seed))
    assert len(child.segments) == len(child.spine) + 1
    assert child.segments[0] == one.segments[0] and child.segments[-1] == two.segments[-1]


@settings(max_examples=60, deadline=None)
@given(first=designs(), second=designs(), seed=st.integers(0, 2**32 - 1))
def test_children_are_allowed_new_and_reproducible(first, second, seed):
    space = toy_space()
    variation = Variation(space)
    for make in (
        lambda rng: variation.mutate(first, rng),
        lambda rng: variation.cross(first, second, rng),
    ):
        child = make(np.random.default_rng(seed))
        assert child == make(np.random.default_rng(seed))
        if child is not None:
            space.check(child)
            assert child.rules != first.rules


def test_known_designs_are_not_made_again():
    variation, seen = Variation(toy_space()), set()
    parent = read_parted((0, 1, 2))
    rng = np.random.default_rng(0)
    for _ in range(30):
        child = variation.mutate(parent, rng, known=lambda design: design.rules in seen)
        assert child.rules not in seen
        seen.add(child.rules)


def test_tries_are_bounded_when_nothing_is_allowed():
    space = dataclasses.replace(toy_space(), check=lambda design: (_ for _ in ()).throw(ValueError("no")))
    assert Variation(space).mutate(read_parted((0, 1, 2)), np.random.default_rng(0)) is None
