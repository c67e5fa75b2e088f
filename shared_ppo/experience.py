"""The way of segments from many workers to one learner, safe against SIGKILL at any moment.

The data lies in slots in shared memory that belong to one worker each; a message of a few bytes on that worker's own
`mp.Queue` says which slot is full. Nothing is shared between workers, so none can leave a lock behind that another
one needs. A message is shorter than PIPE_BUF, hence written whole or not at all. A slot carries a token (incarnation
and sequence number of its writer) and a checksum: the learner copies first and then checks both, so a slot that a
successor has overwritten is noticed. Slots are freed by the learner writing the token back.
"""

from __future__ import annotations

import math
import multiprocessing
import queue
import time
import zlib
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import numpy as np

from shared_ppo.config import ExperienceConfig
from shared_ppo.segment import Segment, SegmentLayout

_TOKEN, _CHECKSUM, _BODY, _VERSION, _STEPS, _JOINTS, _ROWS = range(7)
_HEADER_ITEMS = 7
_SEQUENCE_BITS = 32
_WAIT_FOR_SLOT_S = 0.001
_SPARE_PREDECESSOR_S = 2.0


class ExperienceCounters:
    """Control steps sent by each worker, and received, used and dropped by the learner; each has one writer."""

    _RECEIVED, _USED, _DROPPED = range(3)

    def __init__(self, context: Any, num_workers: int) -> None:
        self._learner = context.RawArray("q", 3)
        self._sent = context.RawArray("q", num_workers)

    def add_sent(self, worker: int, steps: int) -> None:
        """Called by a worker before its message goes out."""
        self._sent[worker] += steps

    def add_received(self, steps: int) -> None:
        """Called by the learner when it has a segment."""
        self._learner[self._RECEIVED] += steps

    def add_used(self, steps: int) -> None:
        """Called by the learner after an update."""
        self._learner[self._USED] += steps

    def add_dropped(self, steps: int) -> None:
        """Called by the learner for segments too old or not finite."""
        self._learner[self._DROPPED] += steps

    @property
    def pending(self) -> int:
        """Control steps that the learner has received and neither used nor dropped yet."""
        return int(self._learner[self._RECEIVED] - self._learner[self._USED] - self._learner[self._DROPPED])

    def drop_unaccounted(self) -> int:
        """Counts as dropped what a learner that died had received but not used; returns the steps."""
        lost = self.pending
        self.add_dropped(lost)
        return lost

    def restore(self, received: int, used: int) -> None:
        """Continues from an earlier run's counts; what was received but not used then is gone."""
        self._sent[0] = received
        self._learner[self._RECEIVED] = received
        self._learner[self._USED] = used
        self._learner[self._DROPPED] = received - used

    def as_dict(self) -> dict[str, int]:
        """Returns all counts by name."""
        return {
            "experience_sent": int(sum(self._sent)),
            "experience_received": int(self._learner[self._RECEIVED]),
            "experience_used": int(self._learner[self._USED]),
            "experience_dropped": int(self._learner[self._DROPPED]),
        }


