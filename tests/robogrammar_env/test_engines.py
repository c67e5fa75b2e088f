"""The contract that every engine keeps."""

import numpy as np
import pytest
from bodies import FLAT, RIDGED, STANDING, WALKER, robot

from robogrammar_env.apr30 import LIMB_JOINTS, SPINE_JOINTS
from robogrammar_env.behaviour import feet
from robogrammar_env.design import as_design
from robogrammar_env.engine.base import CONTROL_STEP_S, GRAVITY_M_S2, Engine, link_ends, make_engine, spawn_position
from robogrammar_env.errors import UnknownNameError
from robogrammar_env.robot import build_robot
from robogrammar_env.robot_model import BASE_ROTATION
from robogrammar_env.sampling import sample_design
from robogrammar_env.terrain import TERRAINS, make_terrain

ENGINES = ["pybullet", "mujoco"]
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


def test_base_pose_is_that_of_the_state(engine_name):
    engine = engine_of(engine_name)
    roll(engine, 5)
    state, (position, rotation) = engine.state(), engine.base_pose()
    np.testing.assert_array_equal(position, state.base_position)
    assert rotation == pytest.approx(state.base_rotation, abs=1e-12)
    engine.step(np.ones(engine.robot.num_joints))
    assert position == pytest.approx(state.base_position)  # a copy: it does not move on


def test_spawn_has_nose_at_zero_and_lowest_point_on_the_ground(engine_name):
    engine = engine_of(engine_name)
    engine.reset(np.zeros(engine.robot.num_joints))
    state = engine.state()
    ends = np.concatenate(link_ends(engine.robot, state.link_positions, state.link_rotations))
    radii = np.tile(engine.robot.radii_m, 2)
    assert np.min(ends[:, 2] - radii) == pytest.approx(0.0, abs=1e-9)
    assert np.max(ends[:, 0] + radii) == pytest.approx(0.0, abs=1e-9)


def test_free_fall_follows_gravity(engine_name):
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
    assert fallen[2] == pytest.approx(GRAVITY_M_S2 * time**2 / 2, rel=0.04)  # semi-implicit Euler falls 1/32 too far
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
def test_feet_touch_the_ground_as_often_in_both_engines(body):
    """The default descriptor: a child that tries the policy in one engine should want the same cell in the other."""
    pytest.importorskip("mujoco")
    shares = [np.mean([feet_on_ground(name, BODIES[body], gait) for gait in range(3)]) for name in ENGINES]
    assert shares[0] == pytest.approx(shares[1], abs=0.08)


def feet_on_ground(engine_name: str, text: str, gait: int) -> float:
    """Share of the feet on the ground over 64 control steps of a random sinusoid."""
    engine, rng = engine_of(engine_name, text), np.random.default_rng(gait)
    count, rate = engine.robot.num_joints, rng.uniform(3, 8)
    amplitudes, phases, offsets = (rng.uniform(*span, count) for span in ((0.1, 0.7), (0, 2 * np.pi), (-0.3, 0.3)))
    engine.reset(np.zeros(count))
    touching = []
    for step in range(64):
        engine.step(offsets + amplitudes * np.sin(rate * step * CONTROL_STEP_S + phases))
        touching.append(engine.state().contacts[feet(engine.robot)].mean())
    return float(np.mean(touching))


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


def test_a_start_depends_on_nothing_before(engine_name):
    """Robots that stand, and so are in contact where they start again."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        engine = engine_of(engine_name, str(sample_design(rng)))
        angles = rng.normal(0, 0.05, engine.robot.num_joints)
        engine.reset(angles)
        first = roll(engine, 12)
        for before in range(1, 10):
            engine.reset(angles)
            for _ in range(before):
                engine.step(np.zeros(engine.robot.num_joints))
            engine.reset(angles)
            assert np.array_equal(first, roll(engine, 12)), f"{engine.robot.num_joints} joints, after {before} steps"
        engine.close()


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


KINDS = [f"body({kind} long)" for kind in LIMB_JOINTS] + [
    f"body -{kind}- body" for kind in SPINE_JOINTS if kind != "fixed"
]


@pytest.mark.parametrize("text", KINDS)
def test_step_response_follows_bullets_motor_law(engine_name, text):
    """In the air, an angle of 0.3 rad is reached as v' = v / 2 + 2.4 * error at 240 Hz, to within 0.02 rad."""
    engine = engine_of(engine_name, text)
    targets = np.full(engine.robot.num_joints, 0.3)
    lift(engine, 3.0)
    angle = speed = 0.0
    for _ in range(8):
        engine.step(targets)
        for _ in range(16):
            speed = 0.5 * speed + 2.4 * (0.3 - angle)
            angle += speed / 240
        state = engine.state()
        assert state.joint_angles == pytest.approx(np.full(len(targets), angle), abs=0.02)
        assert np.abs(state.motor_torques).max() <= 1.0 + 1e-9


