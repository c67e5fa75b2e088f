"""When the learner learns, and what the others can see of it."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import pytest
from fake_bodies import SPEC
from helpers import body, learner_and_segments, small_config

from shared_ppo.birth import new_learner
from shared_ppo.experience import LocalExperienceBuffer
from shared_ppo.learning_loop import LearningLoop
from shared_ppo.run_state import RunState, Start


def loop_with_experience(stale: int) -> tuple[LearningLoop, RunState]:
    """A learner that has received two segments of 32 steps, of which so many are too old."""
    config = small_config()
    _, segments = learner_and_segments(config, body(1), body(2))
    start = Start.read(None)
    run = RunState(multiprocessing, 1, new_learner(SPEC, config, 0, start.learner), start)
    buffer = LocalExperienceBuffer(1, run.counters)
    loop = LearningLoop(SPEC, config, run, buffer)
    for number, segment in enumerate(segments):
        buffer.put(replace(segment, policy_version=-9) if number < stale else segment)
    loop.collect()
    return loop, run


@pytest.mark.parametrize("stale", [0, 1])
def test_a_batch_is_pending_until_its_weights_are_there(stale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers wait while it is; then used + dropped = received."""
    loop, run = loop_with_experience(stale)
    seen, publish = [], run.publish

    def note(*arguments: object) -> None:
        seen.append(run.counters.pending)
        publish(*arguments)

    monkeypatch.setattr(run, "publish", note)
    assert loop.learn() is not None
    assert seen == [64] and run.counters.pending == 0 and run.weights.version == 2
    counts = run.counters.as_dict()
    assert (counts["experience_used"], counts["experience_dropped"]) == (64 - 32 * stale, 32 * stale)


def test_nothing_usable_is_no_update() -> None:
    """It is counted as dropped, and nothing is published."""
    loop, run = loop_with_experience(stale=2)
    assert loop.learn() is None
    assert run.counters.pending == 0 and run.counters.as_dict()["experience_dropped"] == 64 and run.weights.version == 1
