"""Overlap of capsules and cylinders, against brute force and known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robogrammar_env.collision import overlapping_pairs, segment_distances

X, Y, Z = np.eye(3)
PAIR = np.array([[0, 1]])


def _overlap(centres, directions, *, lengths=(0.2, 0.2), radii=(0.05, 0.05), cylinders=(False, False)):
    arrays = (np.array(values) for values in (centres, directions, lengths, radii, cylinders))
    return overlapping_pairs(PAIR, *arrays) == [(0, 1)]


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=100, deadline=None)
def test_segment_distance_is_the_smallest_of_all_points(seed, parallel):
    rng = np.random.default_rng(seed)
    start_a, along_a, start_b, along_b = rng.normal(size=(4, 3))
    along_b = along_a * rng.uniform(-2, 2) if parallel else along_b
    (distance,) = segment_distances(start_a[None], along_a[None], start_b[None], along_b[None])
    steps = np.linspace(0.0, 1.0, 201)[:, None]
    points_a, points_b = start_a + steps * along_a, start_b + steps * along_b
    smallest = np.linalg.norm(points_a[:, None] - points_b[None], axis=-1).min()
    longest_step = (np.linalg.norm(along_a) + np.linalg.norm(along_b)) / 200
    assert smallest - longest_step <= distance <= smallest + 1e-9


@pytest.mark.parametrize(("gap_m", "overlaps"), [(-0.001, True), (0.0, False), (0.001, False)])
def test_capsules_side_by_side_overlap_below_two_radii(gap_m, overlaps):
    assert _overlap([0 * X, (0.1 + gap_m) * Y], [X, X]) == overlaps


@pytest.mark.parametrize(("gap_m", "overlaps"), [(-0.001, True), (0.001, False)])
def test_capsules_in_line_reach_a_radius_beyond_their_length(gap_m, overlaps):
    assert _overlap([0 * X, (0.3 + gap_m) * X], [X, X]) == overlaps


@pytest.mark.parametrize(("gap_m", "overlaps"), [(-0.001, True), (0.001, False)])
def test_cylinder_ends_flat(gap_m, overlaps):
    """In line with a capsule, only the capsule's end is round."""
    assert _overlap([0 * X, (0.25 + gap_m) * X], [X, X], cylinders=(True, False)) == overlaps


@pytest.mark.parametrize(("gap_m", "overlaps"), [(-0.001, True), (0.001, False)])
def test_wheels_side_by_side_overlap_below_two_radii(gap_m, overlaps):
    sizes = {"lengths": (0.05, 0.05), "radii": (0.1, 0.1), "cylinders": (True, True)}
    assert _overlap([0 * X, (0.2 + gap_m) * X], [Y, Y], **sizes) == overlaps


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_cylinders_that_share_a_point_overlap_and_separated_ones_do_not(seed):
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    near = [0 * X, rng.uniform(-0.02, 0.02, 3)]
    assert _overlap(near, axes, cylinders=(True, True))
    assert not _overlap([0 * X, 0.4 * X], axes, cylinders=(True, True))
