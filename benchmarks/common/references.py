"""What else drives the same bodies on flat ground: RoboGrammar's planner, and the best of some random sinusoids.

Both come from committed raw results, made by `mppi.py` and `sinusoids.py`. The planner starts from RoboGrammar's exact
pose and knows the simulator; policies and sinusoids start with noise in the joint angles.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from common.bodies import robot_design
from robogrammar_env.controllers import Controller, gait
from robogrammar_env.design import RobotDesign
from robogrammar_env.errors import SimulationDiverged
from robogrammar_env.mppi import MPPISettings
from robogrammar_env.simulation import Simulation, run_episode

RESULTS = Path(__file__).parents[1] / "results"
PLANNER_FILES = ("planner.json", "mppi.json")
SINUSOID_FILE = RESULTS / "sinusoids.json"
SINUSOIDS = 60
SELECTION_SEED = 800_001
EVALUATION_SEEDS = (900_001, 900_002)
"""Start poses from which every controller is scored."""


# -- RoboGrammar's planner ---------------------------------------------------------------------------------------------


@lru_cache
def _planner_table() -> dict[tuple[str, str], float]:
    """Mean speed over seeds, m/s, by design in words and engine; RoboGrammar's own number of samples, flat ground.

    A seed counts once, also where both files have it.
    """
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for path in (RESULTS / name for name in PLANNER_FILES):
        for run in json.loads(path.read_text(encoding="utf-8")) if path.exists() else []:
            design, terrain = run["case"].rsplit(":", 1)
            samples = run["settings"]["first_samples"], run["settings"]["samples"]
            if terrain == "flat" and samples == (MPPISettings.first_samples, MPPISettings.samples):
                found[robot_design(design).to_text(), run["engine"]][run["seed"]] = run["info"]["speed_m_s"]
    return {key: float(np.mean(list(speeds.values()))) for key, speeds in found.items()}


def planner_speeds(designs: Sequence[str]) -> list[float | None]:
    """What the planner makes of each design (in words) in MuJoCo, m/s; None where nobody has planned it yet."""
    return [_planner_table().get((design, "mujoco")) for design in designs]


# -- the best of some random sinusoids ---------------------------------------------------------------------------------


def best_sinusoid_speed(design: RobotDesign, *, engine: str, count: int = SINUSOIDS, seed: int = 0) -> float:
    """Speed in m/s of the best of `count` random sinusoids (`robogrammar_env.controllers.gait`).

    Each is tried for one episode; the fastest is then scored on the start poses that policies are scored on, so that
    luck of the draw is not counted.
    """
    simulation = Simulation(design, engine=engine)
    rng = np.random.default_rng(seed)
    try:
        tried = [gait(simulation.num_joints, rng) for _ in range(count)]
        best = max(tried, key=lambda controller: episode_speed(simulation, controller, SELECTION_SEED))
        return float(np.mean([episode_speed(simulation, best, start) for start in EVALUATION_SEEDS]))
    finally:
        simulation.close()


def episode_speed(simulation: Simulation, controller: Controller, seed: int) -> float:
    """Speed of one episode of an open-loop controller in m/s; -inf if the physics diverges."""
    try:
        return run_episode(simulation, controller, seed=seed)["speed_m_s"]
    except SimulationDiverged:
        return -np.inf


@lru_cache
def _sinusoid_table(path: Path) -> dict[tuple[str, str, int], float]:
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {(run["design"], run["engine"], run["count"]): run["speed_m_s"] for run in runs}


def sinusoid_speeds(
    designs: Sequence[RobotDesign], engine: str, report: Callable[[float, str], None], *, count: int = SINUSOIDS
) -> list[float]:
    """The best of so many random sinusoids on each design, m/s: as committed, or measured now on all cores.

    Args:
        designs: Bodies.
        engine: That moves them.
        report: Is told how many are done and how fast the last one was; `common.progress.Progress` is one.
        count: Sinusoids that each body tries; 60 take about 3 s a body.
    """
    known, found = _sinusoid_table(SINUSOID_FILE), []
    keys = [(design.to_text(), engine, count) for design in designs]
    missing = [design for design, key in zip(designs, keys, strict=True) if key not in known]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        measured = pool.map(partial(best_sinusoid_speed, engine=engine, count=count), missing)
        for key in keys:
            found.append(known[key] if key in known else next(measured))
            report(len(found), f"{found[-1]:.3f} m/s")
    return found
