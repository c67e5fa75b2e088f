"""What the fork server of a run holds ready, so that its workers share those pages instead of each having its own."""

from __future__ import annotations

import os
from collections import Counter

from map_elites.trainer.settings import TrainConfig
from robogrammar_env.engine.base import CLIENTS_AHEAD

MODULES = {"pybullet": "robogrammar_env.engine.preload", "mujoco": "robogrammar_env.engine.mujoco"}


def preload_for(config: TrainConfig, *, training: int, scoring: int) -> tuple[str, ...]:
    """Modules for the fork server to import, the engines of the run among them.

    A PyBullet client has 29 MiB, so one is opened ahead for each body that a worker may have in PyBullet at a time;
    the fork server reads their number from the environment of this process.

    Args:
        config: Names the engines.
        training: Bodies that a worker trains on at a time.
        scoring: Bodies that it scores at a time.
    """
    bodies = Counter({config.environment.trains_in: training})
    bodies[config.environment.engine] += scoring
    os.environ[CLIENTS_AHEAD] = str(bodies["pybullet"])
    return ("map_elites.trainer.bodies", *(MODULES[engine] for engine in bodies if bodies[engine]))
