"""Does the archive help, and does one policy for all? Whole runs of the trainer at equal control steps.

    python benchmarks/evolution.py --steps 2000000 --seeds 0 1 2
    python benchmarks/evolution.py --report

Cases: "shared" is `--train-shared`. "random" is the same run without selection: every newborn is drawn at random
(evolution.random_share=1), none is screened (evolution.num_screened=0) or bred, and no elite rehearses
(evolution.newborn_share=1); there is no mode without an archive, so here it only scores. "independent" is
`--train-independent` with what suits it: 100,000 steps for each individual (with 50,000 it is level) and five epochs
with a first rate of 2e-3. It has no screening: its first bodies are random ones.

A run that was interrupted is taken up again; a finished one is not repeated. Diversity over time is read from the
archives in the checkpoints: distinct body plans (legs, torso segments, joints) among the elites, and the mean distance
between two elites' body descriptors, each scaled to its range (0: all the same; 1: opposite ends in all).
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.options import make_parser, run_program
from common.parts import Parts
from common.progress import Progress
from common.runs import finish
from common.tables import draw, machines, markdown, spread

from map_elites.checkpoint import STATE_FILE
from map_elites.cli import make_parser as make_trainer_parser
from map_elites.cli import overrides
from map_elites.config import nest, to_plain
from map_elites.descriptors import BODY
from map_elites.run_folder import RunFolder
from map_elites.trainer.settings import load_config

ALONE = ("evolution.training_steps_per_individual=100000", "ppo.epochs=5", "ppo.learning_rate=2e-3")
RANDOM_BODIES = (
    "evolution.num_screened=0",
    "evolution.litter_size=1",
    "evolution.random_share=1.0",
    "evolution.newborn_share=1.0",
)
CASES = {
    "shared": ["--train-shared"],
    "random": ["--train-shared", *(f"--set={setting}" for setting in RANDOM_BODIES)],
    "independent": ["--train-independent", *(f"--set={setting}" for setting in ALONE)],
}
TITLES = {"shared": "shared policy", "random": "shared policy, no selection", "independent": "one PPO a body"}
CURVES = ("env_steps", "wall_seconds", "num_elites", "coverage", "qd_score", "max_fitness", "mean_fitness")
MOST_ROWS = 200
PART = ("case", "summary", "curves", "diversity")
"""What each of the parts has."""


def main(argv: list[str] | None = None) -> None:
    """Runs what is missing, then reports."""
    options = parse_arguments(argv)
    parts = Parts(options.out, PART)
    if not options.report:
        jobs = [(case, seed) for seed in options.seeds for case in options.cases]
        progress = Progress("evolution", len(jobs), "runs")
        for done, (case, seed) in enumerate(jobs, start=1):
            part = make(options, case, seed, parts)
            progress(done, f"{case} seed {seed}: verified QD score {part['summary']['verified_qd_score']} m/s")
    report(parts)


# -- runs --------------------------------------------------------------------------------------------------------------


def make(options: argparse.Namespace, case: str, seed: int, parts: Parts) -> dict[str, Any]:
    """One run and what is kept of it."""
    name = f"{case}-seed{seed}"
    arguments = [*CASES[case], *run_arguments(options, seed)]
    settings = {"config": resolved(arguments), "judge": options.judge}

    def work() -> dict[str, Any]:
        folder = RunFolder(options.out / "runs" / name)
        finish(folder, arguments)
        return {"case": case, "seed": seed, **collect(folder, options.judge)}

    return parts.make(name, settings, work)


def run_arguments(options: argparse.Namespace, seed: int) -> list[str]:
    """What all cases have in common on the trainer's command line."""
    arguments = ["--engine", options.engine, "--seed", str(seed), "--total-steps", str(options.steps)]
    arguments += ["--max-workers", str(options.workers)]
    arguments += ["--config", str(options.config)] if options.config else []
    own = ["run.keep_checkpoints=1000000", f"run.checkpoint_interval_s={options.interval}"]
    return arguments + [word for pair in (*own, *options.set) for word in ("--set", pair)]


def resolved(arguments: Sequence[str]) -> dict[str, Any]:
    """All settings of a run, defaults included.

    Raises:
        UserError: The trainer would refuse them.
    """
    parsed = make_trainer_parser().parse(arguments)
    return to_plain(load_config(parsed.config, overrides(parsed)))


