"""The policy of one body as TorchScript, which runs without this package, and the check that it does the same.

What is known of the body is baked in. The module maps `joints` (n, J) and `globals` (G,), float32, to (n,) actions in
[-1, 1], one call a control step; where the action space has a clock the module carries it, and `reset()` sets it to
the start of an episode.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shared_ppo import checkpoint
from shared_ppo.acting import ActingPolicy, PolicyForBodies
from shared_ppo.body import BodyDescription, Observation
from shared_ppo.config import ActionConfig, ObservationSpec, SharedPPOConfig
from shared_ppo.errors import CheckpointError, SharedPPOError
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.policy import Actor, BodyCode

TOLERANCE = 1e-5
"""Largest difference of an action between trainer and exported file."""
EXPORTED_SPACES = ("direct", "clock", "rhythm")
_CHECK_STEPS = 64


class ExportError(SharedPPOError):
    """A policy cannot be exported, or its file does not do what the trainer's policy does."""


class BodyActor(nn.Module):
    """The actor with one body's encoded description as constants: (n, J), (G,) -> (n, A) mean actions."""

    def __init__(self, actor: Actor, code: BodyCode) -> None:
        super().__init__()
        self.actor, self.code = actor, code

    def forward(self, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns (n, A) mean actions."""
        return self.actor(self.code, joints[None, :, None], globals_[None, None])[0, :, 0]


class ExportedPolicy(nn.Module):
    """Actor and action space of one body; see `shared_ppo.action` for what the spaces do."""

    def __init__(self, actor: Any, config: ActionConfig) -> None:
        super().__init__()
        self.actor = actor
        self.has_clock = config.space != "direct"
        self.has_rhythm = config.space == "rhythm"
        self.amplitude = float(config.amplitude)
        self.turn_rad = 2 * math.pi
        self.step_rad = 2 * math.pi * config.frequency_hz * config.control_step_s
        self.register_buffer("phase", torch.zeros(1))

    @torch.jit.export
    def reset(self) -> None:
        """Starts an episode."""
        self.phase = torch.zeros(1)

    def forward(self, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns (n,) actions in [-1, 1] and moves the clock on."""
        seen = globals_
        if self.has_clock:
            seen = torch.cat([globals_, torch.sin(self.phase), torch.cos(self.phase)])
        outputs = self.actor(joints, seen)
        action = outputs[:, 0]
        if self.has_rhythm:
            amplitude = torch.clamp(self.amplitude + outputs[:, 0], 0.0, 1.0)
            action = outputs[:, 2] + amplitude * torch.sin(self.phase + math.pi * outputs[:, 1])
        self.phase = torch.remainder(self.phase + self.step_rad, self.turn_rad)
        return torch.clamp(action, -1.0, 1.0)


def load_policy(path: Path, spec: ObservationSpec, config: SharedPPOConfig) -> ActingPolicy:
    """The policy of a learner's checkpoint file.

    Raises:
        CheckpointError: the file is damaged or was made with other settings.
    """
    arrays, _ = checkpoint.read(path)
    if "learner" not in arrays:
        raise CheckpointError(f"checkpoint {path} has no learner")
    trainer = SharedPPOTrainer(spec, replace(config, ppo=replace(config.ppo, device="cpu")))
    trainer.load_state(*checkpoint.from_bytes(arrays["learner"].tobytes(), str(path)))
    policy = ActingPolicy(spec, config)
    policy.load(trainer.version, trainer.actor_vector())
    return policy


def script_policy(policy: ActingPolicy, description: BodyDescription, config: ActionConfig) -> Any:
    """Compiles a policy for one body.

    Raises:
        ExportError: the action space has no TorchScript form.
    """
    if config.space not in EXPORTED_SPACES:
        raise ExportError(f"action space {config.space!r} cannot be exported; known: {', '.join(EXPORTED_SPACES)}")
    actor, code = policy.bake(description)
    example = torch.zeros(description.num_joints, policy.spec.joint_dim), torch.zeros(policy.spec.global_dim)
    with torch.no_grad(), warnings.catch_warnings():
        # TorchScript is deprecated, but torch.export files cannot have a `reset` beside their `forward`
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(BodyActor(actor, code).eval(), example)
        return torch.jit.script(ExportedPolicy(traced, config).eval())


def load_script(path: Path) -> Any:
    """The policy in a file that `script_policy`'s module was saved to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in `script_policy`
        return torch.jit.load(str(path))


def check_actions(
    found: np.ndarray, policy: ActingPolicy, description: BodyDescription, observations: Sequence[Observation]
) -> float:
    """Compares an exported policy's actions with those of the policy over an episode of observations.

    Args:
        found: (T, n) actions of the exported policy from `reset` on.
        policy: with its weights loaded.
        description: of the body.
        observations: T of the body, without the action space's features.

    Returns:
        The largest difference of an action.

    Raises:
        ExportError: it is more than 1e-5.
    """
    expected = _mean_actions(policy, policy.encode([description]), description.num_joints, observations)
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"exported actions differ from the policy's by {difference:.2g}, more than {TOLERANCE:g}")
    return difference


def random_observations(policy: ActingPolicy, description: BodyDescription, seed: int = 0) -> list[Observation]:
    """Standard normal observations of a body, without the action space's features."""
    rng = np.random.default_rng(seed)
    joints = description.num_joints, policy.spec.joint_dim - policy.space.joint_features
    width = policy.spec.global_dim - policy.space.global_features
    return [
        Observation(rng.normal(size=joints).astype(np.float32), rng.normal(size=width).astype(np.float32))
        for _ in range(_CHECK_STEPS)
    ]


def _mean_actions(
    policy: ActingPolicy, code: PolicyForBodies, num_joints: int, observations: Sequence[Observation]
) -> np.ndarray:
    """(T, n) actions that the trainer's own parts give for an episode of observations."""
    space, actions = policy.space, []
    state = space.initial_state(num_joints)[None]
    for seen in observations:
        joint_features, global_features = space.features(state)
        joints = np.concatenate([seen.joints[None], joint_features], axis=2)
        globals_ = np.concatenate([seen.globals[None], global_features], axis=1)
        targets, state = space.advance(state, code.mean(joints, globals_))
        actions.append(targets[0])
    return np.array(actions)
