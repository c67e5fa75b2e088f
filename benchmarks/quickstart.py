"""What does a quickstart run come to? Its elites, the best of 60 sinusoids on them, and the same bodies untrained.

    python benchmarks/quickstart.py --seeds 0 1 2          # runs `configs/quickstart.yaml` once per seed, then looks
    python benchmarks/quickstart.py --runs results/a results/b

The first table has the verified figures of each run, and how many times as fast as the best of 60 random sinusoids on
the same bodies, in the engine that scored them, the elites are on average. The second says what the end of each run
added, as its log tells: cells and QD score of the elites alone, with the reserve, and after the harvest. For the third,
two sets of bodies are scored with the mean action and fresh seeds, under the untrained policy that the run started with
and under its final one: the run's elites, and the 32 fixed bodies of `bodies32.txt`, which no run has ever trained. The
difference is paired by body; its 95 % interval is Student's.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, ROOT, read_designs
from common.options import Parser, run_program, trial_settings, whole_number
from common.parts import Parts
from common.progress import Progress
from common.references import SINUSOIDS, sinusoid_speeds
from common.runs import finish, is_finished
from common.tables import machines, markdown, number
from common.trial import Crew, Trial
from scipy import stats

from map_elites.archive import Archive
from map_elites.checkpoint import LEARNER_FILE
from map_elites.errors import RunFailedError, UserError
from map_elites.run_folder import RunFolder
from map_elites.trainer.bodies import read_design
from map_elites.trainer.runs import open_run
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign

SEEDS = (700_001, 700_002, 700_003)
FEWEST = 2
"""Elites that an interval takes."""
GOOD_OBJECTIVE = 5.0
"""RoboGrammar's objective from which elites are counted; standing still is 4.0."""
EARLY_S = 600.0
"""When a user looks at a run for the first time."""
ALONE = re.compile(r"closing: .* which alone would fill (\d+) cells with a QD score of (\S+) m/s")
SETTLED = re.compile(r"; (\d+) elites, QD score (\S+) m/s")
LITTER = re.compile(r"harvest: (\d+) tried, (\d+) compete, who would add (\S+) m/s")
PART = ("summary", "objectives", "sinusoids_m_s", "elites", "never trained")
"""What each of the parts has."""


def main(argv: list[str] | None = None) -> None:
    """Runs (if asked), looks at each run, and prints the tables."""
    options = parse_arguments(argv)
    parts = Parts(options.out, PART)
    if not options.report:
        for path in options.runs or [train(seed, options.out) for seed in options.seeds]:
            folder, config, archive = open_run(path)
            if not is_finished(folder) or len(archive) < FEWEST:
                raise UserError(f"{path}: wants a finished run with {FEWEST} elites or more")
            designs = [str(elite.design) for elite in archive]
            engine = config.environment.engine
            settings = trial_settings(
                config, run=path.name, elites=designs, sinusoids=SINUSOIDS, sinusoid_engine=engine, seeds=SEEDS
            )
            parts.make(path.name, settings, partial(examine, folder, config, archive))
    print(report(parts.all()))


def train(seed: int, results: Path) -> Path:
    """Runs the quickstart as a user does; returns its run folder."""
    folder = RunFolder(results / "runs" / f"quickstart-seed{seed}")
    config = ROOT / "configs" / "quickstart.yaml"
    finish(folder, ["--train-shared", "--config", str(config), "--seed", str(seed)])
    return folder.path


# -- what there is to know of a run ------------------------------------------------------------------------------------


def examine(folder: RunFolder, config: TrainConfig, archive: Archive) -> dict[str, Any]:
    """Summary, objectives, sinusoids and both sets of bodies of one run."""
    elites = [read_design(elite.design.rules) for elite in archive]
    objectives = [elite.verified.robogrammar_objective for elite in archive if elite.verified]
    progress = Progress("sinusoids", len(elites), "bodies")
    found: dict[str, Any] = {
        "summary": json.loads(folder.summary_path.read_text(encoding="utf-8")),
        "early_m_s": best_until(folder.metrics_path, EARLY_S),
        "closing": closing(folder.log_path.read_text(encoding="utf-8")),
        "objectives": sorted((value for value in objectives if value is not None), reverse=True),
        "sinusoids_m_s": sinusoid_speeds(elites, config.environment.engine, progress, count=SINUSOIDS),
    }
    checkpoints = folder.checkpoints()[0], folder.newest_checkpoint()
    for name, designs in {"elites": elites, "never trained": read_designs(BODIES)}.items():
        before, after = (speeds(config, designs, checkpoint) for checkpoint in checkpoints)
        found[name] = compare(before, after) | {"before": before.tolist(), "after": after.tolist()}
    return found


def best_until(path: Path, seconds: float) -> float | None:
    """Speed of the best elite in m/s that `metrics.csv` knew of after so many seconds; None: of none."""
    with path.open(encoding="utf-8", newline="") as file:
        known = [row["max_fitness"] for row in csv.DictReader(file) if float(row["wall_seconds"]) <= seconds]
    return float(known[-1]) if known and known[-1] else None


