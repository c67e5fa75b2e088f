"""What is special about the PyBullet engine: RoboGrammar's numbers, and shortcuts that change nothing."""

import numpy as np
import pybullet
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.engine.base import PHYSICS_STEP_S, SUBSTEPS, link_inertia
from robogrammar_env.engine.pybullet import PyBulletEngine
from robogrammar_env.terrain import TERRAINS, make_terrain


def engine_of(text: str, **settings) -> PyBulletEngine:
    return PyBulletEngine(robot(text), make_terrain("flat"), **settings)


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
@pytest.mark.parametrize("merge_mounts", [True, False])
def test_masses_friction_and_damping(text, merge_mounts):
    engine = engine_of(text, merge_mounts=merge_mounts)
    body, client = engine._body, engine._client
    links = range(-1, pybullet.getNumJoints(body, physicsClientId=client))
    infos = [pybullet.getDynamicsInfo(body, index, physicsClientId=client) for index in links]
    assert sum(info[0] for info in infos) == pytest.approx(engine.robot.total_mass_kg)
    assert {info[1] for info in infos} == {0.9}
    joints = [pybullet.getJointInfo(body, index, physicsClientId=client) for index in links if index >= 0]
    assert {joint[6] for joint in joints} == {0.0}  # damping
    ground = engine._terrain_bodies[0]
    assert pybullet.getDynamicsInfo(ground, -1, physicsClientId=client)[1] == 0.5


def test_inertia_is_that_of_bullets_own_shapes():
    engine = engine_of(WALKER, merge_mounts=False)
    for bullet_index, link_index in engine._link_of.items():
        info = pybullet.getDynamicsInfo(engine._body, bullet_index, physicsClientId=engine._client)
        along, across, up = link_inertia(engine.robot.links[link_index])
        assert info[2] == pytest.approx((up, across, along), rel=1e-6)


def test_parameters_are_those_of_parity():
    engine = engine_of(WALKER)
    parameters = pybullet.getPhysicsEngineParameters(physicsClientId=engine._client)
    assert parameters["fixedTimeStep"] == pytest.approx(SUBSTEPS * PHYSICS_STEP_S)
    assert (parameters["numSubSteps"], parameters["numSolverIterations"]) == (16, 10)


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_one_call_equals_sixteen_single_steps(text):
    fast, slow = engine_of(text), engine_of(text)
    pybullet.setPhysicsEngineParameter(fixedTimeStep=PHYSICS_STEP_S, numSubSteps=0, physicsClientId=slow._client)
    slow._motor_arguments["forces"] = [1.0] * slow.robot.num_joints
    rng = np.random.default_rng(0)
    speeds = []
    for _ in range(30):
        targets = rng.uniform(-1.5, 1.5, fast.robot.num_joints)
        fast.step(targets)
        for _ in range(SUBSTEPS):
            slow.step(targets)
            speeds.append(slow.state().base_velocity[0])
    assert np.array_equal(fast.state().link_positions, slow.state().link_positions)
    moved = fast.state().base_position[0] - fast.robot.spawn_position_m[0]
    assert moved / (len(speeds) * PHYSICS_STEP_S) == pytest.approx(np.mean(speeds), abs=1e-9)


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_merged_mounts_move_as_separate_ones(text):
    """In the air, with a converged solver, both ways are the same mechanics."""
    states = []
    for merge_mounts in (True, False):
        engine = engine_of(text, merge_mounts=merge_mounts, solver_iterations=300)
        engine._place_base(np.array([0.0, 0.0, 5.0]))
        rng = np.random.default_rng(1)
        for _ in range(12):
            engine.step(rng.uniform(-0.4, 0.4, engine.robot.num_joints))
        states.append(engine.state())
    assert states[0].link_positions == pytest.approx(states[1].link_positions, abs=1e-6)
    assert states[0].link_velocities == pytest.approx(states[1].link_velocities, abs=1e-5)


def test_motor_settles_to_bullets_law():
    """A free wheel-like joint turns with 4.8 rad/s per rad of error, as long as the torque suffices."""
    engine = engine_of("body(swing)")
    engine._place_base(np.array([0.0, 0.0, 5.0]))
    errors, speeds = [], []
    for _ in range(12):
        before = engine.state().joint_angles[0]
        engine.step(np.full(2, 0.5))
        errors.append(0.5 - before)
        speeds.append(engine.state().joint_velocities[0])
    decay = errors[8] / errors[4]
    assert decay == pytest.approx(np.exp(-4.8 * 4 / 15), rel=0.1)


@pytest.mark.parametrize("name", sorted(TERRAINS))
def test_bullets_ground_is_as_high_as_the_terrain_says(name):
    terrain = make_terrain(name)
    engine = PyBulletEngine(robot(WALKER), terrain)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.3, 12, 200), rng.uniform(-0.9, 0.9, 200)
    starts, ends = np.stack([x, y, np.full(200, 5.0)], axis=1), np.stack([x, y, np.full(200, -5.0)], axis=1)
    hits = pybullet.rayTestBatch(starts.tolist(), ends.tolist(), physicsClientId=engine._client)
    found = np.array([hit[3][2] for hit in hits])
    tolerance = 0.02 if terrain.heightfield is not None else 1e-6  # Bullet cuts each cell into two triangles
    assert np.median(np.abs(found - terrain.height_at(x, y))) < tolerance
    assert np.mean(np.abs(found - terrain.height_at(x, y)) < 3 * tolerance) > 0.97
