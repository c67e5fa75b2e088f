"""RoboGrammar's published designs under the shared policy, trained in a mix with other bodies, against its planner.

    python benchmarks/published.py --steps 1500000 --seeds 0
    python benchmarks/published.py --report

On each terrain one policy trains from nothing on the published flat and ridged designs and on the first `--others`
bodies of a file. The designs are then scored as RoboGrammar scores its planner: from the exact rest pose, on
layout 0 of the terrain, with its objective (standing still is 4.0). The planner's figures are those of `mppi.py` in the
same engine. The planner knows the simulator and plans for one design; the policy has never seen the engine that judges.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, PUBLISHED, published_designs, read_designs
from common.options import make_parser, positive, run_program, train_config, trial_settings, whole_number
from common.parts import Parts
from common.progress import Progress
from common.references import RESULTS
from common.tables import column, draw, machines, markdown, number
from common.trial import Crew, Trial, marks

from map_elites.evaluation import REFERENCE_SEED

PART = ("terrain", "bodies", "curve")
"""What each of the parts has."""


def main(argv: list[str] | None = None) -> None:
    """Trains on every terrain and seed, then reports."""
    options = parse_arguments(argv)
    parts = Parts(options.out, PART)
    if not options.report:
        for terrain in options.terrains:
            for seed in options.seeds:
                train(options, terrain, seed, parts)
    report(parts)


def train(options: argparse.Namespace, terrain: str, seed: int, parts: Parts) -> None:
    """One policy on one terrain."""
    config = train_config(options, [f"environment.terrain={terrain}"])
    published = published_designs()
    others = [design for design in read_designs(options.bodies) if design not in published]
    designs = [*published, *others[: options.others]]
    crew = Crew(options.workers, copies=options.copies)
    budget = {"seed": seed, "steps": options.steps, "points": options.points, "judge": options.judge}
    settings = trial_settings(config, **budget, crew=crew, designs=[design.to_text() for design in designs])
    name = f"{terrain}-seed{seed}"

    def work() -> dict[str, Any]:
        with Trial(
            config,
            designs,
            seed=seed,
            crew=crew,
            judge=options.judge,
            judged=published,
            evaluation_seeds=(REFERENCE_SEED,),
        ) as trial:
            trial.train()
            result = trial.run(marks(options.steps, options.points), Progress(name, options.steps).point)
        return {"terrain": terrain, "seed": seed, "bodies": len(designs), **result}

    parts.make(name, settings, work)


def report(parts: Parts) -> None:
    """The table of all designs, and their curves."""
    found = parts.all("*-seed*")
    header = ["design on terrain", "seed", "bodies", "steps", "speed, m/s", "objective", "planner's objective"]
    print(markdown(header, (row for part in found for row in rows(part))))
    print(machines(found))
    groups: dict[str, list[Any]] = {}
    for part in found:
        for place, name in enumerate(PUBLISHED):
            objectives = [point["objectives"][place] for point in part["curve"]]
            groups.setdefault(f"{name} on {part['terrain']}", []).append((column(part["curve"], "steps"), objectives))
    if groups:
        draw(parts.folder / "published.png", [("training control steps", "RoboGrammar's objective", groups)])


def rows(part: dict[str, Any]) -> Iterator[list[str]]:
    """Lines of the table."""
    last, engine = part["curve"][-1], part["settings"]["judge"] or part["settings"]["environment"]["engine"]
    for place, name in enumerate(PUBLISHED):
        planned = planner_objective(name, part["terrain"], engine)
        cells = [number(last["speeds_m_s"][place]), number(last["objectives"][place], 2), number(planned, 2)]
        yield [f"{name} on {part['terrain']}", str(part["seed"]), str(part["bodies"]), f"{last['steps']:,}", *cells]


def planner_objective(design: str, terrain: str, engine: str) -> float | None:
    """Mean objective of the planner's runs with RoboGrammar's own number of samples; None if there is none."""
    runs = json.loads((RESULTS / "mppi.json").read_text(encoding="utf-8"))
    found = [
        run["info"]["robogrammar_objective"]
        for run in runs
        if (run["case"], run["engine"]) == (f"{design}:{terrain}", engine) and run["settings"]["first_samples"] == 512
    ]
    return float(np.mean(found)) if found else None


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=1_500_000, out="published", seeds=1)
    parser.set_defaults(judge="pybullet")
    parser.add_argument("--terrains", nargs="+", default=list(PUBLISHED), help="one policy for each")
    parser.add_argument("--bodies", type=Path, default=BODIES, help="file of the other bodies")
    parser.add_argument("--others", type=whole_number, default=6, help="other bodies in the mix")
    parser.add_argument("--copies", type=positive, default=2, help="simulations of each body side by side")
    parser.add_argument("--points", type=positive, default=10, help="evaluations along the way")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
