"""Long rollouts on every terrain: a body with 24 joints, one with 3, and one that falls at once."""

import numpy as np
import pytest

from robogrammar_env.simulation import Simulation
from robogrammar_env.terrain import TERRAINS

BODIES = {
    "24 joints": "body(swing, obtuse_lift, backwards_lift, swing, obtuse_lift, backwards_lift, swing, swing,"
    " obtuse_lift, backwards_lift, swing, swing)",
    "3 joints": "body(swing long) -lift- body",
    "falls": "body(backwards_lift long, backwards_lift long)",
}


def survive(engine: str, body: str, terrain: str, steps: int) -> None:
    """Random actions over many episodes; every observation and reward is finite."""
    if engine == "mujoco":
        pytest.importorskip("mujoco")
    simulation, rng = Simulation(BODIES[body], terrain=terrain, engine=engine), np.random.default_rng(0)
    over, episode = True, 0
    for _ in range(steps):
        if over:
            simulation.reset(episode, training=True)
            episode += 1
        step = simulation.step(rng.uniform(-1, 1, simulation.num_joints))
        over = step.terminated or step.truncated
        assert np.isfinite(step.observation.joints).all()
        assert np.isfinite(step.observation.globals).all()
        assert np.isfinite(step.reward)
    simulation.close()


@pytest.mark.parametrize("terrain", ["flat", "ridged", "hill"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_short_runs_survive(engine, body, terrain):
    survive(engine, body, terrain, 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("terrain", sorted(TERRAINS))
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_ten_thousand_steps_survive(engine, body, terrain):
    survive(engine, body, terrain, 10_000)
