"""The buffer: what goes in comes out, bounded, and no kill of a writer stops it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_ppo.config import ExperienceConfig, ObservationSpec
from shared_ppo.experience import LocalExperienceBuffer, SharedExperienceBuffer
from shared_ppo.segment import Segment, SegmentLayout

LAYOUT = SegmentLayout(ObservationSpec(4, 3, 2, 2), outputs_per_joint=2, max_steps=16, max_joints=5)
CONFIG = ExperienceConfig(buffer_size=64, min_batch_size=16, update_interval=16, segment_length=16)


def segment(seed: int = 0, worker: int = 0, steps: int = 16, joints: int = 3, version: int = 1) -> Segment:
    """Random content of the right shapes; every number depends on the seed."""
    rng = np.random.default_rng(seed)
    ended = np.zeros(steps, np.float32)
    ended[rng.integers(steps)] = 1
    rows = steps + 1 + int(ended[:-1].sum())
    arrays = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in LAYOUT.shapes(steps, joints, rows).items()
    }
    arrays |= {"terminated": np.zeros(steps, np.float32), "truncated": ended}
    return Segment(body_id=seed, worker=worker, policy_version=version, **arrays)


def assert_equal(one: Segment, other: Segment) -> None:
    """All fields are the same."""
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(other, name)), name


def take(buffer: SharedExperienceBuffer, count: int = 1) -> list[Segment]:
    """Waits for so many segments."""
    found: list[Segment] = []
    end = time.monotonic() + 10
    while len(found) < count and time.monotonic() < end:
        found += buffer.take(0.1)
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 16), st.integers(1, 5))
def test_packing_keeps_every_number(seed: int, steps: int, joints: int) -> None:
    """pack, then unpack, for any size that fits."""
    one = segment(seed, steps=steps, joints=joints)
    slot = np.full(LAYOUT.capacity, np.nan, np.float32)
    rows = one.joints.shape[0]
    assert LAYOUT.pack(one, slot) == LAYOUT.size(steps, joints, rows)
    assert_equal(one, replace(one, **LAYOUT.unpack(slot, steps, joints, rows)))


def test_what_goes_in_comes_out() -> None:
    """From two workers, in each one's order; counted on both sides."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG, num_workers=2)
    writers = [buffer.writer(index, 1) for index in range(2)]
    sent = [segment(1, 0), segment(2, 0, steps=5, joints=1), segment(3, 1, joints=5)]
    for one in sent:
        writers[one.worker].put(one)
    received = sorted(take(buffer, 3), key=lambda one: one.body_id)
    for one, other in zip(sent, received, strict=True):
        assert_equal(one, other)
    counts = buffer.counters.as_dict()
    assert counts["experience_sent"] == counts["experience_received"] == 37
    buffer.close()


def test_a_full_buffer_makes_the_writer_wait() -> None:
    """buffer_size 64 = four slots of 16 steps; the fifth put waits until one was read."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG)
    writer, waits = buffer.writer(0, 1), []
    for number in range(4):
        writer.put(segment(number))
    assert buffer.fill == 1.0

    def read_at_the_third_wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            assert len(take(buffer, 4)) == 4

    writer.put(segment(9), while_waiting=read_at_the_third_wait)
    assert len(waits) == 3 and buffer.fill == 0.25
    assert take(buffer)[0].body_id == 9
    buffer.close()


def test_what_a_dead_writer_announced_is_still_read() -> None:
    """Its successor uses other slots while there are any."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG)
    old = buffer.writer(0, 1)
    old.put(segment(1))
    old.put(segment(2))
    buffer.writer(0, 2).put(segment(3))
    assert [one.body_id for one in take(buffer, 3)] == [1, 2, 3]
    buffer.close()


def test_what_a_successor_overwrites_is_never_read_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while a successor takes slots that nobody read; their announcements then lead to nothing."""
    monkeypatch.setattr("shared_ppo.experience._SPARE_PREDECESSOR_S", 0.0)
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG)
    old = buffer.writer(0, 1)
    old.put(segment(1))
    old.put(segment(2))
    buffer.writer(0, 2).put(segment(3))
    assert [one.body_id for one in take(buffer, 2)] == [2, 3]
    counts = buffer.counters.as_dict()
    assert counts["experience_sent"] - counts["experience_received"] == 16
    buffer.close()


def test_damaged_slots_are_not_read() -> None:
    """One flipped number, or nonsense in the header."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG)
    writer = buffer.writer(0, 1)
    for number in range(3):
        writer.put(segment(number))
    time.sleep(0.1)
    buffer.slot(0)[10] += 1
    buffer.header(1)[4] = 10**9
    assert [one.body_id for one in take(buffer, 1)] == [2]
    buffer.close()


def test_a_lock_left_by_a_dead_writer_is_released() -> None:
    """With the queue's write lock held by nobody alive, the successor's message gets through after `heal`."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG)
    buffer._queues[0]._wlock.acquire()
    buffer.heal(0)
    buffer.heal(0)
    buffer.writer(0, 2).put(segment(5))
    assert [one.body_id for one in take(buffer)] == [5]
    buffer.close()


def _write_for_ever(buffer: SharedExperienceBuffer, worker: int, incarnation: int) -> None:
    """Sends segments as fast as the reader takes them."""
    writer, number = buffer.writer(worker, incarnation), 0
    while True:
        number += 1
        writer.put(segment(number % 50, worker))


def test_writers_killed_at_random_never_stop_the_reader() -> None:
    """25 SIGKILLs of hot writers on two queues: after each, both queues deliver again, and only whole segments."""
    context = multiprocessing.get_context("fork")
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG, num_workers=2, context=context)
    incarnations = [1, 1]

    def start(worker: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=_write_for_ever, args=(buffer, worker, incarnations[worker]), daemon=True)
        process.start()
        return process

    processes = [start(0), start(1)]
    choose = random.Random(3)
    for _ in range(25):
        time.sleep(choose.uniform(0, 0.02))
        for one in buffer.take(0.0):
            assert_equal(one, segment(one.body_id, one.worker))
        victim = choose.randrange(2)
        os.kill(processes[victim].pid, signal.SIGKILL)
        processes[victim].join()
        buffer.heal(victim)
        incarnations[victim] += 1
        processes[victim] = start(victim)
        seen: set[int] = set()
        end = time.monotonic() + 20
        while seen != {0, 1}:
            assert time.monotonic() < end, f"workers {seen} of 0 and 1 delivered after a kill"
            seen |= {one.worker for one in buffer.take(0.05)}
    for process in processes:
        process.kill()
        process.join()
    buffer.close()


def test_local_buffer_speaks_the_same_language() -> None:
    """put, take and counters, without processes."""
    buffer = LocalExperienceBuffer()
    buffer.put(segment(1))
    assert [one.body_id for one in buffer.take()] == [1] and buffer.take() == []
    assert buffer.counters.as_dict()["experience_received"] == 16


def test_bytes_needed_is_what_is_allocated() -> None:
    """So that too little shared memory can be reported before it is touched."""
    buffer = SharedExperienceBuffer(LAYOUT, CONFIG, num_workers=3)
    assert buffer.num_bytes == SharedExperienceBuffer.bytes_needed(LAYOUT, CONFIG, 3)
    assert buffer.num_bytes == pytest.approx(4 * LAYOUT.capacity * 6, rel=0.05)
