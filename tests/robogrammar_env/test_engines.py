"""The contract that every engine keeps."""

import numpy as np
import pytest
from bodies import FLAT, RIDGED, STANDING, WALKER, robot

from robogrammar_env.engine.base import CONTROL_STEP_S, GRAVITY_M_S2, Engine, link_ends, make_engine, spawn_position
from robogrammar_env.errors import UnknownNameError
from robogrammar_env.robot_model import BASE_ROTATION
from robogrammar_env.terrain import make_terrain

ENGINES = ["pybullet"]
BODIES = {"walker": WALKER, "flat": FLAT, "ridged": RIDGED}


@pytest.fixture(params=ENGINES)
def engine_name(request) -> str:
    if request.param == "mujoco":
        pytest.importorskip("mujoco")
    return request.param


def engine_of(name: str, text: str = WALKER, terrain: str = "flat", **settings) -> Engine:
    return make_engine(name, robot(text), make_terrain(terrain), **settings)


def roll(engine: Engine, steps: int, seed: int = 0) -> np.ndarray:
    """(steps, ...) joint angles and base positions under random targets."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(steps):
        engine.step(rng.uniform(-1.5, 1.5, engine.robot.num_joints))
        state = engine.state()
        rows.append(np.concatenate([state.joint_angles, state.base_position]))
    return np.array(rows)


@pytest.mark.parametrize("body", BODIES)
def test_reset_places_links_as_the_model_says(engine_name, body):
    engine = engine_of(engine_name, BODIES[body])
    angles = np.random.default_rng(0).normal(0, 0.3, engine.robot.num_joints)
    engine.reset(angles)
    state = engine.state()
    base = spawn_position(engine.robot, engine.terrain, angles)
    positions, rotations = engine.robot.forward_kinematics(angles, base, BASE_ROTATION)
    assert state.link_positions == pytest.approx(positions, abs=1e-9)
    assert state.link_rotations == pytest.approx(rotations, abs=1e-9)
    assert state.joint_angles == pytest.approx(angles, abs=1e-9)
    assert not state.link_velocities.any()
    assert not state.contacts.any()


@pytest.mark.parametrize("body", BODIES)
def test_state_is_one_consistent_pose_after_motion(engine_name, body):
    engine = engine_of(engine_name, BODIES[body])
    roll(engine, 20)
    state = engine.state()
    model = engine.robot
    positions, rotations = model.forward_kinematics(state.joint_angles, state.base_position, state.base_rotation)
    assert state.link_positions == pytest.approx(positions, abs=1e-7)
    assert state.link_rotations == pytest.approx(rotations, abs=1e-7)
    tick = 1e-6
    x, y, z = state.base_angular_velocity
    turn = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) * tick
    later, _ = model.forward_kinematics(
        state.joint_angles + tick * state.joint_velocities,
        state.base_position + tick * state.base_velocity,
        (np.eye(3) + turn) @ state.base_rotation,
    )
    assert state.link_velocities == pytest.approx((later - positions) / tick, abs=1e-4)


def test_spawn_has_nose_at_zero_and_lowest_point_on_the_ground(engine_name):
    engine = engine_of(engine_name)
    engine.reset(np.zeros(engine.robot.num_joints))
    state = engine.state()
    ends = np.concatenate(link_ends(engine.robot, state.link_positions, state.link_rotations))
    radii = np.tile(engine.robot.radii_m, 2)
    assert np.min(ends[:, 2] - radii) == pytest.approx(0.0, abs=1e-9)
    assert np.max(ends[:, 0] + radii) == pytest.approx(0.0, abs=1e-9)


def test_free_fall_follows_gravity(engine_name):
    """Folding the legs up leaves nothing under the body: for the first steps it falls freely."""
    engine = engine_of(engine_name, STANDING)
    model = engine.robot
    masses = np.array([link.mass_kg for link in model.links])
    folded = np.zeros(model.num_joints)
    engine.reset(folded)
    lift(engine, 1.0)
    start = masses @ engine.state().link_positions / masses.sum()
    for _ in range(4):
        engine.step(folded)
    fallen = start - masses @ engine.state().link_positions / masses.sum()
    time = 4 * CONTROL_STEP_S
    assert fallen[2] == pytest.approx(GRAVITY_M_S2 * time**2 / 2, rel=0.02)  # semi-implicit Euler: 1/64 more
    assert fallen[:2] == pytest.approx([0, 0], abs=1e-6)
    assert not engine.state().contacts.any()


def lift(engine: Engine, height_m: float) -> None:
    """Raises a robot for a test; engines offer no such call to users."""
    spawn = spawn_position(engine.robot, engine.terrain, engine.state().joint_angles)
    engine._place_base(spawn + np.array([0, 0, height_m]))


def test_standing_robot_stands_and_feels_the_ground(engine_name):
    engine = engine_of(engine_name, STANDING)
    rest = np.zeros(engine.robot.num_joints)
    engine.reset(rest)
    start = engine.state().base_position
    for _ in range(60):
        engine.step(rest)
    state = engine.state()
    assert state.base_rotation[2, 2] > 0.99
    assert state.base_position[2] == pytest.approx(start[2], abs=0.02)
    assert np.linalg.norm(state.base_velocity) < 0.02
    touching = [engine.robot.links[index].kind for index in np.flatnonzero(state.contacts)]
    assert touching == ["limb"] * 4


@pytest.mark.parametrize("body", BODIES)
def test_same_start_gives_the_same_bits(engine_name, body):
    engine = engine_of(engine_name, BODIES[body])
    angles = np.random.default_rng(5).normal(0, 0.05, engine.robot.num_joints)
    engine.reset(angles)
    first = roll(engine, 40)
    roll(engine, 7, seed=1)
    engine.reset(angles)
    again = roll(engine, 40)
    other = engine_of(engine_name, BODIES[body])
    other.reset(angles)
    assert np.array_equal(first, again)
    assert np.array_equal(first, roll(other, 40))


def test_reading_the_state_changes_nothing(engine_name):
    watched, left_alone = engine_of(engine_name), engine_of(engine_name)
    target = np.full(watched.robot.num_joints, 0.7)
    for _ in range(20):
        watched.step(target)
        watched.state()
        left_alone.step(target)
    assert np.array_equal(watched.state().link_positions, left_alone.state().link_positions)


def test_engines_do_not_disturb_each_other(engine_name):
    alone = roll(engine_of(engine_name), 20)
    first, second = engine_of(engine_name), engine_of(engine_name, FLAT)
    rng, rows = np.random.default_rng(0), []
    for _ in range(20):
        first.step(rng.uniform(-1.5, 1.5, first.robot.num_joints))
        second.step(np.ones(second.robot.num_joints))
        state = first.state()
        rows.append(np.concatenate([state.joint_angles, state.base_position]))
    assert np.array_equal(alone, np.array(rows))


def test_restore_goes_back_bit_for_bit(engine_name):
    engine = engine_of(engine_name)
    roll(engine, 10)
    handle = engine.save()
    first = roll(engine, 10, seed=3)
    engine.restore(handle)
    assert np.array_equal(first, roll(engine, 10, seed=3))
    engine.discard(handle)


def test_close_twice_is_fine(engine_name):
    engine = engine_of(engine_name)
    engine.close()
    engine.close()


def test_unknown_engine_is_named():
    with pytest.raises(UnknownNameError, match=r"pybulet.*pybullet"):
        engine_of("pybulet")
