"""Versioned weights in shared memory: never torn, never not finite."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from shared_ppo.weights import SharedWeights, TornReadError, VersionedMemory


def test_versions_and_contents() -> None:
    """Each write is the next version; a reader gets a copy."""
    weights = SharedWeights(multiprocessing, 5)
    assert weights.version == 0
    assert weights.publish(np.arange(5, dtype=np.float32)) == 1
    version, vector = weights.fetch()
    assert weights.publish(np.ones(5, np.float32)) == 2
    assert (version, vector.tolist()) == (1, [0, 1, 2, 3, 4])
    assert weights.fetch()[1].tolist() == [1] * 5


def test_a_run_can_go_on_at_any_version() -> None:
    """The first write may carry a later version."""
    weights = SharedWeights(multiprocessing, 2)
    assert weights.publish(np.ones(2, np.float32), version=56) == 56
    assert weights.publish(np.zeros(2, np.float32)) == 57
    assert weights.fetch()[0] == 57


def test_bad_weights_are_refused() -> None:
    """Wrong shape or not finite: nothing is published."""
    weights = SharedWeights(multiprocessing, 2)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        weights.publish(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        weights.publish(np.array([1, np.nan], np.float32))
    assert weights.version == 0


def test_damage_is_noticed() -> None:
    """A slot that does not fit its checksum is never handed out."""
    memory = VersionedMemory(multiprocessing, 8)
    assert memory.read() == (0, b"")
    memory.write(b"abcdefgh")
    memory._slot(1)[0] = 0
    with pytest.raises(TornReadError):
        memory.read(attempts=3)
    with pytest.raises(ValueError, match="do not fit"):
        memory.write(b"123456789")


def _write_for_ever(weights: SharedWeights) -> None:
    """Publishes vectors of one repeated number, as fast as possible."""
    number = 0
    while True:
        number += 1
        weights.publish(np.full(20_000, number % 1000, np.float32))


def test_readers_never_see_a_mix_and_survive_the_writer() -> None:
    """A hot writer is read, then killed in the middle of it; the last version stays readable."""
    context = multiprocessing.get_context("fork")
    weights = SharedWeights(context, 20_000)
    writer = context.Process(target=_write_for_ever, args=(weights,))
    writer.start()
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end or weights.version == 0:
            _, vector = weights.fetch() if weights.version else (0, np.zeros(1))
            assert np.ptp(vector) == 0
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert np.ptp(weights.fetch()[1]) == 0