def collect(folder: RunFolder, judge: str | None) -> dict[str, Any]:
    """Summary, curves and diversity of a finished run; of its checkpoints only the first and the last then stay."""
    states = {int(path.name.removeprefix("step_")): path / STATE_FILE for path in folder.checkpoints()}
    found = {
        "summary": json.loads(folder.summary_path.read_text(encoding="utf-8")),
        "curves": curves(folder.metrics_path),
        "diversity": [{"env_steps": steps, **diversity(elites_of(path))} for steps, path in states.items()],
        "judged_qd_score": judged_qd_score(folder.path, judge) if judge else None,
    }
    for path in folder.checkpoints()[1:-1]:
        shutil.rmtree(path)
    return found


def curves(path: Path) -> dict[str, list[float | None]]:
    """Some columns of `metrics.csv`, thinned out."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int)).tolist() if rows else []
    return {name: [float(rows[i][name]) if rows[i][name] else None for i in chosen] for name in CURVES}


def judged_qd_score(folder: Path, engine: str) -> float:
    """QD score of a run's archive in another engine, m/s."""
    from map_elites.trainer import evaluate_run

    elites = evaluate_run(folder, nest("environment.engine", engine))["elites"]
    return sum(elite["speed"] for elite in elites if elite["speed"] is not None)


# -- diversity ---------------------------------------------------------------------------------------------------------


def elites_of(state: Path) -> list[dict[str, Any]]:
    """The archive in a checkpoint."""
    return json.loads(state.read_text(encoding="utf-8"))["search"]["archive"]


def diversity(elites: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How different the bodies of an archive are: their number, distinct body plans, mean distance of two of them."""
    plans = {tuple(elite["descriptors"][name] for name in ("legs", "segments", "joints")) for elite in elites}
    scaled = np.array([[(e["descriptors"][d.name] - d.low) / (d.high - d.low) for d in BODY] for e in elites])
    return {"elites": len(elites), "body_plans": len(plans), "distance": mean_distance(scaled)}


def mean_distance(points: np.ndarray) -> float:
    """Mean distance between two of (n, d) points in the unit cube, as a share of its diagonal; 0 for less than two."""
    if len(points) < 2:
        return 0.0
    differences = points[:, None] - points[None]
    total = np.sqrt((differences**2).mean(axis=2)).sum()
    return float(total / (len(points) * (len(points) - 1)))


# -- report ------------------------------------------------------------------------------------------------------------


def report(parts: Parts) -> None:
    """Table and picture of what is there; verified figures are under the final weights, with fresh seeds."""
    found = {case: parts.all(f"{case}-seed*") for case in CASES}
    header = ["case", "elites", "coverage", "QD score", "verified QD score", "judged QD score", "max", "verified max"]
    header += ["body plans", "distance", "steps/s"]
    print(markdown(header, (row(case, runs) for case, runs in found.items() if runs)))
    print(machines(parts.all("*-seed*")))
    panels = [(STEPS, label, lines(found, "curves", name)) for name, label in CURVE_LABELS.items()]
    panels += [(STEPS, label, lines(found, "diversity", name)) for name, label in DIVERSITY_LABELS.items()]
    if any(found.values()):
        draw(parts.folder / "evolution.png", panels)


STEPS = "control steps"
CURVE_LABELS = {"qd_score": "QD score, m/s", "coverage": "coverage", "max_fitness": "best elite, m/s"}
DIVERSITY_LABELS = {"body_plans": "distinct body plans", "distance": "mean distance of two elites"}


def row(case: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line of the table: means over seeds, with the range."""
    names = {"num_elites": 0, "coverage": 2, "qd_score": 2, "verified_qd_score": 2}
    cells = [spread((run["summary"][name] for run in runs), digits) for name, digits in names.items()]
    cells.append(spread((run["judged_qd_score"] for run in runs), 2))
    cells += [spread(run["summary"][name] for run in runs) for name in ("max_fitness", "verified_max_fitness")]
    last = [run["diversity"][-1] for run in runs]
    cells += [spread((end["body_plans"] for end in last), 0), spread(end["distance"] for end in last)]
    return [case, *cells, spread((run["summary"]["env_steps_per_second"] for run in runs), 0)]


def lines(found: Mapping[str, Iterable[Mapping[str, Any]]], kind: str, name: str) -> dict[str, list[Any]]:
    """One curve of every run, by case; points without a value are left out."""

    def line(run: Mapping[str, Any]) -> tuple[list[float], list[float]]:
        data = run[kind]
        if kind == "diversity":
            pairs = [(point["env_steps"], point[name]) for point in data]
        else:
            pairs = list(zip(data["env_steps"], data[name], strict=True))
        known = [pair for pair in pairs if None not in pair]
        return [x for x, _ in known], [y for _, y in known]

    return {TITLES[case]: [line(run) for run in runs] for case, runs in found.items() if runs}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=2_000_000, out="evolution")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between two looks at diversity (30)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
