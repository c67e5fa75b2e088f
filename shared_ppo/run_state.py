"""What the processes of a run share, apart from the experience: weights, the learner's state, counters, heartbeats.

All of it lies in memory that the main process owns, so it outlives any other process. The learner stores its whole
state there after every update: a checkpoint is written by the main process alone, and a learner that was killed goes
on from its last update.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared_ppo import checkpoint
from shared_ppo.errors import CheckpointError, SharedPPOError
from shared_ppo.experience import ExperienceCounters
from shared_ppo.weights import SharedWeights, VersionedMemory

NOBODY = -1
_STATE_SLACK_BYTES = 64 * 1024
_SHARED_MEMORY = Path("/dev/shm")


class LearnerImage(NamedTuple):
    """The learner at one moment.

    Attributes:
        state: all that it needs to go on, as bytes.
        actor: (P,) float32 weights that workers act with.
        version: of these weights.
    """

    state: bytes
    actor: np.ndarray
    version: int


class Start(NamedTuple):
    """What a run goes on from.

    Attributes:
        learner: state of the learner, or None for a new one.
        env_steps: control steps before.
        received: experience received before.
        used: experience used before.
    """

    learner: bytes | None = None
    env_steps: int = 0
    received: int = 0
    used: int = 0

    @staticmethod
    def read(path: Path | None) -> Start:
        """Reads a checkpoint file; None is a new run.

        Raises:
            CheckpointError: if it cannot be read or is damaged.
        """
        if path is None:
            return Start()
        arrays, meta = checkpoint.read(path)
        try:
            state, counts = arrays["learner"].tobytes(), meta["counters"]
            received, used = int(counts["experience_received"]), int(counts["experience_used"])
            return Start(state, int(meta["env_steps"]), received, used)
        except KeyError as error:
            raise CheckpointError(f"checkpoint {path} lacks {error}") from error


class WorkerStatus:
    """What each process is doing: heartbeat, body in its hands, control steps. Each entry has one writer.

    Workers are counted from 0; the learner comes after the last one.
    """

    def __init__(self, context: Any, num_workers: int) -> None:
        self.learner = num_workers
        self._beats = context.RawArray("d", num_workers + 1)
        self._bodies = context.RawArray("q", [NOBODY] * (num_workers + 1))
        self._steps = context.RawArray("q", num_workers + 1)

    def beat(self, worker: int) -> float:
        """Monotonic time in s of a worker's last sign of life."""
        return float(self._beats[worker])

    def body(self, worker: int) -> int:
        """Id of the body that a worker has given control to, or NOBODY."""
        return int(self._bodies[worker])

    def reset(self, worker: int) -> None:
        """Prepares for a new incarnation; the steps of the old one stay counted."""
        self._bodies[worker] = NOBODY
        self._beats[worker] = time.monotonic()

    @property
    def total_steps(self) -> int:
        """Control steps of all workers."""
        return int(sum(self._steps))

    def watch(self, worker: int) -> WorkerWatch:
        """Returns the worker's end."""
        return WorkerWatch(self._beats, self._bodies, self._steps, worker)


class WorkerWatch:
    """A worker's end of `WorkerStatus`: a `Watch`."""

    def __init__(self, beats: Any, bodies: Any, steps: Any, worker: int) -> None:
        self._beats = np.frombuffer(beats, np.float64)
        self._bodies = np.frombuffer(bodies, np.int64)
        self._steps = np.frombuffer(steps, np.int64)
        self._worker = worker

    def beat(self) -> None:
        """Gives a sign of life."""
        self._beats[self._worker] = time.monotonic()

    def entering(self, body_id: int) -> None:
        """Says which body gets control."""
        self._bodies[self._worker] = body_id
        self.beat()

    def left(self) -> None:
        """Says that no body has control."""
        self._bodies[self._worker] = NOBODY

    def count_step(self) -> None:
        """Counts a control step."""
        self._steps[self._worker] += 1


class RunState:
    """Shared memory of a run.

    Attributes:
        weights: the actor's, versioned.
        learner: the learner's whole state, versioned.
        counters: of the experience.
        status: of the workers.
    """

    def __init__(self, context: Any, num_workers: int, newborn: LearnerImage, start: Start) -> None:
        """Allocates and publishes.

        Args:
            context: a multiprocessing context.
            num_workers: worker processes.
            newborn: the learner at the start.
            start: what the run goes on from.
        """
        self.counters = ExperienceCounters(context, num_workers)
        self.counters.restore(start.received, start.used)
        self.status = WorkerStatus(context, num_workers)
        self.weights = SharedWeights(context, newborn.actor.size)
        self.learner = VersionedMemory(context, len(newborn.state) + _STATE_SLACK_BYTES)
        self.publish(newborn)
        self._steps_before = start.env_steps
        self._stopping = context.RawValue("b", 0)

    @property
    def is_stopping(self) -> bool:
        """Whether workers that wait for room in the buffer should end."""
        return bool(self._stopping.value)

    def announce_stop(self) -> None:
        """Ends the waiting of workers for room."""
        self._stopping.value = 1

    @property
    def env_steps(self) -> int:
        """Control steps of all workers, those before a resume included."""
        return self._steps_before + self.status.total_steps

    def publish(self, image: LearnerImage) -> None:
        """Stores the learner's state, then publishes the weights: what workers act with is never lost."""
        self.learner.write(image.state)
        self.weights.publish(image.actor, image.version)

    def save(self, path: Path) -> None:
        """Writes a checkpoint file.

        Raises:
            OSError: if it cannot be written.
        """
        _, state = self.learner.read()
        meta = {"env_steps": self.env_steps, "counters": self.counters.as_dict()}
        checkpoint.write_atomically(path, checkpoint.to_bytes({"learner": np.frombuffer(state, np.uint8)}, meta))


def require_shared_memory(num_bytes: int) -> None:
    """Checks that shared memory can be allocated; the kernel itself would only notice at the first write.

    Raises:
        SharedPPOError: if neither /dev/shm nor the folder for temporary files has room.
    """
    places = [place for place in (_SHARED_MEMORY, Path(tempfile.gettempdir())) if place.is_dir()]
    free = {place: shutil.disk_usage(place).free for place in places}
    if max(free.values(), default=0) < num_bytes:
        found = ", ".join(f"{place} {room / 2**20:.0f} MiB free" for place, room in free.items())
        raise SharedPPOError(
            f"{num_bytes / 2**20:.0f} MiB of shared memory are needed ({found}); lower buffer_size or max_joints, "
            "or give the container more (docker run --shm-size)"
        )
