"""Episodes: length, seeds, early stops, scores, descriptors."""

import dataclasses

import numpy as np
import pytest
from bodies import FLAT, STANDING, WALKER

from robogrammar_env.behaviour import DESCRIPTORS, feet
from robogrammar_env.errors import NoJointsError, RobotError, SimulationDiverged, UnknownNameError
from robogrammar_env.reward import Motion, RewardWeights, training_reward
from robogrammar_env.simulation import EPISODE_S, EpisodeSettings, Simulation


def run(simulation: Simulation, seed: int | None, *, training: bool, action_seed: int | None = None):
    """Plays an episode with zero or random actions; returns its steps."""
    rng = None if action_seed is None else np.random.default_rng(action_seed)
    simulation.reset(seed, training=training)
    steps = []
    while True:
        action = np.zeros(simulation.num_joints) if rng is None else rng.uniform(-1, 1, simulation.num_joints)
        steps.append(simulation.step(action))
        if steps[-1].terminated or steps[-1].truncated:
            return steps


def test_a_statue_scores_four_and_nearly_no_speed():
    steps = run(Simulation(STANDING), None, training=False)
    info = steps[-1].info
    assert len(steps) == info["steps"] == 128
    assert pytest.approx(8.533, abs=1e-3) == EPISODE_S
    assert info["robogrammar_objective"] == pytest.approx(4.0, abs=0.05)
    assert abs(info["speed_m_s"]) < 0.01
    assert info["ground_contact_share"] > 0.9
    assert info["body_height_ratio"] == pytest.approx(1.0, abs=0.1)
    assert info["lateral_drift_m"] < 0.02


def test_info_comes_once_and_names_every_descriptor():
    steps = run(Simulation(WALKER), 3, training=False, action_seed=0)
    assert all(not step.info for step in steps[:-1])
    info = steps[-1].info
    assert set(info) == {"speed_m_s", "speed_m_s_on_flat", "robogrammar_objective", "steps", *DESCRIPTORS}
    assert all(isinstance(value, float) and np.isfinite(value) for value in info.values())


def test_speed_is_net_displacement_over_time():
    simulation = Simulation(FLAT)
    simulation.reset(1, training=False)
    start = simulation.state.base_position[0]
    rng = np.random.default_rng(0)
    step = simulation.step(rng.uniform(-1, 1, simulation.num_joints))
    while not step.truncated:
        step = simulation.step(rng.uniform(-1, 1, simulation.num_joints))
    assert step.info["speed_m_s"] == pytest.approx((simulation.state.base_position[0] - start) / EPISODE_S)


def test_same_seed_same_episode_and_other_seed_another():
    simulation, again = Simulation(WALKER), Simulation(WALKER)
    first, other = (run(simulation, seed, training=False, action_seed=0)[-1].info for seed in (7, 8))
    assert run(simulation, 7, training=False, action_seed=0)[-1].info == first
    assert run(again, 7, training=False, action_seed=0)[-1].info == first
    assert other != first


def test_evaluation_runs_to_the_end_on_its_back():
    settings = EpisodeSettings(tilt_limit_rad=-1.0)  # any posture counts as fallen
    simulation = Simulation(WALKER, settings=settings)
    assert len(run(simulation, 0, training=False)) == 128
    training = run(simulation, 0, training=True)
    assert training[-1].terminated and not training[-1].truncated
    assert len(training) == 8  # more than 0.5 s at 15 Hz


def test_training_without_progress_is_cut_not_ended():
    impatient = Simulation(STANDING, settings=EpisodeSettings(stall_progress=0.02))
    steps = run(impatient, 0, training=True)
    assert steps[-1].truncated and not steps[-1].terminated
    assert len(steps) == 45  # 3 s
    assert len(run(Simulation(STANDING), 0, training=True)) == 128


