"""The robot model: counts, masses, frames, mirroring, kinematics, overlap."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robogrammar_env.apr30 import LIMB_JOINTS
from robogrammar_env.design import LimbLink, RobotDesign, as_design
from robogrammar_env.errors import DesignSyntaxError, NoJointsError, SelfCollisionError, UnfinishedDesignError
from robogrammar_env.grammar import load_grammar
from robogrammar_env.robot import build_robot, check_robot, colliding_links, self_collides
from robogrammar_env.robot_model import BASE_ROTATION, quaternion_matrix
from robogrammar_env.sampling import sample_design

MIRROR = np.diag([1.0, -1.0, 1.0])
SEEDS = st.integers(0, 2**32)


def _robot(text):
    return build_robot(as_design(text))


def _sampled(seed, **limits):
    return build_robot(sample_design(np.random.default_rng(seed), **limits))


def _link(robot, name):
    return [link.name for link in robot.links].index(name)


@pytest.mark.parametrize(
    ("name", "links", "joints", "mass_kg"),
    [("ridged", 17, 12, 2.15), ("flat", 18, 11, 1.55), ("gap", 20, 12, 2.15), ("frozen_lake", 14, 10, 1.55)],
)
def test_published_robots_have_their_links_joints_and_mass(name, links, joints, mass_kg):
    robot = _robot(name)
    assert (len(robot.links), robot.num_joints) == (links, joints)
    assert robot.total_mass_kg == pytest.approx(mass_kg)
    check_robot(robot)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_torso_weighs_450_grams_however_many_segments(seed):
    torso = [link.mass_kg for link in _sampled(seed).links if link.kind == "torso"]
    assert sum(torso) == pytest.approx(0.45)


def test_parts_have_robogrammars_sizes_and_masses():
    robot = _robot("body(swing, swing long)")
    parts = {(link.kind, link.length_m, link.radius_m, round(link.mass_kg, 6)) for link in robot.links}
    assert parts == {
        ("torso", 0.15, 0.045, 0.45),
        ("mount", 0.1, 0.025, 0.1),
        ("limb", 0.1, 0.025, 0.1),
        ("limb", 0.15, 0.025, 0.15),
    }
    assert {link.friction for link in robot.links} == {0.9}


def test_joints_have_robogrammars_motor():
    joints = [link.joint for link in _robot("ridged").links if link.joint is not None]
    assert {(j.kp, j.kd, j.torque_n_m, j.control) for j in joints} == {(0.01, 0.5, 1.0, "position")}


def test_links_are_breadth_first_with_the_plain_side_before_the_mirrored_one():
    robot = _robot("body(swing) -lift- body")
    names = ["torso_0", "left_mount_0", "right_mount_0", "torso_1", "left_limb_0_1", "right_limb_0_1"]
    assert [link.name for link in robot.links] == names
    assert [link.parent for link in robot.links] == [-1, 0, 0, 0, 1, 2]
    assert robot.joints == (3, 4, 5)
    assert robot.rigid_groups == (0, 0, 0, 3, 4, 5)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_tree_is_in_order_and_names_tell_the_place(seed):
    robot = _sampled(seed)
    positions, _ = robot.rest_pose()
    assert all(link.parent < i for i, link in enumerate(robot.links))
    assert len({link.name for link in robot.links}) == len(robot.links)
    for link, (_, y, _) in zip(robot.links, positions, strict=True):
        assert link.side == np.sign(round(y, 9))
        assert link.mirrored == (link.side < 0)
        assert (link.depth > 0) == (link.kind == "limb")


def test_nose_is_in_front_and_segments_trail_backwards():
    positions, rotations = _robot("body -roll- body -lift- body").rest_pose()
    np.testing.assert_allclose(positions[:, 0], [0.0, -0.15, -0.30], atol=1e-12)
    np.testing.assert_allclose(rotations[0], np.diag([-1.0, -1.0, 1.0]), atol=1e-12)


def test_mount_points_sideways_with_y_up_in_robogrammars_frame():
    """Mount x is lateral, mount z (RoboGrammar's y) is up; it begins in the torso's middle."""
    robot = _robot("body(swing)")
    positions, rotations = robot.rest_pose()
    np.testing.assert_allclose(positions[1:3], [[0, 0.05, 0], [0, -0.05, 0]], atol=1e-12)
    np.testing.assert_allclose(rotations[1:3, :, 0], [[0, 1, 0], [0, -1, 0]], atol=1e-12)
    np.testing.assert_allclose(rotations[1:3, :, 2], [[0, 0, 1], [0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "direction"),
    [
        ("swing", (0, 1, 0)),
        ("acute_lift", (0, -0.5, -np.sqrt(0.75))),
        ("obtuse_lift", (0, 0.5, -np.sqrt(0.75))),
        ("backwards_lift", (0, 0.5, np.sqrt(0.75))),
    ],
)
def test_left_leg_at_the_side_points_where_robogrammar_says(kind, direction):
    """+60 and +120 degrees (obtuse and acute) point down, -60 (backwards) up: the child is turned by the inverse."""
    robot = _robot(f"body({kind})")
    _, rotations = robot.rest_pose()
    np.testing.assert_allclose(rotations[_link(robot, "left_limb_0_1"), :, 0], direction, atol=1e-12)
    np.testing.assert_allclose(rotations[_link(robot, "right_limb_0_1"), :, 0], MIRROR @ direction, atol=1e-12)


@pytest.mark.parametrize("kind", ["left_roll", "right_roll"])
def test_roll_legs_lie_along_the_way_and_roll_about_themselves(kind):
    robot = _robot(f"body({kind})")
    _, rotations = robot.rest_pose()
    left, right = rotations[3, :, 0], rotations[4, :, 0]
    np.testing.assert_allclose(np.abs(left), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(right, MIRROR @ left, atol=1e-12)
    assert robot.links[3].joint.axis == (1.0, 0.0, 0.0)


def test_the_two_roll_kinds_are_opposite():
    directions = [_robot(f"body({kind})").rest_pose()[1][3, 0, 0] for kind in ("left_roll", "right_roll")]
    assert directions[0] == pytest.approx(-directions[1])


@pytest.mark.parametrize(
    ("kind", "still"), [("swing", 2), ("obtuse_lift", 0), ("acute_lift", 0), ("backwards_lift", 0)]
)
def test_swing_sweeps_fore_and_aft_and_lift_raises(kind, still):
    """The end of a swing joint's link stays at its height, that of a lift joint's at its place along the way."""
    robot = _robot(f"body({kind})")
    angles = np.linspace(-0.5, 0.5, 5)[:, None] * [1.0, 0.0]
    _, rotations = robot.forward_kinematics(angles, np.zeros(3), BASE_ROTATION)
    tip = rotations[:, 3, :, 0]
    assert np.ptp(tip[:, still]) == pytest.approx(0.0, abs=1e-12)
    assert all(np.ptp(tip[:, moving]) > 0.05 for moving in {0, 1, 2} - {still} - ({1} if kind == "swing" else set()))


@given(st.lists(st.sampled_from(sorted(LIMB_JOINTS)), min_size=1, max_size=4), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=60, deadline=None)
def test_opposite_angles_mirror_the_pose_and_equal_ones_do_not(kinds, first, rest):
    robot = build_robot(RobotDesign((tuple(LimbLink(kind) for kind in kinds),)))
    sides = np.array([robot.links[i].side for i in robot.joints])
    depths = np.array([robot.links[i].depth for i in robot.joints])
    one_side = np.where(depths == 1, first, rest)
    positions, rotations = robot.forward_kinematics(one_side * sides, np.zeros(3), BASE_ROTATION)
    left = [i for i, link in enumerate(robot.links) if link.side > 0]
    right = [i for i, link in enumerate(robot.links) if link.side < 0]
    np.testing.assert_allclose(positions[left], positions[right] @ MIRROR, atol=1e-9)
    np.testing.assert_allclose(rotations[left][:, :, 0], rotations[right][:, :, 0] @ MIRROR, atol=1e-9)


@pytest.mark.parametrize("kind", sorted(LIMB_JOINTS))
def test_equal_angles_are_opposite_motions_for_every_limb_joint(kind):
    """A link hung on the joint shows the motion even where the joint rolls about its own link."""
    robot = _robot(f"body({kind}, acute_lift)")
    angle = 0.4
    both = robot.forward_kinematics([angle, angle, 0, 0], np.zeros(3), BASE_ROTATION)[0]
    mirrored = robot.forward_kinematics([-angle, -angle, 0, 0], np.zeros(3), BASE_ROTATION)[0]
    left, right = _link(robot, "left_limb_0_2"), _link(robot, "right_limb_0_2")
    np.testing.assert_allclose(both[left], MIRROR @ mirrored[right], atol=1e-12)
    assert np.abs(both[left] - MIRROR @ both[right]).max() > 0.01


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_kinematics_keep_joints_together_and_hinges_fixed(seed):
    """Each joint is one point for parent and child, and a hinge's axis is not moved by its own angle."""
    robot = _sampled(seed)
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-2, 2, robot.num_joints)
    positions, rotations = robot.forward_kinematics(angles, rng.normal(size=3), BASE_ROTATION)
    for i, link in enumerate(robot.links[1:], start=1):
        on_parent = positions[link.parent] + rotations[link.parent] @ link.joint.position_in_parent_m
        on_child = positions[i] - rotations[i][:, 0] * 0.5 * link.length_m
        np.testing.assert_allclose(on_parent, on_child, atol=1e-9)
        at_rest = rotations[link.parent] @ quaternion_matrix(link.joint.rotation) @ link.joint.axis
        np.testing.assert_allclose(rotations[i] @ link.joint.axis, at_rest, atol=1e-9)
        np.testing.assert_allclose(rotations[i] @ rotations[i].T, np.eye(3), atol=1e-9)


