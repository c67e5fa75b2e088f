"""The same learner code on a task that nobody here made: Gymnasium's Pendulum-v1."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np

from shared_ppo.alone import train_alone
from shared_ppo.body import BodyDescription, BodySpec, Observation, Step
from shared_ppo.config import ExperienceConfig, ObservationSpec, PPOConfig, SharedPPOConfig
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import EvaluateOrder

SPEC = ObservationSpec(joint_dim=3, joint_static_dim=1, global_dim=1, global_static_dim=1)


class Pendulum:
    """Pendulum-v1 as a body of one joint; its 200 steps end with a truncation."""

    def __init__(self, _: BodySpec) -> None:
        self.description = BodyDescription(np.ones((1, 1), np.float32), np.ones(1, np.float32), np.array([-1], np.int8))
        self._env = gymnasium.make("Pendulum-v1")
        self._total = 0.0

    @staticmethod
    def _observation(values: np.ndarray) -> Observation:
        return Observation((values / [1, 1, 8]).astype(np.float32)[None], np.ones(1, np.float32))

    def reset(self, seed: int, *, training: bool) -> Observation:
        """Starts an episode."""
        self._total = 0.0
        return self._observation(self._env.reset(seed=seed)[0])

    def step(self, action: np.ndarray) -> Step:
        """Applies a torque of -2 to 2 N m."""
        values, reward, terminated, truncated, _ = self._env.step(2 * np.clip(action, -1, 1))
        self._total += float(reward)
        return Step(self._observation(values), float(reward), terminated, truncated, {"return": self._total})

    def close(self) -> None:
        """Frees the environment."""
        self._env.close()


def test_it_swings_the_pendulum_up() -> None:
    """60,000 steps: a mean return above -300 over 10 episodes (untrained about -1200, solved about -150)."""
    config = SharedPPOConfig(
        ppo=PPOConfig(
            learning_rate=1e-3, epochs=10, minibatch_size=256, gamma=0.9, gae_lambda=0.95, target_kl=0.05, device="cpu"
        ),
        experience=ExperienceConfig(buffer_size=4096, min_batch_size=2048, update_interval=2048, segment_length=256),
    )
    config = replace(config, policy=replace(config.policy, slots=4, core_dim=64))
    supervisor = InProcessSupervisor(Pendulum, SPEC, config)
    supervisor.start()
    train_alone(supervisor, BodySpec(1, None), 60_000, copies=8)
    report = supervisor.evaluate_now(EvaluateOrder(0, (BodySpec(1, None),), (*range(10),)))
    supervisor.stop()
    assert np.mean([info["return"] for info in report.results[1]]) > -300
