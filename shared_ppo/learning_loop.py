"""When the learner learns: takes segments, updates when there are enough, stores and publishes the result."""

from __future__ import annotations

from typing import Protocol

from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.run_state import RunState
from shared_ppo.segment import Segment


class ExperienceSource(Protocol):
    """Where segments come from."""

    @property
    def fill(self) -> float:
        """Share of the room in use."""

    @property
    def num_bytes(self) -> int:
        """Shared memory in use, in bytes."""

    def take(self, timeout_s: float = 0.0) -> list[Segment]:
        """Returns all segments that have arrived."""


class LearningLoop:
    """The learner without its process: it owns the trainer and the segments that were taken but not used yet."""

    def __init__(self, spec: ObservationSpec, config: SharedPPOConfig, run: RunState, source: ExperienceSource) -> None:
        """Loads the learner's state from `run`; a predecessor may have died before it published its weights."""
        self._config = config.experience
        self._run = run
        self._source = source
        self._pending: list[Segment] = []
        self._highest_fill = 0.0
        self.trainer = SharedPPOTrainer(spec, config)
        self.trainer.load_bytes(run.learner.read()[1], "the learner's state in shared memory")
        run.counters.drop_unaccounted()
        if self.trainer.version > run.weights.version:
            run.publish(self.trainer.image())

    @property
    def pending_steps(self) -> int:
        """Control steps taken but not used yet."""
        return sum(segment.num_steps for segment in self._pending)

    @property
    def is_ready(self) -> bool:
        """Whether there is enough for an update."""
        return self.pending_steps >= self._config.batch_steps

    def collect(self, timeout_s: float = 0.0) -> None:
        """Takes what has arrived; waits up to `timeout_s` for the first segment."""
        self._highest_fill = max(self._highest_fill, self._source.fill)
        self._pending += self._source.take(timeout_s)

    def learn(self) -> dict[str, float] | None:
        """Updates on all pending segments and publishes; None if none of them was usable.

        Segments are sorted by worker, so that the result does not depend on who was first to arrive. They count as
        pending until the new weights are there, by which workers know that the learner is busy.
        """
        fill, self._highest_fill = self._highest_fill, 0.0
        segments, steps, self._pending = sorted(self._pending, key=lambda one: one.worker), self.pending_steps, []
        metrics = self.trainer.update(segments)
        if metrics:
            self._run.publish(self.trainer.image())
        used_steps = int(metrics.get("batch_steps", 0))
        self._run.counters.add_used(used_steps)
        self._run.counters.add_dropped(steps - used_steps)
        if not metrics:
            return None
        counts = {name: float(count) for name, count in self._run.counters.as_dict().items()}
        return metrics | counts | {"queue_fill": fill, "buffer_bytes": float(self._source.num_bytes)}
