"""What is special about the MuJoCo engine: the same body and ground as in Bullet."""

import numpy as np
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.engine.base import link_inertia
from robogrammar_env.engine.pybullet import PyBulletEngine
from robogrammar_env.terrain import TERRAINS, make_terrain

mujoco = pytest.importorskip("mujoco")
from robogrammar_env.engine.mujoco import MuJoCoEngine  # noqa: E402


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_masses_and_inertias(text):
    engine = MuJoCoEngine(robot(text), make_terrain("flat"))
    model = engine._model
    assert model.body_mass.sum() == pytest.approx(engine.robot.total_mass_kg)
    for body, link in zip(engine._bodies, engine.robot.links, strict=True):
        assert model.body_mass[body] == pytest.approx(link.mass_kg)
        assert np.sort(model.body_inertia[body]) == pytest.approx(np.sort(link_inertia(link)))


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_both_engines_agree_for_a_while(text):
    """The same gait for 2/3 s: angles to 0.05 rad (root mean square), the base to 3 cm."""
    model, terrain = robot(text), make_terrain("flat")
    engines = [PyBulletEngine(model, terrain, solver_iterations=50), MuJoCoEngine(model, terrain)]
    rng = np.random.default_rng(3)
    phases, sizes = rng.uniform(0, 6, model.num_joints), rng.uniform(0.2, 0.6, model.num_joints)
    for step in range(10):
        for engine in engines:
            engine.step(sizes * np.sin(2 * np.pi * step / 15 + phases))
    bullet, other = (engine.state() for engine in engines)
    assert np.sqrt(np.mean((bullet.joint_angles - other.joint_angles) ** 2)) < 0.05
    assert np.abs(bullet.base_position - other.base_position).max() < 0.03


@pytest.mark.parametrize("name", sorted(TERRAINS))
def test_ground_is_as_high_as_the_terrain_says(name):
    terrain = make_terrain(name)
    engine = MuJoCoEngine(robot(WALKER), terrain)
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(0.3, 12, 200), rng.uniform(-0.9, 0.9, 200)], axis=1)
    geom, normal = np.zeros(1, dtype=np.int32), np.zeros(3)
    down, groups = np.array([0.0, 0.0, -1.0]), np.ones(6, dtype=np.uint8)
    found = []
    for x, y in points:
        start = np.array([x, y, 5.0])
        found.append(5.0 - mujoco.mj_ray(engine._model, engine._data, start, down, groups, 1, -1, geom, normal))
    tolerance = 0.02 if terrain.heightfield is not None else 1e-6
    error = np.abs(np.array(found) - terrain.height_at(*points.T))
    assert np.median(error) < tolerance
    assert np.mean(error < 3 * tolerance) > 0.97
