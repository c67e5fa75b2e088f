"""The update: textbook PPO on fresh data, robust on stale and broken data, and it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fake_bodies import SPEC
from helpers import body, learner_and_segments, small_config, worker

from shared_ppo.birth import new_learner
from shared_ppo.config import ActionConfig, PolicyConfig, PPOConfig
from shared_ppo.device import describe_device, pick_device
from shared_ppo.errors import SharedPPOError
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.segment import Segment


def textbook_gae(segment: Segment, values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """Schulman et al. 2016, eq. 16, as a plain loop over one segment; `values` has a row per observation."""
    advantages, following = np.zeros(segment.num_steps), 0.0
    for step in reversed(range(segment.num_steps)):
        row = segment.rows[step]
        future = 0.0 if segment.terminated[step] else values[row + 1]
        error = segment.rewards[step] + gamma * future - values[row]
        following = error + (0.0 if segment.ended[step] else gamma * lam * following)
        advantages[step] = following
    return advantages


def textbook_step(trainer: SharedPPOTrainer, segments: list[Segment]) -> torch.Tensor:
    """Parameters after one full-batch gradient step of PPO (Schulman et al. 2017) as in the book, body by body."""
    ppo, per_body = trainer.config.ppo, []
    for segment in segments:
        static = [torch.tensor(array)[None] for array in (segment.joint_static, segment.global_static)]
        static.append(torch.ones(1, segment.num_joints))
        joints = torch.tensor(segment.joints).transpose(0, 1)[None]
        globals_ = torch.tensor(segment.globals)[None]
        values = trainer.critic(trainer.critic.encode(*static), joints, globals_)[0]
        advantages = torch.tensor(textbook_gae(segment, values.detach().numpy(), ppo.gamma, ppo.gae_lambda)).float()
        targets = advantages + values.detach()[segment.rows]
        code = trainer.actor.encode(*static)
        mean = trainer.actor(code, joints[:, :, segment.rows], globals_[:, segment.rows])[0].transpose(0, 1)
        normal = torch.distributions.Normal(mean, code.log_std[0].transpose(0, 1).exp())
        log_prob = normal.log_prob(torch.tensor(segment.actions)).sum(dim=(1, 2))
        per_body.append((advantages, targets, values[segment.rows], log_prob, torch.tensor(segment.log_prob)))
    advantages, targets, values, new, old = (torch.cat(parts) for parts in zip(*per_body, strict=True))
    advantages = (advantages - advantages.mean()) / (advantages.std(unbiased=False) + 1e-8)
    ratio = torch.exp(new - old)
    objective = torch.min(ratio * advantages, torch.clamp(ratio, 1 - ppo.clip, 1 + ppo.clip) * advantages)
    loss = -objective.mean() + ppo.value_coefficient * 0.5 * (values - targets).pow(2).mean()
    parameters = [*trainer.actor.parameters(), *trainer.critic.parameters()]
    gradient = torch.cat(
        [
            torch.zeros(parameter.numel()) if part is None else part.reshape(-1)
            for part, parameter in zip(
                torch.autograd.grad(loss, parameters, allow_unused=True), parameters, strict=True
            )
        ]
    )
    return gradient * min(1.0, ppo.max_grad_norm / (float(gradient.norm()) + 1e-6))


def test_fresh_data_gives_textbook_ppo() -> None:
    """The gradient that the optimiser gets is the textbook's to 1e-6: different bodies, ends, padding and all."""
    ppo = PPOConfig(
        epochs=1, minibatch_size=10**6, advantage_norm="global", reward_scaling=False, target_kl=0, device="cpu"
    )
    bodies = (body(1, num_joints=2, horizon=9, terminates=True), body(2, num_joints=5), body(3, num_joints=5))
    trainer, segments = learner_and_segments(small_config(ppo=ppo), *bodies)
    expected = textbook_step(trainer, segments)
    trainer.update(segments)
    assert expected.norm() > 1e-3
    assert torch.allclose(trainer.flat.gradient, expected, atol=1e-6)


def test_ratio_per_joint_starts_with_the_same_gradient() -> None:
    """At ratio 1 both forms of the objective have one gradient."""
    gradients = []
    for ratio in ("body", "joint"):
        ppo = PPOConfig(epochs=1, minibatch_size=10**6, ratio=ratio, target_kl=0, device="cpu")
        trainer, segments = learner_and_segments(small_config(ppo=ppo), body(1, num_joints=2), body(2, num_joints=4))
        trainer.update(segments)
        gradients.append(trainer.flat.gradient.clone())
    assert torch.allclose(*gradients, atol=1e-6)


