"""Tokens: shapes, scales, signs."""

import numpy as np
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.description import parent_joints
from robogrammar_env.engine.base import make_engine
from robogrammar_env.observation import (
    GLOBAL_DIM,
    GLOBAL_STATIC_DIM,
    JOINT_DIM,
    JOINT_STATIC_DIM,
    TERRAIN_DIM,
    body_frame,
    heading_frame,
    observe,
)
from robogrammar_env.simulation import Simulation
from robogrammar_env.terrain import make_terrain


def left_right(model) -> tuple[list[int], list[int]]:
    """Joints of the left side and, in the same order, their partners on the right."""
    names = [model.links[index].name for index in model.joints]
    left = [number for number, name in enumerate(names) if name.startswith("left")]
    return left, [names.index(names[number].replace("left", "right")) for number in left]


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_static_tables_have_the_stated_shapes_and_scales(text):
    model = robot(text)
    description = body_frame(model).description
    assert description.joint_static.shape == (model.num_joints, JOINT_STATIC_DIM)
    assert description.global_static.shape == (GLOBAL_STATIC_DIM,)
    assert description.parent.dtype == np.int8
    assert np.abs(description.joint_static).max() <= 5
    assert np.linalg.norm(description.joint_static[:, 3:6], axis=1) == pytest.approx(np.ones(model.num_joints))
    assert description.global_static[0] == pytest.approx(np.log(model.total_mass_kg))


def test_walker_tokens_by_hand():
    """Spine, then the hips of segment 0, their knees, the hips of segment 1, their knees."""
    model = robot(WALKER)
    frame = body_frame(model)
    spine, hip = frame.description.joint_static[0], frame.description.joint_static[1]
    length = frame.length_m
    assert spine[0:3] == pytest.approx(np.array([-0.075, 0, 0]) / length, abs=1e-6)
    assert np.abs(spine[3:6]) == pytest.approx([0, 1, 0], abs=1e-6)
    assert spine[6:9] == pytest.approx([-1, 0, 0], abs=1e-6)
    assert spine[18] == 0 and spine[19] == 1
    assert hip[0:3] == pytest.approx(np.array([0, 0.1, 0]) / length, abs=1e-6)
    assert hip[18] == 1 and hip[19] == 0
    assert spine[13] == pytest.approx(5 / 9) and hip[13] == pytest.approx(2 / 9)
    assert frame.description.parent.tolist() == parent_joints(model).tolist()
    assert sum(frame.description.parent == 0) == 2  # the hips of segment 1 hang on the spine joint


def test_groups_share_all_links():
    frame = body_frame(robot(FLAT))
    assert (frame.members.sum(axis=0) == 1).all()
    assert frame.group_weights.sum(axis=1) == pytest.approx(np.ones(len(frame.signs)))


def test_static_tables_are_mirror_images():
    model = robot(RIDGED)
    table = body_frame(model).description.joint_static
    left, right = left_right(model)
    mirrored = table[right].copy()
    mirrored[:, [1, 7, 18]] *= -1  # y of places and directions, and the side
    mirrored[:, [3, 5]] *= -1  # a mirrored axis keeps its y: it is an axial vector
    assert table[left] == pytest.approx(mirrored, abs=1e-6)


def test_equal_actions_move_both_sides_alike():
    """In the air, both legs of each pair get the same action and show the same canonical angles."""
    simulation = Simulation(RIDGED, engine_settings={"solver_iterations": 200})
    simulation.reset(None, training=False)
    left, right = left_right(simulation.robot)
    action = np.zeros(simulation.num_joints)
    action[left] = action[right] = np.linspace(-0.5, 0.5, len(left))
    simulation.engine._place_base(np.array([0.0, 0.0, 5.0]))
    for _ in range(6):
        joints = simulation.step(action).observation.joints
    assert joints[left][:, [0, 1, 2, 3]] == pytest.approx(joints[right][:, [0, 1, 2, 3]], abs=2e-3)
    assert joints[left][:, [4, 6]] == pytest.approx(joints[right][:, [4, 6]], abs=2e-3)
    assert joints[left][:, 5] == pytest.approx(-joints[right][:, 5], abs=2e-3)


def test_resting_globals():
    model, terrain = robot(WALKER), make_terrain("flat")
    engine = make_engine("pybullet", model, terrain)
    engine.reset(np.zeros(model.num_joints))
    frame = body_frame(model)
    seen = observe(frame, engine.state(), np.zeros(model.num_joints), terrain, terrain_samples=True)
    assert seen.joints.shape == (model.num_joints, JOINT_DIM)
    assert seen.globals.shape == (GLOBAL_DIM + TERRAIN_DIM,)
    assert seen.globals.dtype == seen.joints.dtype == np.float32
    assert seen.globals == pytest.approx([0, 0, -1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0] + [0] * TERRAIN_DIM, abs=1e-6)


def test_heading_ignores_pitch_and_roll():
    yaw = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    pitch = np.array([[0.6, 0, 0.8], [0, 1, 0], [-0.8, 0, 0.6]])
    assert heading_frame(yaw @ pitch) == pytest.approx(yaw)
    upright = np.array([[0, 0, 1.0], [0, 1, 0], [-1.0, 0, 0]])
    assert heading_frame(upright) == pytest.approx(np.eye(3))