def test_divergence_is_an_error_not_a_score(monkeypatch):
    simulation = Simulation(WALKER)
    simulation.reset(0, training=True)
    state = simulation.engine.state()
    broken = dataclasses.replace(state, base_velocity=np.array([np.nan, 0, 0]))
    monkeypatch.setattr(simulation.engine, "state", lambda: broken)
    with pytest.raises(SimulationDiverged, match="step 1"):
        simulation.step(np.zeros(simulation.num_joints))


@pytest.mark.parametrize("action", [np.zeros(3), np.full(9, np.nan), np.zeros((1, 9))])
def test_bad_actions_are_refused(action):
    simulation = Simulation(WALKER)
    simulation.reset(0, training=True)
    with pytest.raises(ValueError, match="action must"):
        simulation.step(action)


def test_actions_are_clipped():
    ends = []
    for size in (1.0, 5.0):
        simulation = Simulation(WALKER)
        simulation.reset(0, training=True)
        ends.append(simulation.step(np.full(9, size)).observation)
    assert np.array_equal(ends[0].joints, ends[1].joints)


def test_unfit_bodies_and_unknown_names():
    with pytest.raises(NoJointsError):
        Simulation("body")
    with pytest.raises(UnknownNameError):
        Simulation(WALKER, terrain="moon")
    with pytest.raises(UnknownNameError):
        Simulation(WALKER, engine="ode")


def test_feet_are_the_last_leg_links():
    simulation = Simulation(WALKER)
    assert {simulation.robot.links[index].depth for index in feet(simulation.robot)} == {2}
    assert len(feet(simulation.robot)) == 4
    assert len(feet(Simulation("body -lift- body").robot)) == 2


def test_reward_by_hand():
    motion = Motion(
        forward_m_s=0.5, sideways_m_s=-0.2, relative_power=0.1, action_change=0.4, tilt_rad=0.3, off_course=0.5
    )
    expected = 0.5 - 0.3 * 0.2 - 0.05 * 0.1 - 0.02 * 0.4 - 0.05 * 0.09 - 0.4 * 0.5
    weights = RewardWeights(forward=1.0, sideways=0.3, power=0.05, jerk=0.02, tilt=0.05, heading=0.4)
    assert training_reward(weights, motion) == pytest.approx(expected)
    fast = dataclasses.replace(motion, forward_m_s=9.0)
    assert training_reward(RewardWeights(sideways=0, power=0, jerk=0, tilt=0, heading=0), fast) == 3.0


def test_a_robot_at_rest_is_on_course_and_a_turned_one_is_not():
    simulation = Simulation(WALKER, engine="mujoco")
    simulation.reset(None, training=False)
    still = np.zeros(simulation.num_joints)
    assert simulation._motion(simulation.state, still).off_course == pytest.approx(0, abs=1e-6)
    quarter_turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    simulation.state.base_rotation = quarter_turn @ simulation.state.base_rotation
    assert simulation._motion(simulation.state, still).off_course == pytest.approx(1, abs=1e-6)


def test_a_seed_picks_the_terrain_and_the_reference_is_the_first_one():
    simulation = Simulation(WALKER, terrain="flat, ridged,gap", engine="mujoco")
    seen = []
    for seed in (None, 3, 4, 5, 7):
        observation = simulation.reset(seed, training=False)
        seen.append((simulation.terrain.name, simulation.engine.terrain.name, len(observation.globals)))
    assert seen == [(name, name, 13 + 24) for name in ("flat", "flat", "ridged", "gap", "ridged")]
    info = run(simulation, 5, training=False)[-1].info
    assert info["speed_m_s_on_gap"] == info["speed_m_s"] and "speed_m_s_on_flat" not in info


@pytest.mark.parametrize(
    ("terrain", "message"),
    [
        ("flat,ridge", "unknown terrain 'ridge', did you mean 'ridged'"),
        ("flat,", "unknown terrain ''"),
        ("gap,flat,gap", "'gap' stands twice"),
    ],
)
def test_terrains_are_checked_by_name(terrain, message):
    with pytest.raises(RobotError, match=message):
        Simulation(WALKER, terrain=terrain)
