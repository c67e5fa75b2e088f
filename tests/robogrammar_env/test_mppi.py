"""RoboGrammar's planner: known answers of one update, its seeds, and that it makes a published robot run."""

import numpy as np
import pytest
from bodies import FLAT, WALKER, robot

from robogrammar_env.errors import RobotError, SimulationDiverged
from robogrammar_env.mppi import (
    LOW_PASS,
    MPPIPlanner,
    MPPISettings,
    filtered_noise,
    plan_episode,
    repeated_history,
    sample_centres,
    sample_weights,
)
from robogrammar_env.simulation import EpisodeSettings, Simulation
from robogrammar_env.terrain import make_terrain

FEW = MPPISettings(first_samples=8, samples=4, horizon=4)


class Slider:
    """A fake engine: one joint, whose target is the base's speed in m/s; the base never turns."""

    def __init__(self) -> None:
        self.robot, self.terrain = robot("body -roll- body"), make_terrain("flat")
        self.x_m, self.seen = 0.0, []

    def step(self, targets_rad):
        self.x_m += targets_rad[0] / 15
        self.seen.append(targets_rad[0])

    def base_pose(self):
        return np.array([self.x_m, 0.0, 0.0]), np.diag([-1.0, -1.0, 1.0])

    def save(self):
        return self.x_m

    def restore(self, handle):
        self.x_m = handle

    def discard(self, handle):
        pass


def simulation(engine="mujoco", steps=6, body=WALKER):
    if engine == "mujoco":
        pytest.importorskip("mujoco")
    return Simulation(body, engine=engine, settings=EpisodeSettings(control_steps=steps))


def test_weights_are_a_softmax_of_the_returns():
    np.testing.assert_allclose(sample_weights(np.log([1.0, 2.0, 5.0]), 1.0), [0.125, 0.25, 0.625])
    np.testing.assert_allclose(sample_weights(np.log([1.0, 2.0, 5.0]), 2.0), np.array([1, 4, 25]) / 30)
    np.testing.assert_allclose(sample_weights(np.array([1e4, -np.inf, 1e4]), 1.0), [0.5, 0.0, 0.5])


def test_filter_passes_slow_waves_and_stops_fast_ones():
    def gain(frequency_hz):
        return abs(np.sum(LOW_PASS * np.exp(2j * np.pi * frequency_hz / 15 * np.arange(5))))

    assert gain(0) == pytest.approx(1.22232)
    assert gain(1) > 1 > gain(2) > 0.6
    assert max(gain(4), gain(6), gain(7.5)) < 0.15


def test_noise_is_filtered_white_noise():
    noise = filtered_noise(np.random.default_rng(0), np.array([0.25, 0.05]), 20000, 2)
    assert noise.shape == (2, 20000, 2)
    norm = np.sqrt(LOW_PASS @ LOW_PASS)
    np.testing.assert_allclose(noise.std(axis=1), np.array([[0.25], [0.05]]) * norm * np.ones((2, 2)), rtol=0.05)
    neighbours = np.mean(noise[0, 1:, 0] * noise[0, :-1, 0]) / np.mean(noise[0, :, 0] ** 2)
    assert neighbours == pytest.approx(LOW_PASS[1:] @ LOW_PASS[:-1] / norm**2, abs=0.05)


def test_history_is_repeated_and_faded_in_over_the_plan():
    history, plan = np.array([[1.0], [2.0], [3.0], [4.0]]), np.full((4, 1), 8.0)
    np.testing.assert_allclose(repeated_history(history, plan, 4)[:, 0], [6.25, 5.0, 4.25, 4.0])
    np.testing.assert_allclose(repeated_history(history, plan, 3)[:, 0], [6.5, 5.5, 5.0, 2.0])


def test_every_other_sample_repeats_history_with_periods_from_half_the_horizon_on():
    history = np.arange(4.0)[:, None]
    centres, repeats = sample_centres(np.zeros((4, 1)), history, 7)
    assert repeats.tolist() == [True, False, True, False, True, False, True]
    assert not centres[1::2].any()
    assert centres[::2, -1, 0].tolist() == [1.0, 3.0, 1.0, 3.0]  # periods 3, 4, 3, 4


