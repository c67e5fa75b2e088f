"""The Gymnasium environment, seen by clients that nobody here wrote."""

import warnings

import gymnasium
import numpy as np
import pytest
from bodies import FLAT, WALKER
from gymnasium.utils.env_checker import check_env

import robogrammar_env  # noqa: F401  registers the environment
from robogrammar_env.design import as_design
from robogrammar_env.engine.base import ENGINES
from robogrammar_env.errors import RobotError, SimulationDiverged
from robogrammar_env.terrain import TERRAINS


@pytest.mark.parametrize(
    "settings",
    [
        {"design": FLAT, "max_joints": 14},
        {"terrain": "flat,ridged", "engine": "mujoco"},
        *({"terrain": terrain, "engine": engine} for terrain in TERRAINS for engine in ENGINES),
    ],
)
def test_gymnasium_checker_has_no_complaint(settings):
    if settings.get("engine") == "mujoco":
        pytest.importorskip("mujoco")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        environment = gymnasium.make("RoboGrammar-v0", **settings)
        check_env(environment.unwrapped)


@pytest.mark.parametrize(
    "design", [FLAT, [int(rule) for rule in FLAT.split()], as_design(FLAT), as_design(FLAT).graph()]
)
def test_design_in_any_form(design):
    environment = gymnasium.make("RoboGrammar-v0", design=design)
    assert environment.action_space.shape == (11,)


def test_padding_is_masked_and_does_nothing():
    plain = gymnasium.make("RoboGrammar-v0", design=WALKER)
    padded = gymnasium.make("RoboGrammar-v0", design=WALKER, max_joints=12)
    (small, _), (large, _) = plain.reset(seed=1), padded.reset(seed=1)
    assert large["mask"].tolist() == [1] * 9 + [0] * 3
    assert large["joints"].shape == (12, 38) and not large["joints"][9:].any()
    action = np.linspace(-1, 1, 9, dtype=np.float32)
    small = plain.step(action)[0]
    large = padded.step(np.concatenate([action, np.ones(3, np.float32)]))[0]
    assert np.array_equal(small["joints"], large["joints"][:9])
    with pytest.raises(RobotError, match="max_joints=4"):
        gymnasium.make("RoboGrammar-v0", design=WALKER, max_joints=4)


def test_divergence_ends_the_episode_without_a_score(monkeypatch):
    environment = gymnasium.make("RoboGrammar-v0")
    before, _ = environment.reset(seed=0)

    def diverge(action):
        raise SimulationDiverged("gone")

    monkeypatch.setattr(environment.unwrapped.simulation, "step", diverge)
    after, reward, terminated, truncated, info = environment.step(environment.action_space.sample())
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info == {"diverged": 1.0, "reason": "gone"}
    assert np.array_equal(before["joints"], after["joints"])


@pytest.mark.parametrize("terrain", ["flat", "ridged", "gap"])
@pytest.mark.parametrize("engine", ENGINES)
def test_stock_stable_baselines_trains(engine, terrain):
    ppo = pytest.importorskip("stable_baselines3").PPO
    pytest.importorskip(engine)
    environment = gymnasium.make("RoboGrammar-v0", engine=engine, terrain=terrain)
    model = ppo("MultiInputPolicy", environment, n_steps=144, batch_size=72, n_epochs=2, seed=0)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(288)
    after = model.policy.state_dict()
    assert any(not value.equal(before[name]) for name, value in after.items())
    assert all(value.isfinite().all() for value in after.values())