def closing(log: str) -> dict[str, Any] | None:
    """What `training.log` says of the last closing: (cells, QD score in m/s) at three moments, and of the harvest how
    many children tried and competed and what they promised, m/s; None: there was none.
    """
    starts = list(ALONE.finditer(log))
    if not starts:
        return None
    end = log[starts[-1].start() :]
    settled, litters = SETTLED.findall(end), LITTER.findall(end)
    moments = {"alone": starts[-1].groups(), "scored": settled[0], "end": settled[-1]}
    return {
        **{name: [int(cells), float(qd_score)] for name, (cells, qd_score) in moments.items()},
        "tried": sum(int(tried) for tried, _, _ in litters),
        "competed": sum(int(competed) for _, competed, _ in litters),
        "promised_m_s": sum(float(promised) for *_, promised in litters),
    }


def speeds(config: TrainConfig, designs: Sequence[RobotDesign], checkpoint: Path) -> np.ndarray:
    """Mean speed of each body in m/s over `SEEDS`, under the weights of a checkpoint.

    Raises:
        RunFailedError: A body failed.
    """
    crew = Crew(workers=0)
    with Trial(config, designs, crew=crew, evaluation_seeds=SEEDS, checkpoint=checkpoint / LEARNER_FILE) as trial:
        speeds = trial.score()["speeds_m_s"]
    failed = [design.to_text() for design, speed in zip(designs, speeds, strict=True) if speed is None]
    if failed:
        raise RunFailedError(f"bodies without a score: {', '.join(failed)}")
    return np.array(speeds)


def compare(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Means, and the paired difference with its 95 % interval."""
    difference = after - before
    low, high = stats.t.interval(0.95, len(difference) - 1, loc=difference.mean(), scale=stats.sem(difference))
    return {
        "bodies": len(difference),
        "untrained_m_s": float(before.mean()),
        "trained_m_s": float(after.mean()),
        "best_m_s": float(after.max()),
        "difference_m_s": float(difference.mean()),
        "low_m_s": float(low),
        "high_m_s": float(high),
    }


# -- report ------------------------------------------------------------------------------------------------------------


def report(parts: Sequence[dict[str, Any]]) -> str:
    """The tables."""
    ends = ["run", "seconds", "elites", "speed, mean", "best, m/s", f"best after {EARLY_S:.0f} s", "best objective"]
    ends += ["QD score, running / verified", "sinusoids, m/s", "times the sinusoids"]
    closings = ["run", "elites alone: cells, QD score in m/s", "with the reserve", "after the harvest"]
    closings += ["children that tried, that competed", "promised, added, m/s"]
    paired = ["run", "bodies", "untrained, mean m/s", "trained, mean", "best", "paired difference, 95 % interval"]
    kinds = ("elites", "never trained")
    tables = [
        markdown(ends, [end_row(part) for part in parts]),
        markdown(closings, [closing_row(part["part"], part["closing"]) for part in parts if part["closing"]]),
        markdown(paired, [paired_row(part, kind) for part in parts for kind in kinds]),
    ]
    return "\n\n".join([*tables, machines(parts)])


def end_row(part: dict[str, Any]) -> list[str]:
    """A run and what it came to."""
    summary, sinusoids = part["summary"], float(np.mean(part["sinusoids_m_s"]))
    good = sum(objective >= GOOD_OBJECTIVE for objective in part["objectives"])
    return [
        part["part"],
        number(summary["wall_seconds"], 0),
        str(summary["num_elites"]),
        number(summary["verified_mean_fitness"]),
        number(summary["verified_max_fitness"]),
        number(part["early_m_s"], 2),
        f"{number(summary['best_verified_robogrammar_objective'], 2)} ({good} at {GOOD_OBJECTIVE} or above)",
        f"{number(summary['qd_score'], 2)} / {number(summary['verified_qd_score'], 2)}",
        number(sinusoids),
        number(summary["verified_mean_fitness"] / sinusoids, 1),
    ]


def closing_row(run: str, closing: dict[str, Any]) -> list[str]:
    """What the end of a run added."""
    (_, before), (_, after) = closing["scored"], closing["end"]
    moments = [f"{cells}, {qd_score:.2f}" for cells, qd_score in (closing[name] for name in ("alone", "scored", "end"))]
    moments[-1] += f" ({after / before - 1:+.0%})"
    children = f"{closing['tried']}, {closing['competed']}"
    return [run, *moments, children, f"{closing['promised_m_s']:.2f}, {after - before:.2f}"]


def paired_row(part: dict[str, Any], kind: str) -> list[str]:
    """A set of bodies before and after."""
    row = part[kind]
    means = [number(row[name]) for name in ("untrained_m_s", "trained_m_s", "best_m_s")]
    interval = f"{row['difference_m_s']:.3f} ({row['low_m_s']:.3f} to {row['high_m_s']:.3f})"
    return [part["part"], f"{row['bodies']} {kind}", *means, interval]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_argument("--seeds", type=whole_number, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, nargs="+", help="finished runs to look at instead")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/quickstart"))
    parser.add_argument("--report", action="store_true", help="only the tables of what --out has")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
