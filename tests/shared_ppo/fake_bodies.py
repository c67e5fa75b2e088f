"""Bodies with known dynamics, importable by worker processes."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
import warnings

import numpy as np

from shared_ppo.body import BodyDescription, BodySpec, Observation, Step
from shared_ppo.config import ObservationSpec

SPEC = ObservationSpec(joint_dim=2, joint_static_dim=3, global_dim=2, global_static_dim=2)


def describe(num_joints: int, seed: int) -> BodyDescription:
    """A random description: (n, 3) and (2,)."""
    rng = np.random.default_rng(seed)
    return BodyDescription(
        joint_static=rng.uniform(-1, 1, (num_joints, 3)).astype(np.float32),
        global_static=rng.uniform(-1, 1, 2).astype(np.float32),
        parent=np.arange(-1, num_joints - 1, dtype=np.int8),
    )


class TargetBody:
    """Reward -mean((a - target)^2) with targets that the description gives: the first static number of each joint.

    Episodes are cut off after `horizon` steps, or end for good there if `terminates`.
    """

    def __init__(self, num_joints: int = 3, seed: int = 0, horizon: int = 20, terminates: bool = False) -> None:
        self.description = describe(num_joints, seed)
        self.target = 0.8 * self.description.joint_static[:, 0]
        self.horizon, self.terminates = horizon, terminates
        self.time, self.total = 0, 0.0

    def _observe(self) -> Observation:
        share = self.time / self.horizon
        joints = np.stack([self.phase + 0 * self.target, np.full_like(self.target, share)], axis=1)
        return Observation(joints.astype(np.float32), np.array([share, 1.0], np.float32))

    def reset(self, seed: int, *, training: bool) -> Observation:
        """Starts an episode."""
        self.phase = np.random.default_rng(seed).uniform(-0.1, 0.1)
        self.time, self.total = 0, 0.0
        return self._observe()

    def step(self, action: np.ndarray) -> Step:
        """Moves the clock on."""
        self.time += 1
        reward = -float(np.mean((np.clip(action, -1, 1) - self.target) ** 2))
        self.total += reward
        done = self.time >= self.horizon
        info = {"total": self.total, "steps": float(self.time)} if done else {}
        return Step(self._observe(), reward, done and self.terminates, done and not self.terminates, info)

    def close(self) -> None:
        """Nothing to free."""


class FaultyBody(TargetBody):
    """Goes wrong in a given way at its `at`-th step overall."""

    def __init__(self, fault: str, at: int = 30, **settings: int) -> None:
        super().__init__(**settings)
        self.fault, self.at, self.count = fault, at, 0

    def step(self, action: np.ndarray) -> Step:
        """Steps, or breaks."""
        self.count += 1
        step = super().step(action)
        if self.count != self.at:
            return step
        if self.fault == "raise":
            raise ZeroDivisionError("the fake simulator broke")
        if self.fault == "hang":
            time.sleep(1000)
        if self.fault == "hang_with_gil":
            ctypes.PyDLL(None).sleep(1000)
        if self.fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "exit":
            os._exit(3)
        if self.fault == "talk":
            for number in range(100):
                logging.getLogger("fake").warning("joint %d is hot", number)
            warnings.warn("the fake simulator complains", stacklevel=1)
        if self.fault == "nan":
            return step._replace(reward=float("nan"))
        return step


def make_body(spec: BodySpec) -> TargetBody:
    """Builds a fake body; the payload is a dict of settings, `fault` among them for a faulty one."""
    if spec.payload.get("fault") == "build":
        raise ValueError("this body cannot be built")
    return FaultyBody(**spec.payload) if "fault" in spec.payload else TargetBody(**spec.payload)
