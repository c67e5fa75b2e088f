"""Episodes of one body: reset, step, observe, reward. The core of the environment and of training workers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from robogrammar_env.behaviour import EpisodeRecord
from robogrammar_env.controllers import Controller
from robogrammar_env.design import as_design
from robogrammar_env.engine.base import CONTROL_STEP_S, GRAVITY_M_S2, Engine, RobotState, make_engine
from robogrammar_env.errors import SimulationDiverged
from robogrammar_env.observation import ACTION_RANGE_RAD, Observation, body_frame, ground_height, observe
from robogrammar_env.reward import Motion, RewardWeights, training_reward
from robogrammar_env.robot import build_robot, check_robot
from robogrammar_env.robot_model import RobotModel
from robogrammar_env.terrain import make_terrain, terrain_names

CONTROL_STEPS = 128
EPISODE_S = CONTROL_STEPS * CONTROL_STEP_S
MAX_SPEED_M_S = 10.0


class Step(NamedTuple):
    """One control step's outcome. `info` is filled at the end of an episode: flat floats by name."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, float]


@dataclass(frozen=True)
class EpisodeSettings:
    """When episodes start and stop. The early stops hold in training only; an evaluation always runs to the end.

    Attributes:
        control_steps: length of a full episode.
        reset_noise_rad: standard deviation of the joint angles at the start.
        tilt_limit_rad: a base that leans more than this ...
        tilt_hold_s: ... for this long ends the episode (terminated).
        stall_window_s: after this time, an episode is cut (truncated) where the last such window ...
        stall_progress: ... brought the base forward by less than this share of the body's size L; None never cuts.
    """

    control_steps: int = CONTROL_STEPS
    reset_noise_rad: float = 0.05
    tilt_limit_rad: float = math.pi / 2
    tilt_hold_s: float = 0.5
    stall_window_s: float = 3.0
    stall_progress: float | None = None


