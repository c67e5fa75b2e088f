"""How far engines and settings agree on whole episodes: same random bodies, same sinusoid gaits, speeds compared.

Walking is chaotic, so single episodes differ; what must agree is how fast a body is with a gait. Prints a Markdown
table against PyBullet with 50 solver iterations and all links separate.

    python benchmarks/engine_agreement.py [--bodies 40]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common.options import Parser, positive, run_program

from robogrammar_env.design import Design
from robogrammar_env.sampling import sample_design
from robogrammar_env.simulation import CONTROL_STEPS, Simulation

REFERENCE: tuple[str, dict[str, Any]] = ("pybullet", {"solver_iterations": 50, "merge_mounts": False})
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "PyBullet, 50 iterations, start turned by 0.001 rad": REFERENCE,
    "PyBullet, 10 iterations, links separate": ("pybullet", {"merge_mounts": False}),
    "PyBullet, 10 iterations, mounts merged (default)": ("pybullet", {}),
    "MuJoCo, 16 substeps": ("mujoco", {"substeps": 16}),
    "MuJoCo, 8 substeps (default)": ("mujoco", {}),
}


def speed(design: Design, gait_seed: int, engine: str, settings: dict[str, Any], *, shift_rad: float = 0.0) -> float:
    """Speed along x, m/s, over a full episode with a random sinusoid gait of 1.2 Hz."""
    simulation = Simulation(design, engine=engine, engine_settings=settings)
    rng = np.random.default_rng(gait_seed)
    sizes, phases = rng.uniform(0.3, 1.0, simulation.num_joints), rng.uniform(0, 2 * np.pi, simulation.num_joints)
    simulation.reset(None, training=False)
    if shift_rad:
        simulation.engine.reset(np.full(simulation.num_joints, shift_rad))
    for step in range(CONTROL_STEPS):
        info = simulation.step(sizes * np.sin(2 * np.pi * 1.2 * step / 15 + phases)).info
    simulation.close()
    return info["speed_m_s"]


def main() -> None:
    """Prints the table."""
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=positive, default=40)
    count = parser.parse_args().bodies
    rng = np.random.default_rng(0)
    designs = [sample_design(rng, min_joints=4, max_joints=16) for _ in range(count)]
    reference = np.array([speed(design, i, *REFERENCE) for i, design in enumerate(designs)])
    print(f"{count} bodies, reference: mean speed {reference.mean():+.4f}, spread {reference.std():.4f} m/s\n")
    print("| setting | mean speed, m/s | mean absolute difference, m/s | correlation |\n|---|--:|--:|--:|")
    for label, (engine, settings) in SETTINGS.items():
        shift = 0.001 if "turned" in label else 0.0
        speeds = np.array([speed(d, i, engine, settings, shift_rad=shift) for i, d in enumerate(designs)])
        difference = np.abs(speeds - reference).mean()
        correlation = np.corrcoef(speeds, reference)[0, 1]
        print(f"| {label} | {speeds.mean():+.4f} | {difference:.4f} | {correlation:.3f} |", flush=True)


if __name__ == "__main__":
    run_program(main)
