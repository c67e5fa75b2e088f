"""How far workers run ahead of the learner."""

from __future__ import annotations

from shared_ppo.config import ExperienceConfig
from shared_ppo.pace import Pace

CONFIG = ExperienceConfig(buffer_size=1000, min_batch_size=100, update_interval=90, segment_length=10)


class Clock:
    """A clock that stands still until it is told to move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_share_under_each_version():
    pace = Pace(CONFIG, num_workers=2, clock=Clock())
    assert pace.share_steps == 50
    for version in (1, 2):
        for _ in range(5):
            assert pace.may_roll_out(version, learner_is_busy=False)
            pace.rolled_out(10, 0.1)
        assert not pace.may_roll_out(version, learner_is_busy=False)
        assert not pace.may_roll_out(version, learner_is_busy=True)


def test_waits_for_a_busy_learner_but_not_for_a_missing_worker():
    clock = Clock()
    pace = Pace(CONFIG, num_workers=2, clock=clock)
    assert pace.may_roll_out(1, learner_is_busy=False)
    pace.rolled_out(50, 0.1)
    for _ in range(100):
        clock.now += 1.0
        assert not pace.may_roll_out(1, learner_is_busy=True)
    clock.now += 0.4
    assert not pace.may_roll_out(1, learner_is_busy=False)
    clock.now += 0.2
    assert pace.may_roll_out(1, learner_is_busy=False)
    pace.rolled_out(30, 0.1)
    assert not pace.may_roll_out(1, learner_is_busy=True)
    assert pace.may_roll_out(1, learner_is_busy=False)  # another whole share
    pace.rolled_out(30, 0.1)
    assert not pace.may_roll_out(1, learner_is_busy=False)


def test_is_as_patient_as_its_own_share_took():
    clock = Clock()
    pace = Pace(CONFIG, num_workers=2, clock=clock)
    assert pace.may_roll_out(1, learner_is_busy=False)
    pace.rolled_out(20, 1.0)
    clock.now += 60.0  # evaluations between do not count
    pace.rolled_out(30, 2.0)
    clock.now += 2.9
    assert not pace.may_roll_out(1, learner_is_busy=False)
    clock.now += 0.2
    assert pace.may_roll_out(1, learner_is_busy=False)
