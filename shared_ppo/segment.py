"""Segments of experience, and how one lies in a slot of shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared_ppo.action import augmented_spec, make_action_space
from shared_ppo.config import ObservationSpec, SharedPPOConfig


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Consecutive control steps of one body under one policy version. All arrays float32.

    Observations are those the policy saw, the action space's features included. Every episode end inside the segment
    adds one row, the true last observation; so the state before step t is `rows[t]` and the one after it `rows[t]+1`.

    Attributes:
        body_id: of the body.
        worker: that rolled it out.
        policy_version: of the weights that acted.
        joints: (R, n, J) joint observations.
        globals: (R, G) whole-body observations.
        actions: (T, n, A) unclipped policy outputs.
        noise_bias: (T, n, A) part of the action's mean that comes from the noise of the step before.
        log_prob: (T,) log-probability of the action, summed over joints.
        rewards: (T,) as the body gave them.
        running_return: (T,) discounted sum of the rewards of the episode so far, for the reward scale.
        terminated: (T,) 1 where the episode ended for good.
        truncated: (T,) 1 where it was cut off.
        joint_static: (n, Js) description of the joints.
        global_static: (Gs,) description of the body.
    """

    body_id: int
    worker: int
    policy_version: int
    joints: np.ndarray
    globals: np.ndarray
    actions: np.ndarray
    noise_bias: np.ndarray
    log_prob: np.ndarray
    rewards: np.ndarray
    running_return: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    joint_static: np.ndarray
    global_static: np.ndarray

    @property
    def num_steps(self) -> int:
        """Control steps T."""
        return int(self.rewards.shape[0])

    @property
    def num_joints(self) -> int:
        """Joints n of the body."""
        return int(self.joints.shape[1])

    @property
    def ended(self) -> np.ndarray:
        """(T,) 1 where an episode ended."""
        return np.maximum(self.terminated, self.truncated)

    @property
    def rows(self) -> np.ndarray:
        """(T,) index of the observation before each step."""
        ends_before = np.concatenate([[0], np.cumsum(self.ended[:-1])])
        return (np.arange(self.num_steps) + ends_before).astype(np.int64)

    def is_finite(self) -> bool:
        """Whether every number of it is finite."""
        arrays = (getattr(self, name) for name in _ARRAYS)
        return all(bool(np.isfinite(array).all()) for array in arrays)


_ARRAYS = (
    *("joints", "globals", "actions", "noise_bias", "log_prob", "rewards", "running_return"),
    *("terminated", "truncated", "joint_static", "global_static"),
)


@dataclass(frozen=True)
class SegmentLayout:
    """How a segment lies in a slot: the arrays of its real joints, one after the other, as float32.

    Attributes:
        spec: widths of the observations that the policy sees.
        outputs_per_joint: width A of an action.
        max_steps: longest segment.
        max_joints: largest body.
    """

    spec: ObservationSpec
    outputs_per_joint: int
    max_steps: int
    max_joints: int

    @property
    def max_ends(self) -> int:
        """Episode ends that a segment has room for; after the last one it is closed early."""
        return max(2, self.max_steps // 8)

    def shapes(self, steps: int, joints: int, rows: int) -> dict[str, tuple[int, ...]]:
        """Shapes of a segment's arrays, in their order in the slot."""
        per_step = dict.fromkeys(("log_prob", "rewards", "running_return", "terminated", "truncated"), (steps,))
        return {
            "joints": (rows, joints, self.spec.joint_dim),
            "globals": (rows, self.spec.global_dim),
            "actions": (steps, joints, self.outputs_per_joint),
            "noise_bias": (steps, joints, self.outputs_per_joint),
            **per_step,
            "joint_static": (joints, self.spec.joint_static_dim),
            "global_static": (self.spec.global_static_dim,),
        }

    @property
    def capacity(self) -> int:
        """Numbers that the largest segment needs."""
        shapes = self.shapes(self.max_steps, self.max_joints, self.max_steps + 1 + self.max_ends)
        return sum(math.prod(shape) for shape in shapes.values())

    def pack(self, segment: Segment, slot: np.ndarray) -> int:
        """Copies the arrays into `slot` and returns how many numbers were written."""
        end = 0
        for name, shape in self.shapes(segment.num_steps, segment.num_joints, segment.joints.shape[0]).items():
            start, end = end, end + math.prod(shape)
            slot[start:end].reshape(shape)[...] = getattr(segment, name)
        return end

    def unpack(self, numbers: np.ndarray, steps: int, joints: int, rows: int) -> dict[str, np.ndarray]:
        """Returns views of the arrays in a copied slot."""
        arrays, end = {}, 0
        for name, shape in self.shapes(steps, joints, rows).items():
            start, end = end, end + math.prod(shape)
            arrays[name] = numbers[start:end].reshape(shape)
        return arrays

    def size(self, steps: int, joints: int, rows: int) -> int:
        """Numbers in a segment of these dimensions, or -1 if they cannot be those of a segment."""
        if not (0 < steps <= self.max_steps and 0 < joints <= self.max_joints and steps < rows <= 2 * steps + 1):
            return -1
        size = sum(math.prod(shape) for shape in self.shapes(steps, joints, rows).values())
        return size if size <= self.capacity else -1


def segment_layout(spec: ObservationSpec, config: SharedPPOConfig) -> SegmentLayout:
    """Layout of the segments of bodies with observations of `spec`."""
    space = make_action_space(config.action)
    return SegmentLayout(
        augmented_spec(spec, space),
        space.outputs_per_joint,
        max_steps=config.experience.segment_length,
        max_joints=config.policy.max_joints,
    )
