"""A pool: runs jobs on slots, never more than there are, and leaves no process behind."""

import time
import uuid
from types import TracebackType

from gml.jobs.guard import Guard
from gml.jobs.job import Job, State, wait_exits
from gml.jobs.slots import Slot, Slots

LOCKED_GPU_RETRY_S = 0.2  # how often a GPU that another scheduler holds is looked at again


class JobPool:
    """Runs jobs side by side. Use it in a `with` block; one thread.

    Attributes:
        running: jobs that were started and have not been returned by `wait`.
    """

    def __init__(self, slots: Slots):
        """Starts the guard process of the pool."""
        self._slots = slots
        self._next: Slot | None = None
        self._held: dict[Job, Slot] = {}
        self._token = uuid.uuid4().hex
        self._guard = Guard(self._token)

    @property
    def running(self) -> list[Job]:
        """Jobs in the order of their start."""
        return list(self._held)

    def has_room(self) -> bool:
        """Returns whether a slot is free; the slot is then kept for the next `start`."""
        self._next = self._next or self._slots.acquire()
        return self._next is not None

    def next_slot(self) -> Slot:
        """Returns the slot that the next `start` will use.

        Raises:
            RuntimeError: none is free.
        """
        if not self.has_room():
            raise RuntimeError(f"all {self._slots.total} slots are taken; wait() for a job to end first")
        assert self._next is not None
        return self._next

    def start(self, job: Job) -> None:
        """Starts a job on a free slot.

        Raises:
            RuntimeError: none is free.
        """
        slot = self.next_slot()
        job.gpu = slot.gpu
        held = () if slot.lock_fd is None else (slot.lock_fd,)
        job.start(env=slot.env(), token=self._token, pass_fds=held)
        assert job.trace is not None
        self._held[job], self._next = slot, None
        self._guard.tell(job.trace)

    def wait(self, timeout_s: float | None = None) -> list[Job]:
        """Waits until at least one job has ended, at most `timeout_s` seconds.

        Returns:
            The jobs that ended, whole trees; their slots are free again. Empty if time is up or nothing runs.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self._held:
            if ended := [job for job in self._held if job.poll() != State.RUNNING]:
                return [self._release(job) for job in ended]
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return []
            wait_exits(self.running, left)
        if timeout_s is not None and not self._held and not self.has_room():
            time.sleep(min(timeout_s, LOCKED_GPU_RETRY_S))  # every GPU is another scheduler's
        return []

    def _release(self, job: Job) -> Job:
        assert job.trace is not None
        self._slots.release(self._held.pop(job))
        self._guard.tell(job.trace, ended=True)
        return job

    def end_all(self, state: State, reason: str) -> list[Job]:
        """Ends all running jobs together and returns them."""
        for job in self.running:
            job.stop(state, reason)
        ended: list[Job] = []
        while self._held:
            ended += self.wait()
        return ended

    def close(self) -> None:
        """Ends the guard; what still runs ends with it."""
        if self._next is not None:
            self._slots.release(self._next)
            self._next = None
        self._guard.close()

    def __enter__(self) -> "JobPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.end_all(State.KILLED, "the pool was closed")
            else:
                self.end_all(State.ERROR, f"interrupted: {error or kind.__name__}")
        finally:
            self.close()
