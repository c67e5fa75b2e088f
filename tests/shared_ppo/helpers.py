"""Small settings and rollouts for the tests of the shared policy."""

from __future__ import annotations

from dataclasses import replace

from fake_bodies import SPEC, make_body

from shared_ppo.body import BodySpec
from shared_ppo.config import ExperienceConfig, PolicyConfig, PPOConfig, SharedPPOConfig, WorkerConfig
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.messages import TrainOrder
from shared_ppo.rollout import RolloutWorker
from shared_ppo.segment import Segment


class NoWatch:
    """Counts steps and watches nothing."""

    def __init__(self) -> None:
        self.steps = 0

    def entering(self, body_id: int) -> None:
        """Ignored."""

    def left(self) -> None:
        """Ignored."""

    def count_step(self) -> None:
        """Counts."""
        self.steps += 1


def small_config(**parts: object) -> SharedPPOConfig:
    """A small network, short segments and small batches."""
    config = SharedPPOConfig(
        policy=PolicyConfig(max_joints=6, slots=4, value_dim=4, static_dim=16, core_dim=32, decoder_dim=16),
        ppo=PPOConfig(learning_rate=3e-3, minibatch_size=128, device="cpu"),
        experience=ExperienceConfig(buffer_size=2048, min_batch_size=256, update_interval=256, segment_length=32),
        workers=WorkerConfig(hang_timeout_s=20.0),
    )
    return replace(config, **parts)


def body(body_id: int, **payload: object) -> BodySpec:
    """A fake body whose description depends on its id, unless told otherwise."""
    return BodySpec(body_id, {"seed": body_id} | payload)


def worker(config: SharedPPOConfig, *bodies: BodySpec, seed: int = 0) -> RolloutWorker:
    """A rollout worker with these bodies in its mix."""
    one = RolloutWorker(0, make_body, SPEC, config, seeds=[seed], watch=NoWatch())
    one.train(TrainOrder(bodies))
    return one


def learner_and_segments(
    config: SharedPPOConfig, *bodies: BodySpec, seed: int = 0
) -> tuple[SharedPPOTrainer, list[Segment]]:
    """A new learner, and one segment of each body rolled out with its weights."""
    trainer = SharedPPOTrainer(SPEC, config, seed=seed)
    one = worker(config, *bodies, seed=seed)
    one.policy.load(trainer.version, trainer.actor_vector())
    return trainer, one.rollout()