def test_update_is_the_weighted_mean_of_what_was_tried():
    engine = Slider()
    planner = MPPIPlanner(engine, MPPISettings(horizon=2, discount=0.5))
    planner.update(3)
    tried = np.array(engine.seen).reshape(3, 2)
    returns = 16 * ((4 + 2 * tried[:, 0]) + 0.5 * (4 + 2 * tried[:, 1]))
    np.testing.assert_allclose(planner.plan[:, 0], sample_weights(returns, 1.0) @ tried)
    assert engine.x_m == 0.0


def test_advance_hands_out_the_first_input_and_remembers_it():
    planner = MPPIPlanner(Slider(), MPPISettings(horizon=3))
    planner.plan = np.array([[1.0], [2.0], [3.0]])
    assert planner.advance().tolist() == [1.0] and planner.advance().tolist() == [2.0]
    assert planner.plan[:, 0].tolist() == [3.0, 0.0, 0.0]
    assert planner.history[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_sequences_that_diverge_have_no_weight_and_if_all_do_there_is_no_plan():
    engine = Slider()
    planner = MPPIPlanner(engine, MPPISettings(horizon=2, warm_start_std_rad=1e6))
    planner.update(8)
    assert np.abs(planner.plan).max() < 1  # only the history samples, with their small noise, are left
    planner = MPPIPlanner(engine, MPPISettings(horizon=2, warm_start_std_rad=1e6, history_std_rad=1e6))
    with pytest.raises(SimulationDiverged, match="in all of 8 planned"):
        planner.update(8)


def test_targets_can_be_bounded():
    engine = Slider()
    MPPIPlanner(engine, MPPISettings(horizon=4, warm_start_std_rad=3.0, max_target_rad=0.5)).update(8)
    assert np.abs(engine.seen).max() == 0.5


def test_horizon_is_the_terrains():
    engine = Slider()
    assert MPPIPlanner(engine).horizon == 16
    engine.terrain = make_terrain("wall")
    assert MPPIPlanner(engine).horizon == 32


@pytest.mark.parametrize("setting", [{"samples": 0}, {"horizon": 1}, {"first_samples": -1}])
def test_bad_settings_are_refused(setting):
    with pytest.raises(RobotError, match=f"{next(iter(setting))} must be at least"):
        MPPISettings(**setting)


@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_same_seed_plans_the_same_episode_and_another_one_another(engine):
    one, other, third = (plan_episode(simulation(engine), settings=FEW, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.targets_rad, other.targets_rad)
    assert one.info == other.info
    assert not np.allclose(one.targets_rad, third.targets_rad)


@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_trajectory_replays_without_the_planner(engine):
    """Planning leaves no trace in the simulator: the inputs alone give the same motion."""
    played = simulation(engine)
    found = plan_episode(played, settings=FEW)
    assert len(found.observations) == len(found.targets_rad) == 6
    again = simulation(engine)
    again.reset(None, training=False)
    steps = [again.drive(targets) for targets in found.targets_rad]
    assert steps[-1].info == pytest.approx(found.info)
    np.testing.assert_allclose(steps[0].observation.joints, found.observations[1].joints, atol=1e-6)
    np.testing.assert_allclose(found.observations[1].joints[:, 2], found.actions[0], atol=1e-6)


def test_actions_within_the_range_do_the_same_as_targets():
    found = plan_episode(simulation(), settings=FEW)
    again = simulation()
    again.reset(None, training=False)
    assert np.abs(found.actions).max() < 1
    for action in found.actions:
        step = again.step(action)
    assert step.info == pytest.approx(found.info)


def test_published_robot_runs():
    found = plan_episode(simulation(steps=40, body=FLAT), settings=MPPISettings(first_samples=64, samples=16))
    assert found.objective > 4.3
    assert found.speed_m_s > 0.2