class SharedExperienceBuffer:
    """Bounded buffer between workers and learner: slots in shared memory and one small `mp.Queue` per worker.

    A worker that finds no free slot waits. Any worker may be killed at any moment: what it was writing is lost,
    what it had announced is still read, and its successor uses the same queue after `heal`.

    Attributes:
        seen: token of the newest announcement that the learner has read, by worker.
    """

    def __init__(
        self,
        layout: SegmentLayout,
        config: ExperienceConfig,
        *,
        num_workers: int = 1,
        context: Any = None,
        counters: ExperienceCounters | None = None,
    ) -> None:
        """Allocates the shared memory.

        Args:
            layout: of the segments.
            config: sizes in control steps.
            num_workers: writers.
            context: a multiprocessing context (default: the platform's).
            counters: to count on with (default: new ones).
        """
        context = context or multiprocessing.get_context()
        self.layout = layout
        self.num_workers = num_workers
        self.slots_per_worker = max(2, math.ceil(config.buffer_size / (num_workers * layout.max_steps)))
        num_slots = num_workers * self.slots_per_worker
        self.counters = counters or ExperienceCounters(context, num_workers)
        self.seen = [0] * num_workers
        self._headers = context.RawArray("q", num_slots * _HEADER_ITEMS)
        self._released = context.RawArray("q", num_slots)
        self._slots = context.RawArray("f", num_slots * layout.capacity)
        self._queues = [context.Queue() for _ in range(num_workers)]

    @staticmethod
    def bytes_needed(layout: SegmentLayout, config: ExperienceConfig, num_workers: int) -> int:
        """Shared memory that a buffer takes, in bytes."""
        slots = max(2, math.ceil(config.buffer_size / (num_workers * layout.max_steps))) * num_workers
        return slots * (4 * layout.capacity + 8 * (_HEADER_ITEMS + 1))

    @property
    def num_bytes(self) -> int:
        """Shared memory in use, in bytes."""
        return 4 * len(self._slots) + 8 * (len(self._headers) + len(self._released))

    def header(self, index: int) -> np.ndarray:
        """View of a slot's header, (7,) int64; `index` counts over all workers."""
        return np.frombuffer(self._headers, np.int64)[index * _HEADER_ITEMS : (index + 1) * _HEADER_ITEMS]

    def slot(self, index: int) -> np.ndarray:
        """View of a slot's numbers, (capacity,) float32."""
        capacity = self.layout.capacity
        return np.frombuffer(self._slots, np.float32)[index * capacity : (index + 1) * capacity]

    def released(self, index: int) -> int:
        """Token of the last segment that the learner took from this slot."""
        return int(self._released[index])

    @property
    def fill(self) -> float:
        """Share of the slots that hold a segment which nobody has read yet."""
        tokens = np.frombuffer(self._headers, np.int64)[_TOKEN::_HEADER_ITEMS]
        return float(np.mean(tokens != np.frombuffer(self._released, np.int64)))

    @property
    def readers(self) -> list[Any]:
        """The queues' ends to wait on with `multiprocessing.connection.wait`."""
        return [one._reader for one in self._queues]

    def writer(self, worker: int, incarnation: int) -> ExperienceWriter:
        """Returns the worker's end; `incarnation` (from 1) tells it from its dead predecessors."""
        return ExperienceWriter(self, self._queues[worker], worker, incarnation)

    def take(self, timeout_s: float = 0.0) -> list[Segment]:
        """Returns all segments announced by now, by worker; waits up to `timeout_s` for the first. Learner only."""
        connection.wait(self.readers, timeout_s)
        segments = [segment for worker in range(self.num_workers) for segment in self._take_from(worker)]
        self.counters.add_received(sum(segment.num_steps for segment in segments))
        return segments

    def _take_from(self, worker: int) -> list[Segment]:
        """Returns what one worker has announced."""
        segments: list[Segment] = []
        while True:
            try:
                slot, token = self._queues[worker].get_nowait()
            except queue.Empty:
                return segments
            self.seen[worker] = token
            segment = self._copy(worker, slot, token)
            if segment is not None:
                segments.append(segment)

    def _copy(self, worker: int, slot: int, token: int) -> Segment | None:
        """Copies a slot and frees it; None if a successor of its writer has overwritten it."""
        index = worker * self.slots_per_worker + slot
        header = self.header(index).copy()
        steps, joints, rows = (int(header[item]) for item in (_STEPS, _JOINTS, _ROWS))
        size = self.layout.size(steps, joints, rows)
        numbers = self.slot(index)[: max(size, 0)].copy()
        if header[_TOKEN] != token or size < 0 or zlib.crc32(numbers.data) != header[_CHECKSUM]:
            return None
        self._released[index] = token
        arrays = self.layout.unpack(numbers, steps, joints, rows)
        return Segment(body_id=int(header[_BODY]), worker=worker, policy_version=int(header[_VERSION]), **arrays)

    def heal(self, worker: int) -> None:
        """Makes a dead worker's queue usable for its successor. Only after the dead one was reaped.

        Only that worker writes to its queue, so a write lock that is still held belongs to nobody.
        """
        lock = getattr(self._queues[worker], "_wlock", None)
        if lock is not None:
            lock.acquire(block=False)
            lock.release()

    def close(self) -> None:
        """Closes the queues of this process without waiting for unread messages."""
        for one in self._queues:
            one.cancel_join_thread()
            one.close()


