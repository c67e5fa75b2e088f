"""A body that trains alone learns with the same code."""

from __future__ import annotations

from dataclasses import replace

from fake_bodies import SPEC, make_body
from helpers import body, small_config

from shared_ppo.alone import AloneTraining, train_alone
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import EvaluateOrder, EvaluationReport


def learn(total_steps: int) -> tuple[AloneTraining, EvaluationReport, int]:
    """Trains a body alone and scores it; also tells the steps of the training."""
    config = small_config()
    config = replace(config, ppo=replace(config.ppo, target_kl=0.05))
    supervisor, steps = InProcessSupervisor(make_body, SPEC, config), [0]
    supervisor.start()
    training = train_alone(supervisor, body(4), total_steps, copies=4, on_steps=steps.append)
    report = supervisor.evaluate_now(EvaluateOrder(0, (body(4),), (0, 1)))
    supervisor.stop()
    return training, report, steps[-1]


def test_a_body_learns_alone() -> None:
    """From an untrained mean reward of -target^2 to nearly nothing lost, and reproducibly."""
    untrained, before, _ = learn(0)
    (trained, after, steps), (_, again, _) = learn(8000), learn(8000)
    assert untrained.metrics == {} and untrained.failed is None
    assert after.results == again.results and len(after.results[4]) == 2
    assert after.results[4][0]["total"] > 0.3 * before.results[4][0]["total"]
    assert 8000 <= steps <= 8000 + 4 * 32
    assert trained.metrics["updates"] == 8000 // 256 + 1
    assert trained.episodes


def test_a_body_that_fails_ends_its_training() -> None:
    """With the reason."""
    supervisor = InProcessSupervisor(make_body, SPEC, small_config())
    supervisor.start()
    training = train_alone(supervisor, body(4, fault="raise"), 500)
    supervisor.stop()
    assert training.failed is not None and "ZeroDivisionError" in training.failed
