"""What can go wrong in the shared policy's processes and files."""

from __future__ import annotations


class SharedPPOError(RuntimeError):
    """The processes cannot go on: the learner or a worker keeps dying, or there is too little shared memory."""


class CheckpointError(SharedPPOError):
    """A checkpoint is damaged, or was made with other settings."""
