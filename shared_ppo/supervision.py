"""What every supervisor offers, and what they have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared_ppo.messages import EvaluateOrder, Event, TrainOrder

if TYPE_CHECKING:
    from shared_ppo.run_state import RunState


class Supervisor(Protocol):
    """Workers and a learner, wherever they run."""

    num_workers: int

    def start(self) -> None:
        """Starts everything."""

    def train(self, worker: int, order: TrainOrder) -> None:
        """Gives a worker its training mix."""

    def evaluate(self, order: EvaluateOrder) -> None:
        """Has bodies evaluated by the worker with the least to evaluate."""

    def poll(self, timeout_s: float) -> list[Event]:
        """Returns what has happened; waits up to `timeout_s` for something."""

    @property
    def env_steps(self) -> int:
        """Control steps so far, those before a resume included."""

    @property
    def policy_version(self) -> int:
        """Version of the newest weights."""

    def counters(self) -> dict[str, int]:
        """Control steps sent, received, used and dropped."""

    def checkpoint(self, path: Path) -> None:
        """Writes learner and counters to a file, at once and atomically."""

    def freeze(self) -> None:
        """Ends training: the learner uses what is left and publishes the last version. Evaluation goes on."""

    def stop(self) -> None:
        """Ends everything."""


class RunView:
    """What a supervisor knows of its run from the run's shared memory, wherever workers and learner are."""

    _run: RunState

    @property
    def env_steps(self) -> int:
        """Control steps so far, those before a resume included."""
        return self._run.env_steps

    @property
    def policy_version(self) -> int:
        """Version of the newest weights."""
        return self._run.weights.version

    def counters(self) -> dict[str, int]:
        """Control steps sent, received, used and dropped."""
        return self._run.counters.as_dict()

    def checkpoint(self, path: Path) -> None:
        """Writes learner and counters to a file, from shared memory: at once, whatever the processes do."""
        self._run.save(path)


class EvaluationShares:
    """Deals evaluations out: each to the worker with the fewest episodes still to run, the first of several."""

    def __init__(self, num_workers: int) -> None:
        self._episodes = [0] * num_workers

    def assign(self, order: EvaluateOrder) -> int:
        """Returns the worker for an order."""
        worker = self._episodes.index(min(self._episodes))
        self._episodes[worker] += len(order.bodies) * len(order.seeds)
        return worker

    def finish(self, worker: int, order: EvaluateOrder) -> None:
        """Notes that a worker is done with an order."""
        self._episodes[worker] -= len(order.bodies) * len(order.seeds)
