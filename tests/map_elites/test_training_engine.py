"""Robots may train in another engine than the one that scores them."""

from __future__ import annotations

import numpy as np
import pytest

from map_elites.contests import EvaluationOrder
from map_elites.schedule import make_plan
from map_elites.trainer import settings, shared_crew
from map_elites.trainer.bodies import body_spec, make_body
from map_elites.trainer.settings import EnvironmentConfig, TrainConfig
from robogrammar_env.design import as_design

DESIGN = as_design("body(swing, obtuse_lift) -lift- body(swing, obtuse_lift)")


def engines(**environment) -> tuple[str, str]:
    """(engine that scores, engine that trains) of a body under these settings."""
    config = TrainConfig(environment=EnvironmentConfig(**environment))
    return tuple(body_spec(0, DESIGN, config, training=training).payload.engine for training in (False, True))


def test_auto_trains_in_the_fast_engine_and_scores_in_the_named_one():
    assert engines() == ("pybullet", "mujoco")
    assert engines(engine="mujoco") == ("mujoco", "mujoco")


def test_auto_without_the_fast_engine_trains_where_it_scores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    assert engines() == ("pybullet", "pybullet")


def test_a_named_training_engine_is_used():
    assert engines(training_engine="pybullet") == ("pybullet", "pybullet")


def test_engine_settings_belong_to_the_engine_that_scores():
    config = TrainConfig(environment=EnvironmentConfig(engine_settings={"solver_iterations": 50}))
    assert body_spec(0, DESIGN, config).payload.engine_settings == {"solver_iterations": 50}
    assert body_spec(0, DESIGN, config, training=True).payload.engine_settings == {}


def swing(seed: int, action: float) -> np.ndarray:
    """The joints' angles after ten control steps of a body that moves by the gait of a seed."""
    body = make_body(body_spec(0, DESIGN, TrainConfig(), swings=True))
    body.reset(seed, training=False)
    for _ in range(10):
        step = body.step(np.full(body.num_joints, action))
    body.close()
    return step.observation.joints


def test_a_swinging_body_follows_the_gait_of_its_seed_whatever_it_is_told():
    pytest.importorskip("mujoco")
    assert body_spec(0, DESIGN, TrainConfig(), swings=True).payload.engine == "mujoco"
    assert (swing(1, 0.0) == swing(1, 1.0)).all() and np.abs(swing(1, 0.0) - swing(2, 0.0)).max() > 0.1


def test_whatever_has_a_cell_is_from_the_engine_that_scores(monkeypatch: pytest.MonkeyPatch):
    """A child of a litter wants a cell; in another engine it would often be another one. A screening has no cells."""
    pytest.importorskip("mujoco")
    orders = []

    class Supervisor:
        def __init__(self, *parts, **settings):
            self.evaluate = orders.append

    monkeypatch.setattr(shared_crew, "_supervisor_class", lambda config: Supervisor)
    config = TrainConfig()
    plan = make_plan(100_000, 1, config.evolution, config.evaluation, episode_steps=128)
    crew = shared_crew.SharedCrew(config, plan, lambda number: DESIGN)
    for purpose in ("contest", "litter", "screening"):
        crew.carry_out(EvaluationOrder(0, (0,), (0,), purpose))
    plans = [order.bodies[0].payload for order in orders]
    assert [plan.engine for plan in plans] == ["pybullet", "pybullet", "mujoco"]
    assert [plan.swings for plan in plans] == [False, False, True]