class ExperienceWriter:
    """A worker's end of the buffer.

    Attributes:
        last_token: of the newest segment put; 0 before the first.
    """

    def __init__(self, buffer: SharedExperienceBuffer, messages: Any, worker: int, incarnation: int) -> None:
        self._buffer = buffer
        self._messages = messages
        self._worker = worker
        self._incarnation = incarnation
        self._sequence = 0
        self._first = worker * buffer.slots_per_worker
        self._started_at = time.monotonic()
        self.last_token = 0
        self._mine = [self._unread(slot) for slot in range(buffer.slots_per_worker)]

    def put(self, segment: Segment, *, while_waiting: Callable[[], None] = lambda: None) -> None:
        """Stores a segment and announces it; waits for a free slot, calling `while_waiting` about every ms."""
        slot = self._free_slot()
        while slot is None:
            while_waiting()
            time.sleep(_WAIT_FOR_SLOT_S)
            slot = self._free_slot()
        self._sequence += 1
        token = self._incarnation << _SEQUENCE_BITS | self._sequence
        self._fill(self._first + slot, token, segment)
        self._mine[slot] = self.last_token = token
        self._buffer.counters.add_sent(self._worker, segment.num_steps)
        self._messages.put((slot, token))

    def _unread(self, slot: int) -> int:
        """Token of a segment that a predecessor left in a slot and nobody has read, or 0."""
        token = int(self._buffer.header(self._first + slot)[_TOKEN])
        return 0 if self._buffer.released(self._first + slot) == token else token

    def _free_slot(self) -> int | None:
        """A slot that is empty or was read.

        What a predecessor left is spared for a while: most of it was announced and will be read. A segment whose
        announcement died with its writer never will be, so after that while its slot is taken.
        """
        spares = time.monotonic() - self._started_at < _SPARE_PREDECESSOR_S
        for slot, token in enumerate(self._mine):
            is_ours = token >> _SEQUENCE_BITS == self._incarnation
            if token == 0 or self._buffer.released(self._first + slot) == token or not (is_ours or spares):
                return slot
        return None

    def _fill(self, index: int, token: int, segment: Segment) -> None:
        """Writes numbers, checksum and header, the token last."""
        header, numbers = self._buffer.header(index), self._buffer.slot(index)
        header[_TOKEN] = 0
        size = self._buffer.layout.pack(segment, numbers)
        header[_CHECKSUM] = zlib.crc32(numbers[:size].data)
        header[_BODY], header[_VERSION] = segment.body_id, segment.policy_version
        header[_STEPS], header[_JOINTS], header[_ROWS] = segment.num_steps, segment.num_joints, segment.joints.shape[0]
        header[_TOKEN] = token

    def close(self) -> None:
        """Sends what was announced and closes."""
        self._messages.close()
        self._messages.join_thread()


class LocalExperienceBuffer:
    """The same way within one process, without copies."""

    def __init__(self, num_workers: int = 1, counters: ExperienceCounters | None = None) -> None:
        self.counters = counters or ExperienceCounters(multiprocessing, num_workers)
        self.fill = 0.0
        self.num_bytes = 0
        self._segments: list[Segment] = []

    def put(self, segment: Segment) -> None:
        """Keeps a segment for the next `take`."""
        self.counters.add_sent(segment.worker, segment.num_steps)
        self._segments.append(segment)

    def take(self, timeout_s: float = 0.0) -> list[Segment]:
        """Returns all segments put since the last call."""
        segments, self._segments = self._segments, []
        self.counters.add_received(sum(segment.num_steps for segment in segments))
        return segments
