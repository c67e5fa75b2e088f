"""Slots: the places where jobs run, each with its environment; a GPU is locked over all schedulers of this user."""

import fcntl
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


GPU_ID = re.compile(r"[\w.:/-]+")  # an index, or a UUID as nvidia-smi -L prints it


@dataclass
class Slot:
    """One place for one job.

    Attributes:
        gpu: id of its GPU as CUDA_VISIBLE_DEVICES wants it, "" without one.
        share: which of the jobs on this GPU.
        threads: limit for the numeric libraries of the job.
        lock_fd: the held GPU lock, inherited by the job, so that it lives as long as the job's last process.
    """

    gpu: str = ""
    share: int = 0
    threads: int = 1
    lock_fd: int | None = field(default=None, compare=False)

    def env(self) -> dict[str, str]:
        """Returns what the slot adds to a job's environment; thread limits set by the user win."""
        limits = {name: os.environ.get(name, str(self.threads)) for name in THREAD_VARIABLES}
        return {**limits, **({"CUDA_VISIBLE_DEVICES": self.gpu} if self.gpu else {})}


class Slots:
    """A fixed set of slots; `acquire` and `release` hand them out."""

    def __init__(self, slots: list[Slot]):
        """Keeps the slots, all of them free.

        Raises:
            ValueError: there is no slot.
        """
        if not slots:
            raise ValueError("at least one slot is needed, got none")
        self._free = list(slots)
        self.total = len(slots)

    @classmethod
    def plain(cls, num: int, *, threads: int | None = None) -> "Slots":
        """Returns `num` slots without GPU that share the cores."""
        return cls([Slot(threads=threads or _threads_each(num)) for _ in range(num)])

    @classmethod
    def gpus(cls, gpus: str, *, jobs_per_gpu: int = 1, limit: int | None = None, threads: int | None = None) -> "Slots":
        """Returns one slot per GPU and job on it, at most `limit`.

        Args:
            gpus: ids with commas between, as in "0,1,2".
            jobs_per_gpu: how many jobs share one GPU.
            limit: most slots.
            threads: thread limit of one job; by default the cores are shared evenly.

        Raises:
            ValueError: an empty, odd or repeated id, or a number below 1.
        """
        ids = [gpu.strip() for gpu in gpus.split(",")]
        if not all(map(GPU_ID.fullmatch, ids)) or len(set(ids)) < len(ids) or jobs_per_gpu < 1:
            raise ValueError(f"GPUs must be different ids with commas between, as in 0,1,2; got {gpus!r}")
        shares = [(gpu, share) for share in range(jobs_per_gpu) for gpu in ids][:limit]
        return cls([Slot(gpu, share, threads or _threads_each(len(shares))) for gpu, share in shares])

    def acquire(self) -> Slot | None:
        """Returns a free slot, or None if all are taken, by us or by another scheduler."""
        for index, slot in enumerate(self._free):
            if not slot.gpu or _lock(slot):
                return self._free.pop(index)
        return None

    def release(self, slot: Slot) -> None:
        """Takes a slot back."""
        if slot.lock_fd is not None:
            os.close(slot.lock_fd)
            slot.lock_fd = None
        self._free.append(slot)


def _threads_each(num: int) -> int:
    return max(1, (os.cpu_count() or 1) // max(1, num))


def _lock(slot: Slot) -> bool:
    """Locks the GPU of a slot; false if another scheduler's job is on it."""
    folder = Path(tempfile.gettempdir()) / f"gml-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock_fd = os.open(folder / f"{slot.gpu.replace('/', '_')}.{slot.share}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_fd)
        return False
    slot.lock_fd = lock_fd
    return True
