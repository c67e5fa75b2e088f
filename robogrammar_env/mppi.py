"""RoboGrammar's own controller: model-predictive path integral control (MPPI) with an exact copy of the simulator.

Before every control step many input sequences are tried in the simulator from the present state; the next plan is
their mean, weighted by exp(kappa * return), and its first input is carried out. Williams et al. 2017, "Information
Theoretic MPC for Model-Based Reinforcement Learning"; settings and sampling as in RoboGrammar (Zhao et al. 2020).

Inputs are joint targets in rad, in the model's order, without mirroring and without bounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robogrammar_env.engine.base import CONTROL_STEP_S, SUBSTEPS, Engine
from robogrammar_env.errors import RobotError, SimulationDiverged
from robogrammar_env.observation import ACTION_RANGE_RAD, Observation
from robogrammar_env.simulation import MAX_SPEED_M_S, Simulation

LOW_PASS = np.array([0.104228, 0.323987, 0.365890, 0.323987, 0.104228])
"""Noise filter: passes below 2 Hz, stops above 4 Hz at 15 inputs a second."""


@dataclass(frozen=True)
class MPPISettings:
    """How to plan; the defaults are RoboGrammar's.

    Attributes:
        first_samples: sequences tried in one update before the first control step; 0 leaves that update out.
        samples: sequences tried before each control step.
        horizon: control steps that a sequence looks ahead; None takes the terrain's (16, walls 32).
        kappa: how sharply returns are weighted, per unit of return (summed over physics steps).
        discount: of rewards, per control step.
        warm_start_std_rad: noise around the present plan, before the filter.
        history_std_rad: noise around repeated past inputs, before the filter.
        max_target_rad: inputs are kept within +- this; None leaves them free.

    Raises:
        RobotError: a count is too small.
    """

    first_samples: int = 512
    samples: int = 64
    horizon: int | None = None
    kappa: float = 1.0
    discount: float = 0.99
    warm_start_std_rad: float = 0.25
    history_std_rad: float = 0.05
    max_target_rad: float | None = None

    def __post_init__(self) -> None:
        lowest = {"first_samples": 0, "samples": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise RobotError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.horizon is not None and self.horizon < 2:
            raise RobotError(f"horizon must be at least 2 control steps, got {self.horizon}")


@dataclass(frozen=True)
class Trajectory:
    """A planned episode.

    Attributes:
        targets_rad: (T, n) inputs that were carried out.
        signs: (n,) -1 for mirrored joints.
        observations: T, each what was observed before its input.
        info: what the episode measured, as at the end of a `Simulation` episode.
        seconds: wall time of planning.
        cpu_seconds: CPU time of this process.
    """

    targets_rad: np.ndarray
    signs: np.ndarray
    observations: tuple[Observation, ...]
    info: dict[str, float]
    seconds: float
    cpu_seconds: float

    @property
    def objective(self) -> float:
        """RoboGrammar's objective; standing still is 4.0 on most terrains."""
        return self.info["robogrammar_objective"]

    @property
    def speed_m_s(self) -> float:
        """Net displacement along +x over time."""
        return self.info["speed_m_s"]

    @property
    def actions(self) -> np.ndarray:
        """(T, n) the inputs as actions of `Simulation`; beyond +-1 where a target is beyond 90 degrees."""
        return self.targets_rad * self.signs / ACTION_RANGE_RAD


def filtered_noise(rng: np.random.Generator, std_rad: np.ndarray, steps: int, joints: int) -> np.ndarray:
    """Low-pass filtered Gaussian noise.

    Args:
        rng: source of randomness.
        std_rad: (samples,) standard deviation before the filter, rad.
        steps: length of the sequences.
        joints: width of the sequences.

    Returns:
        (samples, steps, joints) rad.
    """
    white = rng.normal(size=(len(std_rad), steps + len(LOW_PASS) - 1, joints)) * std_rad[:, None, None]
    windows = np.lib.stride_tricks.sliding_window_view(white, len(LOW_PASS), axis=1)
    return windows @ LOW_PASS


def repeated_history(history: np.ndarray, plan: np.ndarray, period: int) -> np.ndarray:
    """The last `period` past inputs, over and over, faded in linearly over the present plan.

    Args:
        history: (H, n) past inputs, the newest last.
        plan: (H, n) present plan.
        period: control steps, at most H.

    Returns:
        (H, n) inputs; the last one is all history.
    """
    horizon = len(plan)
    repeated = history[horizon - period + np.arange(horizon) % period]
    share = (np.arange(horizon) + 1)[:, None] / horizon
    return share * repeated + (1 - share) * plan


