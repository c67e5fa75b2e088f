"""The acting side of the policy: a private copy of the actor that drives several bodies in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from shared_ppo.action import NoisyActions, augmented_spec, make_action_space
from shared_ppo.body import BodyDescription
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.forward import ForwardPass
from shared_ppo.policy import Actor, BodyCode, FlatParameters, make_actor

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class ActingPolicy:
    """An actor without gradients.

    Attributes:
        version: of the weights it holds; 0 before the first `load`.
        space: the action space.
        spec: widths of what it sees, the action space's features included.
    """

    def __init__(self, spec: ObservationSpec, config: SharedPPOConfig) -> None:
        self.space = make_action_space(config.action)
        self.noisy = NoisyActions(config.action.noise_correlation)
        self.spec = augmented_spec(spec, self.space)
        self.version = 0
        self._actor = make_actor(self.spec, config.policy, self.space.outputs_per_joint).requires_grad_(False)
        self._flat = FlatParameters(self._actor)

    @property
    def num_parameters(self) -> int:
        """Length of the weight vector."""
        return self._flat.vector.numel()

    def load(self, version: int, vector: np.ndarray) -> None:
        """Takes over (P,) weights."""
        self._flat.load(torch.from_numpy(vector))
        self.version = version

    @torch.no_grad()
    def bake(self, description: BodyDescription) -> tuple[Actor, BodyCode]:
        """The actor and one body's encoded description, without padding, for export."""
        rows = description.joint_static, description.global_static, np.ones(description.num_joints)
        return self._actor, self._actor.encode(*(torch.from_numpy(np.float32(row))[None] for row in rows))

    @torch.inference_mode()
    def encode(self, descriptions: Sequence[BodyDescription]) -> PolicyForBodies:
        """Encodes the descriptions of bodies that are to be driven side by side, with the current weights."""
        num_joints = [description.num_joints for description in descriptions]
        joint_static = np.zeros((len(descriptions), max(num_joints), self.spec.joint_static_dim), np.float32)
        mask = np.zeros(joint_static.shape[:2], np.float32)
        for row, description in enumerate(descriptions):
            joint_static[row, : num_joints[row]] = description.joint_static
            mask[row, : num_joints[row]] = 1
        global_static = np.stack([description.global_static for description in descriptions]).astype(np.float32)
        code = self._actor.encode(*(torch.from_numpy(array) for array in (joint_static, global_static, mask)))
        return PolicyForBodies(self.noisy, ForwardPass(self._actor, code), code, mask)


class PolicyForBodies:
    """A policy version together with the bodies that it drives.

    Attributes:
        mask: (B, N) 1 for real joints.
        std: (B, N, A) stationary standard deviation of the noise.
    """

    def __init__(self, noisy: NoisyActions, forward: ForwardPass, code: BodyCode, mask: np.ndarray) -> None:
        self.mask = mask
        self.std = np.exp(code.log_std[:, :, 0].numpy())
        self._noisy = noisy
        self._forward = forward
        log_std = np.log(self.std) + noisy.log_fresh_share() + _HALF_LOG_2PI
        self._log_norm = (log_std.sum(axis=2) * mask).sum(axis=1)
        self._fresh_std = self.std * noisy.fresh_share

    def mean(self, joints: np.ndarray, globals_: np.ndarray) -> np.ndarray:
        """Returns mean actions (B, N, A) for observations (B, N, J) and (B, G)."""
        return self._forward(joints, globals_)

    def sample(
        self, joints: np.ndarray, globals_: np.ndarray, noise: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Samples actions.

        Args:
            joints: (B, N, J) observations.
            globals_: (B, G) observations.
            noise: (B, N, A) noise of the step before.
            rng: source of the noise.

        Returns:
            Actions, noise bias and noise, each (B, N, A), and log-probabilities (B,) summed over real joints.
        """
        mean = self.mean(joints, globals_)
        actions, bias, noise = self._noisy.draw(mean, self.std, noise, rng)
        scaled = ((actions - mean - bias) / self._fresh_std) ** 2
        log_prob = -0.5 * (scaled.sum(axis=2) * self.mask).sum(axis=1) - self._log_norm
        return actions, bias, noise, log_prob
