"""Which of many bodies can move at all: a few random gaits on each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.progress import Progress
from common.references import episode_speed
from robogrammar_env.controllers import gait
from robogrammar_env.design import RobotDesign
from robogrammar_env.simulation import Simulation


def fastest_by_gaits(designs: Sequence[RobotDesign], keep: int, *, seed: int, episodes: int = 8) -> list[RobotDesign]:
    """The `keep` designs that move fastest in MuJoCo in the best of a few random gaits, fastest first.

    It is what the first round of a run's screening does, in this process.
    """
    progress, speeds = Progress("screening", len(designs), "bodies"), {}
    for done, design in enumerate(designs, start=1):
        simulation, rng = Simulation(design, engine="mujoco"), np.random.default_rng(seed)
        gaits = [gait(simulation.num_joints, rng) for _ in range(episodes)]
        speeds[design] = max(episode_speed(simulation, each, 1000 + start) for start, each in enumerate(gaits))
        simulation.close()
        progress(done, f"{max(speeds.values()):.3f} m/s at best")
    return sorted(designs, key=lambda design: -speeds[design])[:keep]
