"""RoboGrammar's planner on the published designs, or on any bodies: objective, speed and time a design.

Prints a Markdown table, next to the original program's figures, and keeps every run, with its settings, in a JSON file;
runs that are in it are not repeated.

    python benchmarks/mppi.py --engine mujoco --seeds 5
    python benchmarks/mppi.py --bodies benchmarks/bodies32.txt --first-samples 64 --samples 16
    python benchmarks/mppi.py --cases flat:flat ridged:ridged --engine pybullet --seeds 1 --out results/mppi.json
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.options import Parser, positive, run_program
from tqdm import tqdm

from robogrammar_env.mppi import MPPISettings, plan_episode

CASES = ["flat:flat", "ridged:ridged", "ridged:flat", "gap:gap", "frozen_lake:frozen_lake"]
ORIGINAL = {"flat:flat": "5.84, 0.94 m/s", "ridged:ridged": "5.06, 0.56 m/s", "ridged:flat": "5.74, 0.89 m/s"}
"""Objective and speed of the original program, means of 5 seeds; 107 to 175 CPU seconds a design."""


def run(case: str, engine: str, seed: int, settings: MPPISettings) -> dict[str, Any]:
    """Plans one episode and returns everything about it, ready for JSON."""
    design, terrain = case.rsplit(":", 1)
    found = plan_episode(design, terrain=terrain, engine=engine, settings=settings, seed=seed)
    return {
        "case": case,
        "engine": engine,
        "seed": seed,
        "settings": asdict(settings),
        "info": found.info,
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds,
        "share_of_targets_beyond_90_degrees": float(np.mean(np.abs(found.actions) > 1)),
        "machine": platform.machine(),
    }


def key(result: dict[str, Any]) -> tuple:
    """What makes a run the same run."""
    return result["case"], result["engine"], result["seed"], tuple(sorted(result["settings"].items()))


def rows(results: list[dict[str, Any]], cases: list[str]) -> Iterator[str]:
    """Lines of a Markdown table, one for each case and engine, and one for all cases together."""
    yield "| design on terrain | engine | objective, mean (range) | m/s, mean (range) | CPU-s | original program |"
    yield "|---|---|--:|--:|--:|--:|"
    for engine in sorted({result["engine"] for result in results}):
        mine = [result for result in results if result["engine"] == engine]
        for case in cases:
            yield from row(" on ".join(case.rsplit(":", 1)), [one for one in mine if one["case"] == case])
        yield from row("all", mine)


def row(name: str, results: list[dict[str, Any]]) -> Iterator[str]:
    """One line of the table, if there are results."""
    if results:
        objective = spread([result["info"]["robogrammar_objective"] for result in results])
        speed = spread([result["info"]["speed_m_s"] for result in results])
        cpu = np.mean([result["cpu_seconds"] for result in results])
        original = ORIGINAL.get(results[0]["case"], "-") if name != "all" else "-"
        cells = [f"{name}, {len(results)} run{'s' * (len(results) > 1)}", results[0]["engine"], objective, speed]
        yield f"| {' | '.join(cells)} | {cpu:.0f} | {original} |"


def spread(values: list[float]) -> str:
    """Mean and range as text."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Runs what is missing and prints the table."""
    args = arguments()
    settings = MPPISettings(first_samples=args.first_samples, samples=args.samples, horizon=args.horizon)
    done = json.loads(args.out.read_text()) if args.out.exists() else []
    known = {key(result) for result in done}
    cases = [f"{body}:{args.terrain}" for body in read_bodies(args.bodies)] if args.bodies else args.cases
    wanted = [(case, args.engine, seed) for seed in range(args.seeds) for case in cases]
    jobs = [job for job in wanted if (*job, tuple(sorted(asdict(settings).items()))) not in known]
    with ProcessPoolExecutor(args.processes) as pool:
        futures = [pool.submit(partial(run, settings=settings), *job) for job in jobs]
        for future in tqdm(as_completed(futures), total=len(jobs), unit="episode"):
            done.append(future.result())
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(sorted(done, key=lambda result: repr(key(result))), indent=1) + "\n")
    same = [result for result in done if result["settings"] == asdict(settings) and result["case"] in cases]
    print("\n".join(rows(same, cases)))


def read_bodies(path: Path) -> list[str]:
    """The designs of a file, one a line; `#` starts a comment."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="DESIGN:TERRAIN", help="design and terrain")
    parser.add_argument("--bodies", type=Path, metavar="FILE", help="designs, one a line, instead of --cases")
    parser.add_argument("--terrain", default="flat", help="for --bodies (flat)")
    parser.add_argument("--engine", default="mujoco", help="mujoco (default) or pybullet")
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="seeds 0 to N - 1 of the planner (1)")
    parser.add_argument("--first-samples", type=positive, default=MPPISettings.first_samples, metavar="N")
    parser.add_argument("--samples", type=positive, default=MPPISettings.samples, metavar="N")
    parser.add_argument("--horizon", type=positive, help="control steps; default the terrain's")
    parser.add_argument("--processes", type=positive, default=1, metavar="N", help="episodes side by side (1)")
    parser.add_argument("--out", type=Path, default=Path("results/mppi.json"), metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
