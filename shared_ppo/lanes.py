"""A body that is being rolled out, and the only place from which bodies are called: no failure of one gets past it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from shared_ppo.action import ActionSpace
from shared_ppo.body import Body, BodySpec, MakeBody, Observation, Step

_Result = TypeVar("_Result")


class BodyError(Exception):
    """A body could not be built, reset or stepped, or gave numbers that are not finite."""


class Watch(Protocol):
    """Is told what a worker does, so that somebody outside sees it live and knows whom to blame if it dies."""

    def entering(self, body_id: int) -> None:
        """The worker hands control to a body."""

    def left(self) -> None:
        """The body gave control back."""

    def count_step(self) -> None:
        """A control step was simulated."""


@dataclass
class Lane:
    """A body and where it is in its episode.

    Attributes:
        spec: which body.
        body: its simulation.
        observation: what it senses now.
        state: (n, S) of the action space.
        noise: (n, A) exploration noise of the last step.
        steps: control steps in this episode.
        running_return: discounted sum of this episode's rewards.
    """

    spec: BodySpec
    body: Body
    observation: Observation
    state: np.ndarray
    noise: np.ndarray
    steps: int = 0
    running_return: float = 0.0

    @property
    def num_joints(self) -> int:
        """Joints of the body."""
        return self.body.description.num_joints


class LaneKeeper:
    """Builds, resets, steps and closes bodies.

    Args:
        make_body: builds a body.
        space: the action space, for the state at the start of an episode.
        max_joints: largest body taken in.
        gamma: discount of the running return.
        watch: is told what goes on.

    Attributes:
        opened: bodies built so far.
    """

    def __init__(self, make_body: MakeBody, space: ActionSpace, *, max_joints: int, gamma: float, watch: Watch) -> None:
        self._make_body = make_body
        self._space = space
        self._max_joints = max_joints
        self._gamma = gamma
        self._watch = watch
        self.opened = 0

    def open(self, spec: BodySpec, seed: int, *, training: bool) -> Lane:
        """Builds a body and starts its first episode.

        Raises:
            BodyError: if that fails, or the body has too many joints.
        """
        self.opened += 1
        body = self._guarded(spec.body_id, "building", lambda: self._make_body(spec))
        num_joints = body.description.num_joints
        if not 0 < num_joints <= self._max_joints:
            raise BodyError(f"has {num_joints} joints; 1 to max_joints = {self._max_joints} are possible")
        noise = np.zeros((num_joints, self._space.outputs_per_joint), np.float32)
        lane = Lane(spec, body, Observation(np.zeros(0), np.zeros(0)), self._space.initial_state(num_joints), noise)
        self.reset(lane, seed, training=training)
        return lane

    def reset(self, lane: Lane, seed: int, *, training: bool) -> None:
        """Starts an episode.

        Raises:
            BodyError: if that fails.
        """
        observation = self._guarded(lane.spec.body_id, "resetting", lambda: lane.body.reset(seed, training=training))
        lane.observation = Observation(*observation)
        _check_finite(lane.observation, 0.0)
        lane.state = self._space.initial_state(lane.num_joints)
        lane.noise = np.zeros_like(lane.noise)
        lane.steps, lane.running_return = 0, 0.0

    def step(self, lane: Lane, targets: np.ndarray) -> Step:
        """Moves a body one control step towards (n,) targets in [-1, 1].

        Raises:
            BodyError: if that fails or gives numbers that are not finite.
        """
        step = Step(*self._guarded(lane.spec.body_id, "stepping", lambda: lane.body.step(targets)))
        self._watch.count_step()
        lane.observation = Observation(*step.observation)
        _check_finite(lane.observation, step.reward)
        lane.steps += 1
        lane.running_return = self._gamma * lane.running_return + float(step.reward)
        return step

    def close(self, lane: Lane) -> None:
        """Frees a body's simulator.

        Raises:
            BodyError: if that fails.
        """
        self._guarded(lane.spec.body_id, "closing", lane.body.close)

    def _guarded(self, body_id: int, doing: str, call: Callable[[], _Result]) -> _Result:
        """Calls into a body; whatever it raises becomes a BodyError that says what was being done."""
        self._watch.entering(body_id)
        try:
            return call()
        except Exception as error:
            raise BodyError(f"{doing} raised {type(error).__name__}: {error}") from error
        finally:
            self._watch.left()


def _check_finite(observation: Observation, reward: float) -> None:
    """Raises BodyError if an observation or a reward is not finite.

    One number that is not finite makes the sum so, and a sum costs half as much as a look at every number.
    """
    if not math.isfinite(reward):
        raise BodyError(f"gave a reward of {reward}")
    for name, values in zip(observation._fields, observation, strict=True):
        if not (math.isfinite(np.add.reduce(values, None)) or np.isfinite(values).all()):
            raise BodyError(f"gave an observation that is not finite, in {name}")
