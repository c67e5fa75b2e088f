"""Does a quickstart run learn? The same bodies, before and after, with confidence intervals.

    python benchmarks/quickstart.py --seeds 0 1 2          # runs `configs/quickstart.yaml` once per seed, then scores
    python benchmarks/quickstart.py --runs results/a results/b

Scores two sets of bodies with the mean action and fresh seeds, under the untrained policy that the run started with
and under its final policy: the run's elites, and the 32 fixed bodies of `bodies32.txt`, which no run has ever trained.
The difference is paired by body; its 95 % interval is Student's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, ROOT, read_designs
from common.trial import Crew, Trial
from scipy import stats

from map_elites.checkpoint import LEARNER_FILE
from map_elites.config import build, merge, nest, read_yaml
from map_elites.trainer.bodies import read_design
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign

SEEDS = (700_001, 700_002, 700_003)


def train(seed: int, results: Path) -> Path:
    """Runs the quickstart as a user does; returns its run folder."""
    name = f"quickstart-seed{seed}"
    command = [sys.executable, str(ROOT / "map_elites_trainer.py"), "--train-shared"]
    command += ["--config", str(ROOT / "configs" / "quickstart.yaml"), "--seed", str(seed)]
    subprocess.run([*command, "--results-dir", str(results), "--run-name", name], check=True)
    return results / name


def speeds(config: TrainConfig, designs: list[RobotDesign], checkpoint: Path) -> np.ndarray:
    """Mean speed of each body in m/s over `SEEDS`, under the weights of a checkpoint."""
    crew = Crew(workers=0)
    with Trial(config, designs, crew=crew, evaluation_seeds=SEEDS, checkpoint=checkpoint / LEARNER_FILE) as trial:
        speeds = trial.score()["speeds_m_s"]
    failed = [design.to_text() for design, speed in zip(designs, speeds, strict=True) if speed is None]
    if failed:
        raise SystemExit(f"bodies without a score: {', '.join(failed)}")
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


def score(run: Path) -> dict[str, Any]:
    """Both sets of bodies of one run."""
    config = build(TrainConfig, merge(read_yaml(run / "config.yaml"), nest("ppo.device", "cpu")))
    elites = json.loads((run / "archive.json").read_text(encoding="utf-8"))
    checkpoints = sorted((run / "checkpoints").iterdir())
    sets = {
        "elites": [read_design(elite["rules"]) for elite in elites],
        "never trained": read_designs(BODIES),
    }
    result: dict[str, Any] = {"run": run.name, "summary": json.loads((run / "summary.json").read_text("utf-8"))}
    for name, designs in sets.items():
        before, after = (speeds(config, designs, checkpoint) for checkpoint in (checkpoints[0], checkpoints[-1]))
        result[name] = compare(before, after) | {"before": before.tolist(), "after": after.tolist()}
    return result


def main() -> None:
    """Runs (if asked), scores and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, nargs="+", help="finished runs to score instead")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/quickstart"))
    options = parser.parse_args()
    runs = options.runs or [train(seed, options.out) for seed in options.seeds]
    print("| run | bodies | untrained, mean m/s | trained, mean | best | paired difference, 95 % interval |")
    print("|---|---|--:|--:|--:|---|")
    results = []
    for run in runs:
        results.append(score(run))
        for name in ("elites", "never trained"):
            row = results[-1][name]
            interval = f"{row['difference_m_s']:.3f} ({row['low_m_s']:.3f} to {row['high_m_s']:.3f})"
            cells = f"{row['untrained_m_s']:.3f} | {row['trained_m_s']:.3f} | {row['best_m_s']:.3f} | {interval}"
            print(f"| {run.name} | {row['bodies']} {name} | {cells} |", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "quickstart.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
