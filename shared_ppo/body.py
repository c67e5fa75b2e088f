"""What the shared policy knows of a body: arrays, and four calls. No physics, no designs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np


class Observation(NamedTuple):
    """What a body senses at one control step, in fixed analytic scales (no running statistics).

    Attributes:
        joints: (n, joint_dim) float32, one row per actuated joint.
        globals: (global_dim,) float32, whole-body values.
    """

    joints: np.ndarray
    globals: np.ndarray


@dataclass(frozen=True)
class BodyDescription:
    """The static side of a body.

    Attributes:
        joint_static: (n, joint_static_dim) float32, one row per actuated joint.
        global_static: (global_static_dim,) float32.
        parent: (n,) int8, index of the parent joint, -1 for joints on the root.
    """

    joint_static: np.ndarray
    global_static: np.ndarray
    parent: np.ndarray

    @property
    def num_joints(self) -> int:
        """Actuated joints of the body."""
        return int(self.joint_static.shape[0])


class Step(NamedTuple):
    """One control step's outcome.

    `terminated` bootstraps 0, `truncated` bootstraps V(observation); `observation` is always the true final
    one, never that of the next episode. `info` is filled at the end of an episode: flat floats by name.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, float]


class Body(Protocol):
    """A simulated body that can be rolled out."""

    description: BodyDescription

    def reset(self, seed: int, *, training: bool) -> Observation:
        """Starts an episode; `training` allows early stops and shaped rewards."""

    def step(self, action: np.ndarray) -> Step:
        """Moves one control step. `action`: (n,) in [-1, 1], clipped by the body."""

    def close(self) -> None:
        """Frees the simulator."""


@dataclass(frozen=True)
class BodySpec:
    """A body as it travels between processes: an id and whatever `MakeBody` needs to build it.

    Attributes:
        body_id: counter, unique within a run.
        payload: picklable, opaque to this package (a design, a terrain name, an engine name).
    """

    body_id: int
    payload: Any = field(hash=False)


MakeBody = Callable[[BodySpec], Body]
"""Top-level, picklable function that builds a body inside the worker that simulates it."""