def test_wheels_follow_bullets_motor_law(engine_name):
    """Target 0.8 asks for 4 rad/s; the position target, one physics step ahead, brakes towards each step's end."""
    model = build_robot(as_design("apr30_wheel: 0 7 6 2 16 8 20"))
    engine = make_engine(engine_name, model, make_terrain("flat"))
    wheels = [model.links[index].kind == "wheel" for index in model.joints]
    lift(engine, 3.0)
    angle = speed = 0.0
    for _ in range(8):
        engine.step(np.where(wheels, 0.8, 0.0))
        target = angle + 4.0 / 240
        for _ in range(16):
            speed += 2.4 * (target - angle) + 0.5 * (4.0 - speed)
            angle += speed / 240
    state = engine.state()
    assert state.joint_angles[wheels] == pytest.approx([angle, angle], abs=0.05)
    assert state.joint_velocities[wheels] == pytest.approx([speed, speed], rel=0.02)


def test_torque_never_passes_the_limit(engine_name):
    engine = engine_of(engine_name, RIDGED)
    largest = 0.0
    for step in range(40):
        engine.step(np.full(engine.robot.num_joints, 1.5 if step % 4 < 2 else -1.5))
        largest = max(largest, np.abs(engine.state().motor_torques).max())
    assert 0.9 < largest <= 1.0 + 1e-9


def test_mirrored_targets_give_a_mirrored_walk(engine_name):
    """Opposite angles on both sides are mirror images: a robot that moves so stays on its line."""
    engine = engine_of(engine_name, WALKER)
    signs = np.array([-1.0 if engine.robot.links[index].mirrored else 1.0 for index in engine.robot.joints])
    for step in range(15):
        engine.step(signs * 0.5 * np.sin(step))
        state = engine.state()
        assert abs(state.base_position[1]) < 0.01
        assert abs(np.arctan2(-state.base_rotation[1, 0], -state.base_rotation[0, 0])) < 0.05


def test_a_dropped_robot_loses_its_energy(engine_name):
    engine = engine_of(engine_name, STANDING)
    rest = np.zeros(engine.robot.num_joints)
    lift(engine, 0.3)
    start = energy(engine)
    energies = []
    for _ in range(60):
        engine.step(rest)
        energies.append(energy(engine))
    assert max(energies) < start * 1.01
    assert energies[-1] < 0.5 * start
    assert np.abs(engine.state().link_velocities).max() < 0.02


def energy(engine: Engine) -> float:
    """Potential and translational kinetic energy, J."""
    state, masses = engine.state(), np.array([link.mass_kg for link in engine.robot.links])
    kinetic = 0.5 * masses @ (state.link_velocities**2).sum(axis=1)
    return float(masses @ state.link_positions[:, 2] * GRAVITY_M_S2 + kinetic)


@pytest.mark.parametrize("terrain", sorted(TERRAINS))
def test_every_terrain_carries_the_robot(engine_name, terrain):
    engine = engine_of(engine_name, WALKER, terrain)
    engine.reset(np.zeros(engine.robot.num_joints))
    rng, touching = np.random.default_rng(0), 0
    for _ in range(40):
        engine.step(rng.uniform(-1.5, 1.5, engine.robot.num_joints))
        state = engine.state()
        touching += state.contacts.any()
    ground = engine.terrain.height_at(*state.link_positions[:, :2].T)
    assert (state.link_positions[:, 2] > ground - 0.03).all()
    assert np.abs(state.link_velocities).max() < 10
    assert touching > 20


def test_ice_is_slippery(engine_name):
    """Pushed at 1 m/s, a robot slides on ice and stops on the floor."""
    slid = {}
    for terrain in ("flat", "frozen_lake"):
        engine = engine_of(engine_name, STANDING, terrain)
        rest = np.zeros(engine.robot.num_joints)
        engine.reset(rest)
        push(engine, 0.5)
        for _ in range(15):
            engine.step(rest)
        slid[terrain] = engine.state().base_position[0] - engine.robot.spawn_position_m[0]
    assert slid["frozen_lake"] > 0.15 > 0.08 > slid["flat"]


def push(engine: Engine, speed_m_s: float) -> None:
    """Gives the whole robot a speed along x."""
    engine._push_base(np.array([speed_m_s, 0.0, 0.0]))


def explode(engine_name: str, count: int, steps: int) -> list[str]:
    """Random bodies under random targets; returns those that went wrong."""
    rng, bad = np.random.default_rng(7), []
    for _ in range(count):
        design = sample_design(rng)
        engine = engine_of(engine_name, str(design))
        for _ in range(steps):
            engine.step(rng.uniform(-1.57, 1.57, engine.robot.num_joints))
            state = engine.state()
            if not (np.isfinite(state.link_positions).all() and np.abs(state.base_velocity).max() < 10):
                bad.append(str(design))
                break
        engine.close()
    return bad


def test_random_bodies_do_not_explode(engine_name):
    assert explode(engine_name, 15, 30) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_random_bodies_do_not_explode(engine_name):
    assert explode(engine_name, 200, 128) == []


def test_close_twice_is_fine(engine_name):
    engine = engine_of(engine_name)
    engine.close()
    engine.close()


def test_unknown_engine_is_named():
    with pytest.raises(UnknownNameError, match=r"pybulet.*pybullet"):
        engine_of("pybulet")
