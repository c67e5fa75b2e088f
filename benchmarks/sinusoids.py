"""The best of 60 random sinusoids on each body: what a controller that learns nothing gets.

    python benchmarks/sinusoids.py --bodies benchmarks/bodies32.txt benchmarks/held_out32.txt --engines mujoco pybullet

Keeps all results in one JSON file; bodies that are in it are not tried again. Prints mean and best by file and engine.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, HELD_OUT, read_designs
from common.options import Parser, positive, run_program
from common.progress import Progress
from common.references import SINUSOID_FILE, SINUSOIDS, best_sinusoid_speed
from common.tables import markdown

from map_elites.files import write_atomically


def main(argv: list[str] | None = None) -> None:
    """Tries what is missing and prints the table."""
    options = parse_arguments(argv)
    runs: list[dict[str, Any]] = json.loads(options.out.read_text("utf-8")) if options.out.exists() else []
    designs = {path: read_designs(path)[: options.num_bodies] for path in options.bodies}
    known = {(run["design"], run["engine"]) for run in runs}
    wanted = [(d, engine) for engine in options.engines for bodies in designs.values() for d in bodies]
    missing = [(design, engine) for design, engine in wanted if (design.to_text(), engine) not in known]
    progress = Progress("sinusoids", len(missing), "bodies")
    for done, (design, engine) in enumerate(missing, start=1):
        busy = time.process_time()
        speed = best_sinusoid_speed(design, engine=engine, count=options.count)
        spent = round(time.process_time() - busy, 2)
        run = {"design": design.to_text(), "engine": engine, "count": options.count, "speed_m_s": speed}
        runs.append({**run, "cpu_seconds": spent})
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, json.dumps(runs, indent=1) + "\n")
        progress(done, f"{engine} {speed:.3f} m/s")
    print(markdown(["bodies", "engine", "mean m/s", "best m/s", "CPU-s a body"], rows(runs, designs, options.engines)))


def rows(runs: list[dict[str, Any]], designs: dict[Path, list[Any]], engines: list[str]) -> list[list[str]]:
    """A row per file of bodies and engine."""
    table = {(run["design"], run["engine"]): run for run in runs}
    found = []
    for path, bodies in designs.items():
        for engine in engines:
            mine = [table[design.to_text(), engine] for design in bodies]
            speeds = [run["speed_m_s"] for run in mine]
            cpu = np.mean([run["cpu_seconds"] for run in mine])
            found.append([path.name, engine, f"{np.mean(speeds):.3f}", f"{max(speeds):.3f}", f"{cpu:.1f}"])
    return found


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_argument("--bodies", type=Path, nargs="+", default=[BODIES, HELD_OUT], help="files of designs")
    parser.add_argument("--num-bodies", type=positive, help="only the first so many of each file")
    parser.add_argument("--engines", nargs="+", default=["mujoco", "pybullet"])
    parser.add_argument("--count", type=positive, default=SINUSOIDS, help="sinusoids a body (60)")
    parser.add_argument("--out", type=Path, default=SINUSOID_FILE, metavar="FILE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
