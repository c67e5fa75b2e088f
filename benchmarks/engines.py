"""Cost of one control step (1/15 s) by engine, solver iterations and number of joints, on one core.

Prints a Markdown table. Times are CPU time of this process, the least of several repeats, while the body waves its
limbs (sinusoids of 1 Hz, 0.2 to 0.8 of the range). "step" is the engine alone; "episode" adds state, observation,
reward and descriptors, and one reset in 128 steps.

    python benchmarks/engines.py [--repeats 5] [--steps 128]
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common.options import Parser, positive, run_program

from robogrammar_env.simulation import Simulation

LEG = "swing, obtuse_lift long"
LONG_LEG = "swing, obtuse_lift, obtuse_lift, swing"
BODIES = {
    4: f"body({LEG})",
    8: f"body({LEG}) -fixed- body({LEG})",
    12: "0 7 1 13 1 2 16 12 13 6 4 19 4 17 5 3 2 16 4 5 18 9 8 9 9 8",
    16: f"body({LONG_LEG}) -fixed- body -fixed- body({LONG_LEG})",
    24: "body(swing, obtuse_lift, backwards_lift, swing, obtuse_lift, backwards_lift, swing, swing, obtuse_lift,"
    " backwards_lift, swing, swing)",
}
ENGINES = {
    "PyBullet, 50 iterations": ("pybullet", {"solver_iterations": 50}),
    "PyBullet, 10 iterations (default)": ("pybullet", {}),
    "MuJoCo, 16 substeps": ("mujoco", {"substeps": 16}),
    "MuJoCo, 8 substeps (default)": ("mujoco", {}),
}


def least_seconds(play: Callable[[], None], repeats: int) -> float:
    """Least CPU time of `play` over the repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        play()
        times.append(time.process_time() - start)
    return min(times)


def waves(joints: int, steps: int) -> np.ndarray:
    """(steps, joints) actions: sinusoids of 1 Hz with random sizes and phases."""
    rng = np.random.default_rng(0)
    sizes, phases = rng.uniform(0.2, 0.8, joints), rng.uniform(0, 2 * np.pi, joints)
    return sizes * np.sin(2 * np.pi * np.arange(steps)[:, None] / 15 + phases)


def measure(design: str, engine: str, settings: dict, *, steps: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of a control step: engine alone, and whole episode."""
    simulation = Simulation(design, engine=engine, engine_settings=settings)
    actions = waves(simulation.num_joints, steps)
    targets = actions * simulation.frame.signs * np.pi / 2

    def play_engine() -> None:
        simulation.engine.reset(np.zeros(simulation.num_joints))
        for target in targets:
            simulation.engine.step(target)

    def play_episode() -> None:
        simulation.reset(0, training=False)
        for action in actions:
            simulation.step(action)

    found = least_seconds(play_engine, repeats), least_seconds(play_episode, repeats)
    simulation.close()
    return found[0] / steps * 1e3, found[1] / steps * 1e3


def main() -> None:
    """Prints the table."""
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--steps", type=positive, default=128)
    arguments = parser.parse_args()
    print("| engine | " + " | ".join(f"{joints} joints" for joints in BODIES) + " |")
    print("|---|" + "--:|" * len(BODIES))
    for label, (engine, settings) in ENGINES.items():
        cells = []
        for design in BODIES.values():
            step, episode = measure(design, engine, settings, steps=arguments.steps, repeats=arguments.repeats)
            cells.append(f"{step:.3f} / {episode:.3f}")
        print(f"| {label}, ms a step / in an episode | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    run_program(main)
