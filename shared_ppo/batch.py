"""From segments of different bodies and lengths to padded tensors, and the scale of the rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from shared_ppo.segment import Segment


@dataclass
class Group:
    """Segments of bodies with similar joint counts, padded to the most joints and steps among them.

    S segments of B bodies, N joints, T steps, R observation rows. Layout as in `policy`: (S, N, T, D).

    Attributes:
        row_joints: (S, N, R, J) every stored observation.
        row_globals: (S, R, G).
        rows: (S, T) row before each step; the row after it follows.
        joints: (S, N, T, J) observation before each step.
        globals: (S, T, G).
        actions: (S, N, T, A).
        noise_bias: (S, N, T, A).
        log_prob: (S, T) under the behaviour policy, summed over joints.
        rewards: (S, T) scaled.
        terminated: (S, T) 0 or 1, as the next three.
        ended: (S, T).
        valid: (S, T) 1 for real steps.
        mask: (S, N) 1 for real joints.
        joint_static: (B, N, Js), once per body, as the next two.
        global_static: (B, Gs).
        body_mask: (B, N) 1 for real joints.
        body: (S,) index of the body within the batch.
        owner: (S, B) 1 at the segment's body.
    """

    _PER_BODY: ClassVar = ("joint_static", "global_static", "body_mask")

    row_joints: Tensor
    row_globals: Tensor
    rows: Tensor
    joints: Tensor
    globals: Tensor
    actions: Tensor
    noise_bias: Tensor
    log_prob: Tensor
    rewards: Tensor
    terminated: Tensor
    ended: Tensor
    valid: Tensor
    mask: Tensor
    joint_static: Tensor
    global_static: Tensor
    body_mask: Tensor
    body: Tensor
    owner: Tensor

    def some(self, segments: slice) -> Group:
        """Some of the segments, with all bodies."""
        cut = {name: tensor[segments] for name, tensor in vars(self).items() if name not in self._PER_BODY}
        return replace(self, **cut)


@dataclass
class Prepared:
    """What gradient steps need of a group, with what the pass with the proximal weights found out about it.

    Attributes:
        those of FROM_GROUP: as in `Group`.
        log_prob: (S, N, T) proximal log-probabilities per joint.
        values: (S, T) values before the update.
        advantages: (S, T).
        targets: (S, T) of the critic.
        weights: (S, T) truncated importance weights.
    """

    FROM_GROUP: ClassVar = (
        *("joints", "globals", "actions", "noise_bias", "valid"),
        *("mask", "joint_static", "global_static", "body_mask", "body", "owner"),
    )
    _TIME_DIMENSION: ClassVar = {
        **dict.fromkeys(("joints", "actions", "noise_bias", "log_prob"), 2),
        **dict.fromkeys(("globals", "valid", "values", "advantages", "targets", "weights"), 1),
    }

    joints: Tensor
    globals: Tensor
    actions: Tensor
    noise_bias: Tensor
    valid: Tensor
    mask: Tensor
    joint_static: Tensor
    global_static: Tensor
    body_mask: Tensor
    body: Tensor
    owner: Tensor
    log_prob: Tensor
    values: Tensor
    advantages: Tensor
    targets: Tensor
    weights: Tensor

    def at(self, steps: Tensor) -> Prepared:
        """The same segments at some of their steps: (K,) indices."""
        cut = {name: getattr(self, name).index_select(dim, steps) for name, dim in self._TIME_DIMENSION.items()}
        return replace(self, **cut)


def split_by_joints(segments: Sequence[Segment], num_groups: int) -> list[list[Segment]]:
    """Sorts segments into at most `num_groups` lists of about equal length, by joint count; a body is in one only."""
    ordered = sorted(segments, key=lambda segment: (segment.num_joints, segment.body_id))
    groups: list[list[Segment]] = [[] for _ in range(num_groups)]
    place = 0
    for index, segment in enumerate(ordered):
        if index and segment.num_joints != ordered[index - 1].num_joints:
            place = index * num_groups // len(ordered)
        groups[place].append(segment)
    return [group for group in groups if group]


def _padded(arrays: Sequence[np.ndarray]) -> Tensor:
    """Stacks arrays of one rank into (S, ...), each dimension padded with 0 to the largest."""
    shape = tuple(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True))
    stacked = np.zeros((len(arrays), *shape), np.float32)
    for row, array in zip(stacked, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return torch.from_numpy(stacked)


def _joints_first(tensor: Tensor) -> Tensor:
    """(S, T, N, D) -> (S, N, T, D), contiguous."""
    return tensor.transpose(1, 2).contiguous()


def make_group(segments: Sequence[Segment], body_index: dict[int, int], device: torch.device) -> Group:
    """Pads segments and moves them to `device`."""
    row_joints = _joints_first(_padded([segment.joints for segment in segments]))
    row_globals = _padded([segment.globals for segment in segments])
    rows = _padded([segment.rows for segment in segments]).long()
    steps = {
        name: _padded([getattr(segment, name) for segment in segments])
        for name in ("log_prob", "rewards", "terminated", "ended")
    }
    bodies = {segment.body_id: segment for segment in segments}
    owner = np.array([[segment.body_id == body_id for body_id in bodies] for segment in segments], np.float32)
    group = Group(
        row_joints=row_joints,
        row_globals=row_globals,
        rows=rows,
        joints=torch.take_along_dim(row_joints, rows[:, None, :, None], dim=2),
        globals=torch.take_along_dim(row_globals, rows[:, :, None], dim=1),
        actions=_joints_first(_padded([segment.actions for segment in segments])),
        noise_bias=_joints_first(_padded([segment.noise_bias for segment in segments])),
        valid=_padded([np.ones(segment.num_steps) for segment in segments]),
        mask=_padded([np.ones(segment.num_joints) for segment in segments]),
        joint_static=_padded([segment.joint_static for segment in bodies.values()]),
        global_static=_padded([segment.global_static for segment in bodies.values()]),
        body_mask=_padded([np.ones(segment.num_joints) for segment in bodies.values()]),
        body=torch.tensor([body_index[segment.body_id] for segment in segments]),
        owner=torch.from_numpy(owner),
        **steps,
    )
    for name, tensor in vars(group).items():
        setattr(group, name, tensor.to(device))
    return group


def make_groups(segments: Sequence[Segment], num_groups: int, device: torch.device) -> list[Group]:
    """Builds the padded groups of a batch; `Group.body` counts bodies over the whole batch."""
    body_index = {body: index for index, body in enumerate(sorted({segment.body_id for segment in segments}))}
    return [make_group(part, body_index, device) for part in split_by_joints(segments, num_groups)]


class ReturnScale:
    """Running standard deviation of the discounted return, in float64 (parallel merge of Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0.0, 0.0, 0.0

    def update(self, returns: np.ndarray) -> None:
        """Merges the returns (K,) of new steps."""
        count, mean = float(returns.size), float(np.mean(returns, dtype=np.float64))
        squares = float(np.square(returns.astype(np.float64) - mean).sum())
        total = self.count + count
        delta = mean - self.mean
        self.squares += squares + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Standard deviation so far; 1 while nothing varies."""
        std = float(np.sqrt(self.squares / self.count)) if self.count else 0.0
        return std if std > 1e-6 else 1.0

    def scaled(self, rewards: Tensor) -> Tensor:
        """Rewards in units of that deviation, clipped to [-10, 10]."""
        return (rewards / self.std).clamp(-10, 10)