def test_positive_angle_turns_right_handed_about_the_axis():
    robot = _robot("body -roll- body")
    _, rotations = robot.forward_kinematics([np.pi / 2], np.zeros(3), np.eye(3))
    np.testing.assert_allclose(rotations[1], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-12)


def test_kinematics_of_a_batch_equal_those_one_by_one():
    robot = _robot("gap")
    rng = np.random.default_rng(0)
    angles, bases = rng.uniform(-1, 1, (2, 5, robot.num_joints)), rng.normal(size=(2, 5, 3))
    positions, rotations = robot.forward_kinematics(angles, bases, BASE_ROTATION)
    assert positions.shape == (2, 5, 20, 3) and rotations.shape == (2, 5, 20, 3, 3)
    one = robot.forward_kinematics(angles[1, 2], bases[1, 2], BASE_ROTATION)
    np.testing.assert_allclose(positions[1, 2], one[0], atol=1e-12)
    np.testing.assert_allclose(rotations[1, 2], one[1], atol=1e-12)


def test_spawn_puts_the_nose_at_zero_and_the_lowest_point_on_the_ground():
    robot = _robot("body(obtuse_lift)")
    depth_m = np.sqrt(0.75) * 0.1 + 0.025
    np.testing.assert_allclose(robot.spawn_position_m, [-(0.075 + 0.045), 0.0, depth_m], atol=1e-12)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_bounding_box_at_spawn_touches_the_start_line_and_the_ground(seed):
    robot = _sampled(seed)
    low, high = np.array(robot.bounding_box_m) + robot.spawn_position_m
    assert high[0] == pytest.approx(0.0) and low[2] == pytest.approx(0.0)
    assert low[1] == pytest.approx(-high[1])