def test_an_update_reports() -> None:
    """Every metric is finite, the version moves on, weights change."""
    trainer, segments = learner_and_segments(small_config(), body(1, num_joints=2), body(2, num_joints=5))
    before = trainer.actor_vector()
    metrics = trainer.update(segments)
    assert all(math.isfinite(value) for value in metrics.values())
    expected = {"policy_loss", "value_loss", "entropy", "kl", "clip_fraction", "explained_variance", "grad_norm"}
    expected |= {"policy_lag_mean", "policy_lag_max", "effective_sample_size", "updates", "learn_seconds"}
    assert expected <= metrics.keys()
    assert metrics["policy_lag_max"] == 0 and metrics["effective_sample_size"] == pytest.approx(1.0, abs=1e-4)
    assert trainer.version == 2 and not np.array_equal(before, trainer.actor_vector())


def test_old_segments_are_dropped() -> None:
    """Lag 4 is taken, lag 5 is not; with nothing left there is no update."""
    trainer, segments = learner_and_segments(small_config(), body(1), body(2))
    trainer.version = 6
    assert trainer.update(segments) == {}
    assert trainer.version == 6
    metrics = trainer.update([replace(segments[0], policy_version=2), segments[1]])
    assert metrics["policy_lag_max"] == 4 and metrics["batch_steps"] == 32


def test_what_is_not_finite_never_reaches_the_weights() -> None:
    """A broken segment is dropped; a broken gradient is skipped and counted."""
    trainer, segments = learner_and_segments(small_config(), body(1), body(2))
    rewards = segments[0].rewards.copy()
    rewards[3] = np.inf
    metrics = trainer.update([replace(segments[0], rewards=rewards), segments[1]])
    assert metrics["batch_steps"] == 32
    huge = replace(segments[1], joints=segments[1].joints * np.float32(1e38), policy_version=trainer.version)
    metrics = trainer.update([huge])
    assert metrics["skipped_steps"] > 0
    assert np.isfinite(trainer.actor_vector()).all()


def test_kl_stop_ends_an_update() -> None:
    """With a huge learning rate the epochs stop early."""
    ppo = PPOConfig(learning_rate=0.1, epochs=50, minibatch_size=16, target_kl=0.01, device="cpu")
    trainer, segments = learner_and_segments(small_config(ppo=ppo), body(1))
    assert trainer.update(segments)["epochs_done"] < 50


@pytest.mark.parametrize(("decay_updates", "wanted"), [(3, [1e-3, 1e-3 / (4 / 3) ** 0.5]), (0, [1e-3, 1e-3])])
def test_the_learning_rate_falls_with_the_updates(decay_updates: int, wanted: list[float]) -> None:
    """By the square root of one plus their number over `decay_updates`."""
    ppo = PPOConfig(learning_rate=1e-3, decay_updates=decay_updates, minibatch_size=128, device="cpu")
    trainer, segments = learner_and_segments(small_config(ppo=ppo), body(1))
    assert [trainer.update(segments)["learning_rate"] for _ in range(2)] == pytest.approx(wanted)


def test_actor_and_critic_side_by_side_learn_the_same() -> None:
    """Two threads give bit by bit the weights of one."""
    vectors = []
    for threads in (1, 2):
        ppo = PPOConfig(threads=threads, minibatch_size=16, device="cpu")
        trainer, segments = learner_and_segments(small_config(ppo=ppo), body(1, num_joints=2), body(2, num_joints=5))
        trainer.update(segments)
        vectors.append(trainer.flat.vector.detach().clone())
    assert torch.equal(*vectors)


def test_state_round_trip() -> None:
    """A restored learner makes the same next update, bit by bit."""
    config = small_config()
    trainer, segments = learner_and_segments(config, body(1), body(2))
    trainer.update(segments)
    other = SharedPPOTrainer(SPEC, config, seed=99)
    other.load_state(*trainer.state())
    for one in (trainer, other):
        one.update(segments)
    assert torch.equal(trainer.flat.vector, other.flat.vector)
    assert (trainer.version, trainer.updates) == (other.version, other.updates) == (3, 2)


def mean_reward(config, *bodies, updates: int) -> float:
    """Mean reward per step after some updates on these bodies."""
    trainer = SharedPPOTrainer(SPEC, config)
    one = worker(config, *bodies)
    for _ in range(updates):
        one.policy.load(trainer.version, trainer.actor_vector())
        metrics = trainer.update([segment for _ in range(4) for segment in one.rollout()])
    return metrics["reward_mean"]


