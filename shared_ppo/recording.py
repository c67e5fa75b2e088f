"""Lanes side by side, and the record of what they do, from which segments are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shared_ppo.acting import ActingPolicy
from shared_ppo.body import Step
from shared_ppo.lanes import Lane
from shared_ppo.segment import Segment


class Rows:
    """What lanes share while they move side by side: padded observations, action states and noise."""

    def __init__(self, lanes: Sequence[Lane], policy: ActingPolicy) -> None:
        spec, size = policy.spec, (len(lanes), max(lane.num_joints for lane in lanes))
        self._space = policy.space
        self.lanes = lanes
        self.code = policy.encode([lane.body.description for lane in lanes])
        self.joints = np.zeros((*size, spec.joint_dim), np.float32)
        self.globals = np.zeros((len(lanes), spec.global_dim), np.float32)
        self.state = np.zeros((*size, policy.space.state_dim), np.float32)
        self.noise = np.zeros((*size, policy.space.outputs_per_joint), np.float32)
        for row in range(len(lanes)):
            self.start(row)

    def start(self, row: int) -> None:
        """Takes over a lane's action state and noise."""
        lane = self.lanes[row]
        self.state[row, : lane.num_joints] = lane.state
        self.noise[row, : lane.num_joints] = lane.noise

    def hand_back(self, row: int) -> None:
        """Gives action state and noise back to a lane."""
        lane = self.lanes[row]
        lane.state = self.state[row, : lane.num_joints].copy()
        lane.noise = self.noise[row, : lane.num_joints].copy()

    def observe(self) -> tuple[np.ndarray, np.ndarray]:
        """What the policy sees of all lanes now: (B, N, J) and (B, G), overwritten by the next call."""
        joint_features, global_features = self._space.features(self.state)
        joint_width = self.joints.shape[2] - joint_features.shape[2]
        global_width = self.globals.shape[1] - global_features.shape[1]
        self.joints[:, :, joint_width:] = joint_features
        self.globals[:, global_width:] = global_features
        for row, lane in enumerate(self.lanes):
            self.joints[row, : lane.num_joints, :joint_width] = lane.observation.joints
            self.globals[row, :global_width] = lane.observation.globals
        return self.joints, self.globals

    def observe_one(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """What the policy sees of one lane now: (n, J) and (G,)."""
        lane = self.lanes[row]
        joint_features, global_features = self._space.features(self.state[row : row + 1])
        joints = np.concatenate([lane.observation.joints, joint_features[0, : lane.num_joints]], axis=1)
        return joints, np.concatenate([lane.observation.globals, global_features[0]])

    def targets(self, actions: np.ndarray) -> np.ndarray:
        """Moves the action space on by (B, N, A) actions and returns (B, N) joint targets."""
        targets, self.state = self._space.advance(self.state, actions)
        return targets


@dataclass
class Trace:
    """What happened to one lane in a rollout, beside the arrays that all lanes share.

    Attributes:
        rewards, running_return, terminated, truncated: one entry per step.
        last_rows: observations (n, J) and (G,) after a step, where no further step of the same episode follows.
        open: whether the segment takes further steps.
        failed: whether the body failed, which makes the segment worthless.
    """

    rewards: list[float] = field(default_factory=list)
    running_return: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    last_rows: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    open: bool = True
    failed: bool = False

    def add(self, step: Step, running_return: float) -> None:
        """Keeps a step's outcome."""
        self.rewards.append(float(step.reward))
        self.running_return.append(running_return)
        self.terminated.append(bool(step.terminated))
        self.truncated.append(bool(step.truncated and not step.terminated))

    def end(self, joints: np.ndarray, globals_: np.ndarray) -> None:
        """Keeps the observation after the last step."""
        self.last_rows[len(self.rewards) - 1] = (joints, globals_)

    @property
    def has_ended(self) -> bool:
        """Whether the observation after the last step is already there."""
        return len(self.rewards) - 1 in self.last_rows


class Recording:
    """Arrays of a rollout, time first, for all lanes."""

    def __init__(self, steps: int, rows: Rows) -> None:
        self.joints = np.zeros((steps, *rows.joints.shape), np.float32)
        self.globals = np.zeros((steps, *rows.globals.shape), np.float32)
        self.actions = np.zeros((steps, *rows.noise.shape), np.float32)
        self.noise_bias = np.zeros((steps, *rows.noise.shape), np.float32)
        self.log_prob = np.zeros((steps, len(rows.lanes)), np.float32)
        self.traces = [Trace() for _ in rows.lanes]

    def segment(self, row: int, lane: Lane, *, worker: int, version: int) -> Segment:
        """Cuts one lane's segment out; observation rows of episode ends go in where they belong."""
        trace, joints = self.traces[row], lane.num_joints
        steps = len(trace.rewards)
        places = [step + 1 for step in trace.last_rows]
        last_joints = [pair[0] for pair in trace.last_rows.values()]
        last_globals = [pair[1] for pair in trace.last_rows.values()]
        per_step = ("rewards", "running_return", "terminated", "truncated")
        description = lane.body.description
        return Segment(
            body_id=lane.spec.body_id,
            worker=worker,
            policy_version=version,
            joints=np.insert(self.joints[:steps, row, :joints], places, last_joints, axis=0),
            globals=np.insert(self.globals[:steps, row], places, last_globals, axis=0),
            actions=self.actions[:steps, row, :joints].copy(),
            noise_bias=self.noise_bias[:steps, row, :joints].copy(),
            log_prob=self.log_prob[:steps, row].copy(),
            joint_static=np.asarray(description.joint_static, np.float32),
            global_static=np.asarray(description.global_static, np.float32),
            **{name: np.array(getattr(trace, name), np.float32) for name in per_step},
        )