def sample_centres(plan: np.ndarray, history: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """What noise is added to: every other sample, from the first on, repeats history; periods go round H/2+1 .. H.

    Returns:
        (count, H, n) sequences, and (count,) bool, which of them repeat history.
    """
    horizon = len(plan)
    centres = np.repeat(plan[None], count, axis=0)
    periods = np.arange(horizon // 2) + horizon // 2 + 1
    for sample in range(0, count, 2):
        period = periods[(sample // 2) % len(periods)]
        centres[sample] = repeated_history(history, plan, int(period))
    return centres, np.arange(count) % 2 == 0


def sample_weights(returns: np.ndarray, kappa: float) -> np.ndarray:
    """(samples,) weights, in all 1, that grow with exp(kappa * return); a return of -inf gets 0."""
    weights = np.exp(kappa * (returns - returns.max()))
    return weights / weights.sum()


class MPPIPlanner:
    """Plans inputs for an engine from whatever state it is in; usable as a controller or as a teacher.

    One round is `update` (try sequences, leave the engine as it was) and `advance` (hand out the plan's first input,
    which the caller carries out with `engine.step`). RoboGrammar's first round has two updates.

    Args:
        engine: simulator, also the one that is planned for.
        settings: how to plan.
        seed: of the sampled sequences.
    """

    def __init__(self, engine: Engine, settings: MPPISettings | None = None, *, seed: int = 0) -> None:
        self.engine, self.settings = engine, settings or MPPISettings()
        self.horizon = self.settings.horizon or engine.terrain.horizon
        self.plan = np.zeros((self.horizon, engine.robot.num_joints))
        self.history = np.zeros_like(self.plan)  # a robot at rest: half of the samples repeat it from the start
        self._rng = np.random.default_rng(seed)

    def update(self, samples: int) -> None:
        """Improves the plan with `samples` sequences.

        Raises:
            SimulationDiverged: the physics went to infinity in all of them.
        """
        inputs = self._sample(samples)
        returns = self._returns(inputs)
        if not np.isfinite(returns).any():
            raise SimulationDiverged(f"the physics diverged in all of {samples} planned sequences")
        self.plan = np.tensordot(sample_weights(returns, self.settings.kappa), inputs, axes=1)

    def advance(self) -> np.ndarray:
        """Returns the next input (n,), rad, and moves plan and history on by one control step."""
        first = self.plan[0].copy()
        self.history = np.concatenate([self.history[1:], first[None]])
        self.plan = np.concatenate([self.plan[1:], np.zeros_like(first)[None]])
        return first

    def _sample(self, count: int) -> np.ndarray:
        """(count, H, n) input sequences."""
        settings = self.settings
        centres, repeats = sample_centres(self.plan, self.history, count)
        std = np.where(repeats, settings.history_std_rad, settings.warm_start_std_rad)
        inputs = centres + filtered_noise(self._rng, std, self.horizon, self.plan.shape[1])
        limit = settings.max_target_rad
        return inputs if limit is None else np.clip(inputs, -limit, limit)

    def _returns(self, inputs: np.ndarray) -> np.ndarray:
        """(samples,) discounted returns of (samples, H, n) inputs from the present state, which is left as it is."""
        handle = self.engine.save()
        returns = np.array([self._play(handle, sequence) for sequence in inputs])
        self.engine.restore(handle)
        self.engine.discard(handle)
        return returns

    def _play(self, handle: Any, sequence: np.ndarray) -> float:
        """Return of one sequence: the objective, summed over physics steps; -inf where the physics diverged."""
        engine, weights, total, discount = self.engine, self.engine.terrain.weights, 0.0, 1.0
        engine.restore(handle)
        x_m, _, _ = base_terms(engine)
        for targets in sequence:
            engine.step(targets)
            before_m, (x_m, forward, up) = x_m, base_terms(engine)
            speed_m_s = (x_m - before_m) / CONTROL_STEP_S
            if not abs(speed_m_s) <= MAX_SPEED_M_S:  # also true for NaN
                return -math.inf
            reward = weights[0] * forward + weights[1] * up + weights[2] * speed_m_s
            total += discount * SUBSTEPS * reward
            discount *= self.settings.discount
        return total


def base_terms(engine: Engine) -> tuple[float, float, float]:
    """Place along x, m, and the cosines of the base's nose with +x and of its up axis with the vertical."""
    position, rotation = engine.base_pose()
    return float(position[0]), -float(rotation[0, 0]), float(rotation[2, 2])


def plan_episode(
    body: Any,
    *,
    settings: MPPISettings | None = None,
    seed: int = 0,
    start_seed: int | None = None,
    on_step: Callable[[], object] | None = None,
    **simulation_settings: Any,
) -> Trajectory:
    """Plans and carries out one episode.

    Args:
        body: a `Simulation` (which stays open), or whatever `Simulation` takes as a body.
        settings: how to plan.
        seed: of the sampled sequences.
        start_seed: of start pose and terrain layout, as in `Simulation.reset`; None is RoboGrammar's exact start.
        on_step: is called after every control step.
        simulation_settings: keyword arguments of `Simulation` (terrain, engine, ...), unless `body` is one.

    Raises:
        SimulationDiverged: the physics went to infinity.
    """
    simulation = body if isinstance(body, Simulation) else Simulation(body, **simulation_settings)
    try:
        return _plan_episode(simulation, settings or MPPISettings(), seed, start_seed, on_step or (lambda: None))
    finally:
        if simulation is not body:
            simulation.close()


def _plan_episode(
    simulation: Simulation,
    settings: MPPISettings,
    seed: int,
    start_seed: int | None,
    on_step: Callable[[], object],
) -> Trajectory:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    observations, targets = [simulation.reset(start_seed, training=False)], []
    info: dict[str, float] = {}
    planner = MPPIPlanner(simulation.engine, settings, seed=seed)
    if settings.first_samples:
        planner.update(settings.first_samples)
    while not info:
        planner.update(settings.samples)
        targets.append(planner.advance())
        observation, _, _, _, info = simulation.drive(targets[-1])
        observations.append(observation)
        on_step()
    return Trajectory(
        targets_rad=np.array(targets),
        signs=simulation.frame.signs,
        observations=tuple(observations[:-1]),
        info=info,
        seconds=time.perf_counter() - wall_s,
        cpu_seconds=time.process_time() - cpu_s,
    )