@pytest.mark.parametrize("action", [ActionConfig(), ActionConfig(noise_correlation=0.7)], ids=["white", "correlated"])
def test_it_learns_targets_that_only_the_description_gives(action: ActionConfig) -> None:
    """Three bodies of 1, 3 and 5 joints: from about -0.45 (noise 0.5, targets up to 0.8) to above -0.12."""
    config = small_config(action=action)
    config = replace(config, ppo=replace(config.ppo, learning_rate=2e-3, minibatch_size=96, target_kl=0.05))
    bodies = [body(number, num_joints=number) for number in (1, 3, 5)]
    assert mean_reward(config, *bodies, updates=1) < -0.25
    assert mean_reward(config, *bodies, updates=60) > -0.12


def test_network_that_does_not_fit_into_memory_is_one_clear_error():
    config = small_config(policy=PolicyConfig(core_dim=10**13))
    with pytest.raises(SharedPPOError, match="the learner cannot be made"):
        new_learner(SPEC, config, 0, None)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_a_device_is_always_found(name: str) -> None:
    """ "auto" takes a GPU where torch can use one."""
    wanted = "cuda" if name == "auto" and torch.cuda.is_available() else "cpu"
    assert pick_device(name).type == wanted
    assert ("GPU" in describe_device(name)) == (wanted == "cuda")


def test_a_gpu_that_does_not_work_is_left_alone(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """As one that is full or too old: "auto" says so and takes the CPU, "cuda" is refused with the reason."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", Mock(side_effect=RuntimeError("CUDA error: out of memory\ndetails")))
    assert describe_device("auto") == "the CPU" and "left alone: CUDA error: out of memory" in caplog.text
    with pytest.raises(SharedPPOError, match=r"cannot use a GPU here: CUDA error: out of memory$"):
        pick_device("cuda")


def test_a_state_is_a_copy() -> None:
    """What is learned later does not change it."""
    trainer, segments = learner_and_segments(small_config(), body(1))
    arrays, _ = trainer.state()
    before = arrays["parameters"].copy()
    trainer.update(segments)
    assert np.array_equal(arrays["parameters"], before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU and a CUDA build of PyTorch")
class TestGPU:
    """The same update on a GPU, where gradients come from captured graphs."""

    def update_on(self, device: str, *, updates: int = 1, **ppo: object) -> SharedPPOTrainer:
        """A learner after updates on the same fresh segments, eight of each body."""
        config = small_config(ppo=replace(small_config().ppo, **ppo))
        bodies = [body(number, num_joints=number, horizon=9) for number in (1, 3, 5)]
        start, segments = learner_and_segments(config, *bodies)
        for seed in range(1, 8):
            other = worker(config, *bodies, seed=seed)
            other.policy.load(start.version, start.actor_vector())
            segments += other.rollout()
        trainer = SharedPPOTrainer(SPEC, replace(config, ppo=replace(config.ppo, device=device)))
        trainer.load_state(*start.state())
        for _ in range(updates):
            trainer.update([replace(segment, policy_version=trainer.version) for segment in segments])
        return trainer

    def test_one_step_is_that_of_the_cpu(self) -> None:
        """The gradient of a whole batch agrees to float32."""
        on_cpu, on_gpu = (self.update_on(device, epochs=1, minibatch_size=10**6) for device in ("cpu", "cuda"))
        difference = (on_gpu.flat.gradient.cpu() - on_cpu.flat.gradient).norm() / on_cpu.flat.gradient.norm()
        assert on_gpu.flat.gradient.is_cuda and difference < 1e-4

    def test_many_steps_stay_close_to_those_of_the_cpu(self) -> None:
        """Several minibatches, of two shapes, and updates: a replay reads what it is given, not what was captured."""
        on_cpu, on_gpu = (
            self.update_on(device, updates=3, minibatch_size=240, joint_groups=1) for device in ("cpu", "cuda")
        )
        start = SharedPPOTrainer(SPEC, on_cpu.config)
        moved = np.linalg.norm(on_cpu.actor_vector() - start.actor_vector())
        assert np.linalg.norm(on_gpu.actor_vector() - on_cpu.actor_vector()) < 0.02 * moved

    def test_it_is_reproducible(self) -> None:
        """Bit by bit, as sync mode promises."""
        first, second = (self.update_on("cuda", updates=3).actor_vector() for _ in range(2))
        assert np.array_equal(first, second)