class Simulation:
    """One body in one engine, on one terrain or on several in turn: an episode's seed picks its terrain.

    Args:
        body: a robot model, or whatever `as_design` reads.
        terrain: name of the terrain, or several names with commas between them.
        engine: name of the engine.
        settings: when episodes start and stop.
        reward: weights of the training reward.
        terrain_samples: whether observations have ground heights; by default where a terrain is not flat.
        engine_settings: keyword arguments of the engine.

    Raises:
        NoJointsError, SelfCollisionError: the body cannot be trained.
        UnknownNameError: there is no such terrain or engine.
    """

    def __init__(
        self,
        body: Any,
        *,
        terrain: str = "flat",
        engine: str = "pybullet",
        settings: EpisodeSettings | None = None,
        reward: RewardWeights | None = None,
        terrain_samples: bool | None = None,
        engine_settings: dict[str, Any] | None = None,
    ) -> None:
        self.robot = body if isinstance(body, RobotModel) else build_robot(as_design(body))
        check_robot(self.robot)
        self.frame = body_frame(self.robot)
        self.description = self.frame.description
        self.settings, self.reward = settings or EpisodeSettings(), reward or RewardWeights()
        self._terrain_names, self._terrain_seed = terrain_names(terrain), 0
        self.terrain = make_terrain(self._terrain_names[0])
        self.terrain_samples = needs_samples(self._terrain_names) if terrain_samples is None else terrain_samples
        self._engine_name, self._engine_settings = engine, engine_settings or {}
        self.engine: Engine = self._make_engine()
        self._full_power_w = self.robot.total_mass_kg * GRAVITY_M_S2 * self.frame.speed_m_s

    @property
    def num_joints(self) -> int:
        """Actuated joints of the body."""
        return self.robot.num_joints

    def reset(self, seed: int | None, *, training: bool) -> Observation:
        """Starts an episode.

        Args:
            seed: draws the joint angles at the start and the layout of the terrain, and picks the terrain: number
                `seed % n` of n. None stands for no noise and layout 0 of the first one, as RoboGrammar does it.
            training: allows early stops.
        """
        self._use_terrain(seed or 0)
        angles = np.zeros(self.num_joints)
        if seed is not None:
            angles = np.random.default_rng(seed).normal(0.0, self.settings.reset_noise_rad, self.num_joints)
        self.engine.reset(angles)
        self.state = self.engine.state()
        self._record = EpisodeRecord(self.robot, self.terrain.weights, self.state)
        self._training, self._tilted_s = training, 0.0
        self._places: deque[float] = deque([self.state.base_position[0]], self._window_steps() + 1)
        self._action = np.zeros(self.num_joints)
        return self._observe()

    def step(self, action: np.ndarray) -> Step:
        """Moves one control step, 1/15 s.

        Args:
            action: (n,) in [-1, 1], clipped here; 1 is a target of 90 degrees, mirrored on the other side of the body.

        Raises:
            ValueError: the action has the wrong shape or is not finite.
            SimulationDiverged: the physics went to infinity; there is no score.
        """
        action = self._checked(action)
        return self._advance(self.frame.signs * action * ACTION_RANGE_RAD, action)

    def drive(self, targets_rad: np.ndarray) -> Step:
        """Moves one control step with joint targets of any size, in the model's order and without mirroring.

        Args:
            targets_rad: (n,), finite.

        Raises:
            SimulationDiverged: the physics went to infinity; there is no score.
        """
        return self._advance(targets_rad, self.frame.signs * targets_rad / ACTION_RANGE_RAD)

    def _advance(self, targets_rad: np.ndarray, action: np.ndarray) -> Step:
        before = self.state
        self.engine.step(targets_rad)
        self.state = self._checked_state(self.engine.state())
        motion = self._motion(before, action)
        self._action = action
        observation = self._observe()
        self._record.add(self.state, self.height_m)
        self._places.append(self.state.base_position[0])
        terminated = self._training and self._has_fallen(motion.tilt_rad)
        truncated = not terminated and (self._is_over() or (self._training and self._is_stalled()))
        info = self._summary() if terminated or truncated else {}
        return Step(observation, training_reward(self.reward, motion), terminated, truncated, info)

    def close(self) -> None:
        """Frees the simulator."""
        self.engine.close()

    @property
    def height_m(self) -> float:
        """Height of the base's centre above the ground under it."""
        position = self.state.base_position
        return float(position[2] - ground_height(self.terrain, position))

    def _summary(self) -> dict[str, float]:
        """The finished episode by name; its speed stands there a second time, under the terrain's name."""
        summary = self._record.summary()
        return {**summary, f"speed_m_s_on_{self.terrain.name}": summary["speed_m_s"]}

    def _make_engine(self) -> Engine:
        return make_engine(self._engine_name, self.robot, self.terrain, **self._engine_settings)

    def _use_terrain(self, seed: int) -> None:
        if seed == self._terrain_seed:
            return
        self._terrain_seed = seed
        terrain = make_terrain(self._terrain_names[seed % len(self._terrain_names)], seed=seed)
        if terrain != self.terrain:
            self.terrain = terrain
            self.engine.close()
            self.engine = self._make_engine()

    def _observe(self) -> Observation:
        return observe(self.frame, self.state, self._action, self.terrain, terrain_samples=self.terrain_samples)

    def _checked(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, dtype=float)
        if action.shape != (self.num_joints,):
            raise ValueError(f"action must have shape ({self.num_joints},), one value a joint, got {action.shape}")
        if not math.isfinite(np.add.reduce(action)):
            raise ValueError(f"action must be finite, got {action}")
        return action.clip(-1.0, 1.0)

    def _checked_state(self, state: RobotState) -> RobotState:
        total = np.add.reduce(state.link_positions, None) + np.add.reduce(state.joint_velocities)
        x, y, z = state.base_velocity.tolist()
        is_slow = abs(x) <= MAX_SPEED_M_S and abs(y) <= MAX_SPEED_M_S and abs(z) <= MAX_SPEED_M_S  # false for NaN
        if not (is_slow and math.isfinite(total)):
            speed = float(np.abs(state.base_velocity).max())
            raise SimulationDiverged(
                f"the physics diverged in control step {self._record.steps + 1}: base speed {speed:.3g} m/s"
            )
        return state

    def _motion(self, before: RobotState, action: np.ndarray) -> Motion:
        moved = self.state.base_position - before.base_position
        change = action - self._action
        power = np.add.reduce(np.abs(self.state.motor_torques * self.state.joint_velocities))
        return Motion(
            forward_m_s=float(moved[0]) / CONTROL_STEP_S,
            sideways_m_s=float(moved[1]) / CONTROL_STEP_S,
            relative_power=float(power) / self._full_power_w,
            action_change=float(change.dot(change)) / self.num_joints,
            tilt_rad=math.acos(min(1.0, max(-1.0, float(self.state.base_rotation[2, 2])))),
            off_course=1.0 + float(self.state.base_rotation[0, 0]),  # the base's x axis points backwards
        )

    def _has_fallen(self, tilt_rad: float) -> bool:
        self._tilted_s = self._tilted_s + CONTROL_STEP_S if tilt_rad > self.settings.tilt_limit_rad else 0.0
        return self._tilted_s > self.settings.tilt_hold_s

    def _is_over(self) -> bool:
        return self._record.steps >= self.settings.control_steps

    def _window_steps(self) -> int:
        return round(self.settings.stall_window_s / CONTROL_STEP_S)

    def _is_stalled(self) -> bool:
        if self.settings.stall_progress is None or len(self._places) <= self._window_steps():
            return False
        return self._places[-1] - self._places[0] < self.settings.stall_progress * self.frame.length_m


def run_episode(simulation: Simulation, controller: Controller, *, seed: int | None) -> dict[str, float]:
    """Runs a full episode with an open-loop controller and returns what it measured.

    Args:
        simulation: the body in its world.
        controller: from the time since the start, s, to the action.
        seed: of the start pose and terrain; None is the exact start.

    Raises:
        SimulationDiverged: the physics went to infinity.
    """
    simulation.reset(seed, training=False)
    info: dict[str, float] = {}
    step = 0
    while not info:
        info = simulation.step(controller(step * CONTROL_STEP_S)).info
        step += 1
    return info


def needs_samples(names: Sequence[str]) -> bool:
    """Whether a robot on these terrains has to sense the ground ahead: one of them is not flat."""
    return not all(make_terrain(name).is_flat for name in names)
