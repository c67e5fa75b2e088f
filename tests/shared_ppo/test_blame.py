"""Who is blamed for which death."""

from __future__ import annotations

import signal

import pytest

from shared_ppo.blame import Blame
from shared_ppo.body import BodySpec
from shared_ppo.config import WorkerConfig
from shared_ppo.errors import SharedPPOError
from shared_ppo.messages import EvaluateOrder, EvaluationReport
from shared_ppo.run_state import NOBODY

SEGV = -signal.SIGSEGV


def test_two_strikes() -> None:
    """A crash and a hang: the second sets the body aside, with both reasons; other bodies are not concerned."""
    blame = Blame(WorkerConfig(hang_timeout_s=7))
    bodies = (BodySpec(5, None), BodySpec(6, None))
    assert blame.judge(0, 5, SEGV, was_hanging=False) is None
    assert blame.judge(1, 6, 1, was_hanging=False) is None
    assert blame.allowed(bodies) == bodies
    failure = blame.judge(1, 5, -signal.SIGKILL, was_hanging=True)
    assert failure is not None and failure.body_id == 5 and failure.is_final
    assert "SIGSEGV" in failure.reason and "7 s" in failure.reason
    assert blame.allowed(bodies) == bodies[1:]
    report = blame.completed(EvaluationReport(1, 1, {6: []}, {}, 0), EvaluateOrder(1, bodies, (0,)))
    assert list(report.failed) == [5] and "set aside" in report.failed[5]


@pytest.mark.parametrize("exitcode", [-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT])
def test_kills_from_outside_blame_nobody(exitcode: int) -> None:
    """However many there are."""
    blame = Blame(WorkerConfig())
    for _ in range(100):
        assert blame.judge(0, 5, exitcode, was_hanging=False) is None
        assert blame.judge(0, NOBODY, exitcode, was_hanging=False) is None


def test_unexplained_deaths_have_a_budget() -> None:
    """Per worker; then the run fails with the last exit code."""
    blame = Blame(WorkerConfig(restart_budget=3))
    for _ in range(3):
        blame.judge(0, NOBODY, 1, was_hanging=False)
        blame.judge(1, NOBODY, 1, was_hanging=False)
    with pytest.raises(SharedPPOError, match=r"worker 0 died 4 times.*exit code 9"):
        blame.judge(0, NOBODY, 9, was_hanging=False)