def test_wheel_reaches_its_radius_across_and_its_length_along():
    robot = _robot("apr30_wheel: 0 7 2 16 8 20 6")
    low, high = robot.bounding_box_m
    assert high[1] == pytest.approx(0.1 + 0.1 + 0.05)
    assert low[2] == pytest.approx(-0.1)


def test_legs_that_meet_collide_and_are_named():
    """The front leg points backwards and the rear leg forwards, on segments 0.15 m apart."""
    robot = _robot("body(left_roll long) -fixed- body(right_roll long)")
    assert self_collides(robot)
    assert ("left_limb_0_1", "left_limb_1_1") in colliding_links(robot)
    with pytest.raises(SelfCollisionError, match="left_limb_0_1 with left_limb_1_1"):
        check_robot(robot)


def test_legs_that_point_away_from_each_other_do_not_collide():
    assert colliding_links(_robot("body(right_roll long) -fixed- body(left_roll long)")) == []


def test_mounts_that_overlap_in_the_torso_do_not_count():
    assert not self_collides(_robot("body(swing) -roll- body(swing)"))


def test_wheels_that_overlap_collide_by_their_true_shape():
    """Wheels of 0.1 m radius on segments 0.15 m apart overlap; with a bare segment between them they do not."""
    near = "apr30_wheel: 0 7 2 16 8 20 1 10 2 16 8 20 6"
    apart = "apr30_wheel: 0 7 2 16 8 20 1 10 3 1 10 2 16 8 20 6"
    assert self_collides(_robot(near))
    assert not self_collides(_robot(apart))


def test_robot_without_joints_is_refused():
    with pytest.raises(NoJointsError, match="has no joint"):
        check_robot(_robot("body -fixed- body"))


def test_unfinished_graph_is_refused():
    *_, graph = load_grammar().derive([0, 7, 2])
    with pytest.raises(UnfinishedDesignError, match="tail"):
        build_robot(graph)


def test_free_joint_is_refused():
    graph = as_design("body -roll- body").graph()
    graph.get_edge_data("torso_0", "torso_1")[0]["type"] = "free"
    with pytest.raises(DesignSyntaxError, match="free"):
        build_robot(graph)


def test_model_can_be_pickled_for_a_worker_process():
    robot = _robot("flat")
    robot.rest_pose()
    assert pickle.loads(pickle.dumps(robot)) == robot
