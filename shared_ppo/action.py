"""From policy output to joint targets: the one part to replace when another action space is to be tried.

An action space is a set of pure functions over a small state array (B, N, S): B bodies, N joints (padded), S numbers
per joint. It may also add features to what the policy sees. Actions are the raw, unclipped policy outputs; only the
targets are clipped, so log-probabilities stay those of a Gaussian.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from shared_ppo.config import ActionConfig, ObservationSpec


class ActionSpace(Protocol):
    """What a rollout needs to know of an action space."""

    outputs_per_joint: int
    joint_features: int
    global_features: int
    state_dim: int

    def initial_state(self, num_joints: int) -> np.ndarray:
        """Returns the (n, S) float32 state at the start of an episode."""

    def features(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns extra observations (B, N, joint_features) and (B, global_features) for states (B, N, S)."""

    def advance(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns joint targets (B, N) in [-1, 1] and the next state, for raw actions (B, N, outputs_per_joint)."""


class DirectSpace:
    """One output per joint: its target."""

    outputs_per_joint = 1
    joint_features = 0
    global_features = 0
    state_dim = 0

    def __init__(self, config: ActionConfig) -> None:
        self.config = config

    def initial_state(self, num_joints: int) -> np.ndarray:
        """Returns the (n, S) state at the start of an episode."""
        return np.zeros((num_joints, self.state_dim), np.float32)

    def features(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adds nothing to the observation."""
        return np.zeros((*state.shape[:2], 0), np.float32), np.zeros((state.shape[0], 0), np.float32)

    def advance(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clips the outputs to [-1, 1]."""
        return np.clip(actions[..., 0], -1, 1), state


class ClockSpace(DirectSpace):
    """Direct targets, with the sine and cosine of a clock that starts with the episode."""

    global_features = 2
    state_dim = 1  # phase of the clock in rad, the same in every row

    def features(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adds (sin, cos) of the phase to the whole-body values."""
        phase = state[:, 0]
        return np.zeros((*state.shape[:2], 0), np.float32), np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)

    def advance(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clips the outputs and moves the clock on."""
        return np.clip(actions[..., 0], -1, 1), self._tick(state)

    def _tick(self, state: np.ndarray) -> np.ndarray:
        """Moves the phase on by one control step, kept within one turn."""
        step_rad = 2 * np.pi * self.config.frequency_hz * self.config.control_step_s
        return np.mod(state + np.float32(step_rad), np.float32(2 * np.pi))


class RhythmSpace(ClockSpace):
    """An oscillator per joint, all at one frequency: target = bias + amplitude * sin(clock + offset).

    The three outputs of a joint are changes of amplitude, phase offset (in half turns) and bias. With outputs of 0
    every joint swings by `ActionConfig.amplitude`, so a body moves before anything is learnt, and noise on the
    outputs explores gaits rather than jitter.
    """

    outputs_per_joint = 3

    def advance(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads the oscillators at the current phase and moves the clock on."""
        amplitude = np.clip(self.config.amplitude + actions[..., 0], 0, 1)
        swing = amplitude * np.sin(state[..., 0] + np.float32(np.pi) * actions[..., 1])
        return np.clip(actions[..., 2] + swing, -1, 1), self._tick(state)


ACTION_SPACES: dict[str, type[DirectSpace]] = {"direct": DirectSpace, "clock": ClockSpace, "rhythm": RhythmSpace}
"""Action spaces by the name that `ActionConfig.space` gives."""


def make_action_space(config: ActionConfig) -> ActionSpace:
    """Builds the action space that `config.space` names.

    Raises:
        ValueError: if there is no such action space.
    """
    if config.space not in ACTION_SPACES:
        raise ValueError(f"unknown action space {config.space!r}; known: {', '.join(ACTION_SPACES)}")
    return ACTION_SPACES[config.space](config)


def augmented_spec(spec: ObservationSpec, space: ActionSpace) -> ObservationSpec:
    """Widths of what the policy sees: the body's observation and the action space's features behind it."""
    return ObservationSpec(
        joint_dim=spec.joint_dim + space.joint_features,
        joint_static_dim=spec.joint_static_dim,
        global_dim=spec.global_dim + space.global_features,
        global_static_dim=spec.global_static_dim,
    )


class NoisyActions:
    """Exploration noise that is white or remembers itself: eps_t = phi eps_{t-1} + sqrt(1 - phi^2) sigma xi_t.

    Given the past, a_t is Gaussian with mean mu(s_t) + phi eps_{t-1} and standard deviation sqrt(1 - phi^2) sigma.
    The first term is stored with each step as its noise bias, so the log-probability is the true one.
    """

    def __init__(self, correlation: float) -> None:
        self.correlation = np.float32(correlation)
        self.fresh_share = np.float32(np.sqrt(1 - correlation**2))

    def draw(
        self, mean: np.ndarray, std: np.ndarray, previous: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples actions.

        Args:
            mean: (..., A) mean actions.
            std: (..., A) stationary standard deviation sigma.
            previous: (..., A) noise of the step before, 0 at the start of an episode.
            rng: source of the noise.

        Returns:
            Actions, noise bias phi eps_{t-1}, and noise eps_t, each (..., A) float32.
        """
        bias = self.correlation * previous
        noise = bias + self.fresh_share * std * rng.standard_normal(mean.shape, dtype=np.float32)
        return mean + noise, bias, noise

    def log_fresh_share(self) -> float:
        """Returns log sqrt(1 - phi^2), by which the conditional log standard deviation differs from sigma's."""
        return float(np.log(self.fresh_share))
