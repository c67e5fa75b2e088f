"""Segments say what happened: rows, ends, log-probabilities, and faults that stay with their body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_bodies import SPEC
from helpers import body, learner_and_segments, small_config, worker

from shared_ppo import losses
from shared_ppo.batch import make_groups
from shared_ppo.config import ActionConfig
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.messages import BodyFailed, EpisodeReport, EvaluateOrder, TrainOrder


def test_rows_around_episode_ends() -> None:
    """Horizon 20, 32 steps: one end, at step 19; row 20 is the true last observation, row 21 the next start."""
    _, [segment] = learner_and_segments(small_config(), body(1, num_joints=3, horizon=20))
    assert segment.joints.shape == (34, 3, 2) and segment.num_steps == 32
    assert segment.rows.tolist() == [*range(20), *range(21, 33)]
    share = segment.globals[:, 0] * 20
    assert share == pytest.approx([*range(21), *range(13)])
    assert np.flatnonzero(segment.truncated).tolist() == [19]
    assert not segment.terminated.any()


def test_an_end_on_the_last_step_adds_no_row() -> None:
    """Horizon 16, 32 steps: ends at 15 and 31."""
    _, [segment] = learner_and_segments(small_config(), body(1, horizon=16, terminates=True))
    assert np.flatnonzero(segment.terminated).tolist() == [15, 31]
    assert segment.joints.shape[0] == 34
    assert segment.globals[-1, 0] == 1.0


def test_episodes_go_on_across_segments() -> None:
    """The second segment starts where the first one ended, also if the mix changes around it."""
    config = small_config()
    trainer = SharedPPOTrainer(SPEC, config)
    one = worker(config, body(1, horizon=50), body(2))
    one.policy.load(1, trainer.actor_vector())
    first = one.rollout()[0]
    one.train(TrainOrder((body(3), body(1, horizon=50))))
    second = one.rollout()[1]
    assert second.body_id == 1
    assert second.globals[0, 0] == pytest.approx(first.globals[-1, 0])
    expected = config.ppo.gamma * first.running_return[-1] + second.rewards[0]
    assert second.running_return[0] == pytest.approx(expected, rel=1e-5)
    reports = [event for event in one.take_events() if isinstance(event, EpisodeReport)]
    assert [report.steps for report in reports if report.body_id == 1] == [50]


def test_many_short_episodes_close_a_segment_early() -> None:
    """A slot has room for four ends of a 32-step segment."""
    _, [segment, other] = learner_and_segments(small_config(), body(1, horizon=3), body(2, horizon=100))
    assert segment.num_steps == 12 and segment.ended.sum() == 4
    assert other.num_steps == 32


@pytest.mark.parametrize("space", ["direct", "clock", "rhythm"])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_worker_and_learner_agree(space: str, correlation: float) -> None:
    """For the same version both compute the same log-probabilities, noise memory and padding included."""
    config = small_config(action=ActionConfig(space=space, noise_correlation=correlation))
    trainer, segments = learner_and_segments(config, *(body(n, num_joints=n) for n in (1, 3, 6)))
    for group in make_groups(segments, 1, trainer.device):
        log_prob, _ = trainer._log_prob(group)
        total = (log_prob * group.mask[:, :, None]).sum(dim=1)
        assert torch.allclose(total, group.log_prob, atol=1e-5 * 18)


def test_worker_and_learner_compute_the_same_actions() -> None:
    """Mean actions of one version agree to 1e-5."""
    config = small_config()
    trainer, [segment] = learner_and_segments(config, body(1, num_joints=4))
    one = worker(config, body(1, num_joints=4))
    one.policy.load(1, trainer.actor_vector())
    acting = one.policy.encode([one._lanes[0].body.description])
    [group] = make_groups([segment], 1, trainer.device)
    code = trainer.actor.encode(group.joint_static, group.global_static, group.mask)
    learned = trainer.actor(code, group.joints, group.globals)[0, :, :, :].transpose(0, 1)
    acted = np.stack([acting.mean(segment.joints[None, row], segment.globals[None, row])[0] for row in segment.rows])
    assert np.allclose(acted, learned.detach().numpy(), atol=1e-5)


def test_stale_log_rho_is_that_of_the_weights() -> None:
    """After an update the ratio to the behaviour policy is no longer 1."""
    trainer, segments = learner_and_segments(small_config(), body(1), body(2))
    trainer.update(segments)
    [group] = make_groups(segments, 1, trainer.device)
    log_prob, _ = trainer._log_prob(group)
    log_rho = (log_prob * group.mask[:, :, None]).sum(dim=1) - group.log_prob
    assert log_rho.abs().max() > 1e-3
    assert losses.effective_sample_share(log_rho.exp(), group.valid) < 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("raise", "ZeroDivisionError: the fake simulator broke"), ("nan", "reward of nan"), ("build", "cannot be built")],
)
def test_a_failing_body_fails_alone(fault: str, reason: str) -> None:
    """It is reported with its reason and leaves the mix; its neighbour's segment is complete."""
    config = small_config()
    trainer = SharedPPOTrainer(SPEC, config)
    one = worker(config, body(1, fault=fault, at=10), body(2))
    one.policy.load(1, trainer.actor_vector())
    segments = one.rollout() + one.rollout()
    assert [segment.body_id for segment in segments] == [2, 2]
    failures = [event for event in one.take_events() if isinstance(event, BodyFailed)]
    assert not any(failure.is_final for failure in failures)
    assert len(failures) == 1 and failures[0].body_id == 1 and reason in failures[0].reason


def test_evaluation_is_deterministic_and_fails_per_body() -> None:
    """All bodies and seeds under one version; a body that fails has a reason and no score."""
    config = small_config()
    config = replace(config, workers=replace(config.workers, evaluation_rows=2))
    trainer = SharedPPOTrainer(SPEC, config)
    one = worker(config)
    one.policy.load(7, trainer.actor_vector())
    order = EvaluateOrder(5, (body(1), body(2, fault="raise", at=25), body(3, num_joints=9), body(4)), (0, 1))
    report = one.evaluate(order)
    assert (report.order_id, report.policy_version) == (5, 7)
    assert sorted(report.results) == [1, 4] and sorted(report.failed) == [2, 3]
    assert "max_joints = 6" in report.failed[3] and "broke" in report.failed[2]
    assert [info["steps"] for info in report.results[1]] == [20.0, 20.0]
    assert report.steps == 20 * 4 + 24
    assert one.evaluate(order).results == report.results
