"""A worker without processes around it, whose segments a benchmark can look at."""

from __future__ import annotations

from collections.abc import Sequence

from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from shared_ppo.messages import TrainOrder
from shared_ppo.rollout import RolloutWorker


class _NoWatch:
    """Nobody watches this worker."""

    def entering(self, body_id: int) -> None:
        """Ignored."""

    def left(self) -> None:
        """Ignored."""

    def count_step(self) -> None:
        """Ignored."""


def lone_worker(config: TrainConfig, designs: Sequence[RobotDesign], *, seed: int = 0) -> RolloutWorker:
    """A worker that has these designs as its bodies, side by side."""
    worker = RolloutWorker(0, make_body, observation_spec(config), config.shared_ppo, seeds=(seed,), watch=_NoWatch())
    worker.train(TrainOrder(tuple(body_spec(number, design, config) for number, design in enumerate(designs))))
    return worker
