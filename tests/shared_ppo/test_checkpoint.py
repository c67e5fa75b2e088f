"""Checkpoints are whole, or not there."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from shared_ppo import checkpoint
from shared_ppo.errors import CheckpointError

ARRAYS = {"parameters": np.arange(50_000, dtype=np.float32), "empty": np.zeros(0, np.float32)}


def test_round_trip(tmp_path: Path) -> None:
    """Arrays and values come back as they were."""
    meta = {"version": 3, "rng": {"state": 2**100}}
    checkpoint.write_atomically(tmp_path / "a.ckpt", checkpoint.to_bytes(ARRAYS, meta))
    arrays, read = checkpoint.read(tmp_path / "a.ckpt")
    assert read == meta | {"format": 1}
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_other_formats_are_refused() -> None:
    """Zips of something else, and later formats."""
    later = checkpoint.to_bytes(ARRAYS, {}).replace(b'"format": 1', b'"format": 2')
    for data in (b"PK\x03\x04", later):
        with pytest.raises(CheckpointError):
            checkpoint.from_bytes(data, "it")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the data is flushed: an OSError, the old content, no litter."""
    path = tmp_path / "a.ckpt"
    checkpoint.write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def _save_for_ever(path: Path) -> None:
    """Writes checkpoints as fast as possible."""
    while True:
        checkpoint.write_atomically(path, checkpoint.to_bytes(ARRAYS, {}))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """30 SIGKILLs at random moments: the file is always readable."""
    path, choose = tmp_path / "a.ckpt", random.Random(1)
    checkpoint.write_atomically(path, checkpoint.to_bytes(ARRAYS, {}))
    for _ in range(30):
        process = multiprocessing.get_context("fork").Process(target=_save_for_ever, args=(path,))
        process.start()
        time.sleep(choose.uniform(0.0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        checkpoint.read(path)
