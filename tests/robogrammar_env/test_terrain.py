"""Tasks: places and heights as RoboGrammar's generators make them."""

import numpy as np
import pytest

from robogrammar_env.errors import UnknownNameError
from robogrammar_env.terrain import TERRAINS, make_terrain

NAMES = [
    *("flat", "ridged", "gap", "stepped", "wall", "frozen_lake", "hill"),
    *("new_ridged", "new_ridged_2", "new_gap", "new_wall"),
    *("new_stepped_1", "new_stepped_2", "new_stepped_3", "new_stepped_4"),
]

# numpy's legacy generator, seed 0: its first standard normal numbers
NORMAL = np.array(
    [1.764052, 0.400157, 0.978738, 2.240893, 1.867558, -0.977278, 0.950088, -0.151357, -0.103219, 0.410599]
)


def test_registry_has_every_task_of_robogrammar():
    assert sorted(TERRAINS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_ground_is_there_where_a_robot_starts(name):
    """All tasks but the hill start at height 0, so that a robot's lowest point at 0 stands on the ground."""
    terrain = make_terrain(name)
    heights = terrain.height_at(np.linspace(-2.0, 0.0, 50), 0.0)
    assert terrain.name == name
    if name == "hill":
        assert np.all((heights > -0.5) & (heights < 0.0))
    else:
        np.testing.assert_allclose(heights[:-2], 0.0, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_robogrammars(name):
    special = {"new_gap": (1, 1, 3)} | dict.fromkeys(
        ["new_ridged", "new_ridged_2", "new_stepped_4", "new_wall"], (1, 1, 8)
    )
    assert make_terrain(name).weights == special.get(name, (2, 2, 2))


@pytest.mark.parametrize("name", NAMES)
def test_planning_horizon_is_longer_between_walls(name):
    assert make_terrain(name).horizon == (32 if "wall" in name else 16)


@pytest.mark.parametrize("name", NAMES)
def test_friction_is_half_or_ice(name):
    terrain = make_terrain(name)
    parts = [*terrain.boxes, *([terrain.heightfield] if terrain.heightfield else [])]
    assert {part.friction for part in parts} == {0.05 if name == "frozen_lake" else 0.5}


@pytest.mark.parametrize("name", NAMES)
def test_layout_comes_from_the_seed_alone(name):
    one, again = make_terrain(name, 3), TERRAINS[name](3)
    assert one.boxes == again.boxes
    random = name in ("ridged", "gap", "stepped", "wall", "new_ridged", "new_ridged_2", "new_gap", "new_stepped_3")
    assert (one.boxes != make_terrain(name, 4).boxes) == random


def test_terrains_are_equal_when_their_ground_is():
    assert make_terrain("flat", 1) == make_terrain("flat", 2)
    assert make_terrain("ridged", 1) != make_terrain("ridged", 2)
    assert make_terrain("hill", 1) != make_terrain("hill", 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(20))
def test_boxes_have_a_size_for_any_seed(name, seed):
    assert all(min(box.half_extents_m) > 0 for box in make_terrain(name, seed).boxes)


def test_flat_is_one_box_of_80_by_20_metres():
    (floor,) = make_terrain("flat").boxes
    assert (floor.center_m, floor.half_extents_m) == ((0, 0, -1), (40, 10, 1))
    assert make_terrain("flat").is_flat and not make_terrain("ridged").is_flat


def test_ridges_grow_by_2_centimetres():
    ridges = make_terrain("ridged").boxes[1:]
    assert len(ridges) == 20
    np.testing.assert_allclose([box.top_m for box in ridges], 0.02 * np.arange(1, 21), atol=1e-12)
    np.testing.assert_allclose([box.center_m[0] for box in ridges[:10]], 0.5 + 0.1 * NORMAL + np.arange(10), atol=1e-6)
    assert ridges[0].half_extents_m == (0.1, 10.0, 0.2)


def test_ridge_is_seen_from_above():
    terrain = make_terrain("ridged")
    x = terrain.boxes[10].center_m[0]
    np.testing.assert_allclose(terrain.height_at([x - 0.11, x - 0.09, x, x + 0.11], 0.0), [0, 0.2, 0.2, 0], atol=1e-12)


def test_gaps_grow_from_10_to_50_centimetres():
    *platforms, floor = make_terrain("gap").boxes
    ends = np.array([(b.center_m[0] - b.half_extents_m[0], b.center_m[0] + b.half_extents_m[0]) for b in platforms])
    np.testing.assert_allclose(ends[1:, 0] - ends[:-1, 1], np.linspace(0.1, 0.5, 20), atol=1e-12)
    middles = 0.5 * (ends[1:, 0] + ends[:-1, 1])
    np.testing.assert_allclose(middles[:10], 0.5 + np.arange(10) + 0.1 * NORMAL, atol=1e-6)
    assert (ends[0, 0], ends[-1, 1]) == (-20.0, 20.0)
    np.testing.assert_allclose([b.top_m for b in platforms[:10]], 0.01 * np.arange(10) * NORMAL, atol=1e-6)
    assert floor.top_m == -1.0


def test_steps_have_random_edges_and_rises():
    steps = make_terrain("stepped").boxes
    assert len(steps) == 41
    edges = np.array([b.center_m[0] + b.half_extents_m[0] for b in steps[:10]])
    np.testing.assert_allclose(edges, 0.5 * np.arange(10) + 0.1 * NORMAL, atol=1e-6)
    rises = np.diff([b.top_m for b in steps[:11]])
    np.testing.assert_allclose(rises, np.minimum(0.015 * np.arange(10), 0.1) * NORMAL, atol=1e-6)


def test_walls_stand_left_and_right_in_turn():
    """RoboGrammar's z is our -y, and each wall draws its place along the way before that across it."""
    floor, left, right, *walls = make_terrain("wall").boxes
    assert (floor.top_m, left.center_m[1], right.center_m[1]) == (0.0, -1.0, 1.0)
    x, y = np.array([wall.center_m[:2] for wall in walls[:5]]).T
    np.testing.assert_allclose(x, 2.0 * np.arange(5) + 0.5 + 0.1 * NORMAL[::2], atol=1e-6)
    np.testing.assert_allclose(y, -(np.arange(5) % 2 - 0.5 + 0.1 * NORMAL[1::2]), atol=1e-6)
    assert walls[0].half_extents_m == (0.05, 0.25, 0.5)
    assert make_terrain("wall").height_at(x[0], y[0]) == 0.5


def test_hill_is_a_grid_of_60_by_20_metres():
    field = make_terrain("hill").heightfield
    assert field.heights_m.shape == (97, 33)
    assert (field.center_m, field.half_extents_m) == ((20, 0, -0.25), (30, 10, 0.25))
    np.testing.assert_allclose(field.heights_m[0, -10:][::-1], 0.5 * (0.5 + 0.125 * NORMAL) - 0.5, atol=1e-6)
    assert field.heights_m.min() >= -0.5 and field.heights_m.max() <= 0.0


def test_hill_height_is_interpolated_between_grid_points():
    terrain = make_terrain("hill")
    heights = terrain.heightfield.heights_m
    step = 60.0 / 96
    np.testing.assert_allclose(terrain.height_at(-10.0, -10.0), heights[0, 0])
    np.testing.assert_allclose(terrain.height_at(50.0, 10.0), heights[-1, -1])
    np.testing.assert_allclose(terrain.height_at(-10.0 + 2.5 * step, -10.0), 0.5 * (heights[2, 0] + heights[3, 0]))
    assert terrain.height_at(60.0, 0.0) == -0.5


def test_new_ridges_are_high_from_the_start():
    tops = np.array([box.top_m for box in make_terrain("new_ridged").boxes[1:]])
    assert np.all(tops >= 0.06) and np.all(tops <= np.minimum(0.2, 0.09 * np.arange(1, 21)))
    fixed = [box.top_m for box in make_terrain("new_ridged_2").boxes[1:]]
    np.testing.assert_allclose(fixed, [0.06, 0.12] + [0.18] * 18, atol=1e-12)
    first = make_terrain("new_ridged_2").boxes[1].center_m[0]
    assert first == pytest.approx(0.5 + 0.05 * NORMAL[0], abs=1e-6)


def test_new_gaps_lie_between_level_platforms():
    *platforms, floor = make_terrain("new_gap").boxes
    assert len(platforms) == 29 and floor.top_m == -1.0
    assert {round(b.top_m, 12) for b in platforms} == {0.0}
    starts = np.array([b.center_m[0] - b.half_extents_m[0] for b in platforms[1:]])
    ends = np.array([b.center_m[0] + b.half_extents_m[0] for b in platforms[:-1]])
    number = np.arange(1, 29)
    assert np.all(starts - ends >= np.minimum(0.06 * number, 0.2) - 1e-9)
    assert np.all(starts - ends <= np.minimum(0.12 * number, 0.4) + 1e-9)
    np.testing.assert_allclose((0.5 * (starts + ends))[:10], 0.5 + 0.7 * np.arange(10) + 0.05 * NORMAL, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "rise_m"), [("new_stepped_1", 0.07), ("new_stepped_2", 0.05), ("new_stepped_4", 0.10)]
)
def test_stairs_rise_regularly(name, rise_m):
    terrain = make_terrain(name)
    assert len(terrain.boxes) == 68
    middles = 0.5 + 0.3 * np.arange(20) + 0.15
    np.testing.assert_allclose(terrain.height_at(middles, 0.0), rise_m * np.arange(1, 21), atol=1e-9)
    assert terrain.height_at(0.49, 0.0) == pytest.approx(0.0)


def test_irregular_stairs_only_go_up_and_by_at_most_10_centimetres():
    rises = np.diff([box.top_m for box in make_terrain("new_stepped_3").boxes])
    assert np.all(rises >= -1e-12) and np.all(rises <= np.minimum(0.02 * np.arange(67), 0.1) + 1e-12)
    # first uniform numbers of seed 0: 0.5488, 0.7152, 0.6028
    np.testing.assert_allclose(rises[:3], [0.0, 0.02 * 0.715189, 0.04 * 0.602763], atol=1e-6)


def test_new_walls_are_wide_and_regular():
    walls = make_terrain("new_wall").boxes[3:]
    assert [wall.center_m[:2] for wall in walls[:3]] == [(0.5, 0.5), (2.0, -0.5), (3.5, 0.5)]
    assert walls[0].half_extents_m == (0.05, 0.45, 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_height_at_takes_any_shape_and_is_finite_everywhere(name):
    terrain = make_terrain(name)
    x, y = np.meshgrid(np.linspace(-100, 100, 41), np.linspace(-30, 30, 7))
    heights = terrain.height_at(x, y)
    assert heights.shape == (7, 41) and np.all(np.isfinite(heights))
    assert terrain.height_at(0.0, 0.0).shape == ()


def test_any_seed_makes_ground():
    assert make_terrain("ridged", 2**63).boxes
    assert make_terrain("ridged", 2**32 + 5) == make_terrain("ridged", 5)


def test_unknown_terrain_is_an_error_that_names_the_nearest_and_all():
    with pytest.raises(UnknownNameError, match=r"'riged'.*did you mean 'ridged'.*frozen_lake"):
        make_terrain("riged")
