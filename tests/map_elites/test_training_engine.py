"""Robots may train in another engine than the one that scores them."""

from __future__ import annotations

import numpy as np
import pytest

from map_elites.trainer import settings
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
    config = TrainConfig(environment=EnvironmentConfig(engine_settings={"solver_iterations": 50.0}))
    assert body_spec(0, DESIGN, config).payload.engine_settings == {"solver_iterations": 50.0}
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
