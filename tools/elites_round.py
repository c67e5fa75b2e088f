"""One round of elites: runs the trainer on one terrain and leaves its archive as `results/elites.npz`.

    python tools/elites_round.py --terrain flat --seed 3 --total-steps 40000 --results ROUND/results [trainer flags]

A sample is a design (its rule sequence, padded with -1) with its scores and descriptors. The run folder is ROUND/run.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TRAINER = Path(__file__).resolve().parents[1] / "map_elites_trainer.py"
MAX_RULES = 40
RUN_NAME = "run"
SCORES = ("fitness", "verified_fitness", "robogrammar_objective", "verified_robogrammar_objective")
COUNTS = ("id", "joints", "policy_version", "episodes")


class EliteError(Exception):
    """The run left no archive that can be used."""


def read_elites(run_folder: Path) -> dict[str, np.ndarray]:
    """Reads the archive of a run.

    Returns:
        Arrays with one row per elite: `samples` (num_elites, 40) rule numbers, -1 after the last; `scores.*` (speeds
        in m/s, NaN where there is no score); `descriptors.*`; and counts.

    Raises:
        EliteError: there is no archive, it is damaged, or it has no elites.
    """
    path = run_folder / "archive.json"
    try:
        elites = json.loads(path.read_text(encoding="utf-8"))
        if not elites:
            raise EliteError(f"{path} has no elites; give the run more steps")
        return _arrays(elites)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EliteError(f"cannot use {path}: {error}") from error


def _arrays(elites: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    names = sorted({name for elite in elites for name in elite["descriptors"]})
    samples = np.full((len(elites), MAX_RULES), -1, dtype=np.int16)
    for row, elite in zip(samples, elites, strict=True):
        row[: len(elite["rules"])] = elite["rules"]
    return {
        "samples": samples,
        **{f"scores.{name}": _column(elite[name] for elite in elites) for name in SCORES},
        **{f"descriptors.{name}": _column(elite["descriptors"].get(name) for elite in elites) for name in names},
        **{name: np.array([elite[name] for elite in elites], dtype=np.int64) for name in COUNTS},
    }


def _column(values: Any) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def train(options: argparse.Namespace, more: Sequence[str]) -> int:
    """Runs the trainer as a command; returns its exit code."""
    round_folder = options.results.parent
    command = [
        *(sys.executable, str(options.trainer), "--train-shared", "--terrain", options.terrain),
        *("--seed", str(options.seed), "--total-steps", str(options.total_steps)),
        *("--results-dir", str(round_folder), "--run-name", RUN_NAME),
        *("--log-file", str(round_folder / "training.log"), *more),
    ]
    round_folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(command, check=False).returncode


def write_whole(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    part.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Runs a round; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terrain", required=True, help="terrain of the run")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--total-steps", type=int, required=True, help="control steps of the run")
    parser.add_argument("--results", type=Path, required=True, help="folder for elites.npz")
    parser.add_argument("--trainer", type=Path, default=TRAINER)
    options, more = parser.parse_known_args(argv)
    if code := train(options, more):
        return code
    try:
        write_whole(options.results / "elites.npz", read_elites(options.results.parent / RUN_NAME))
    except EliteError as error:
        print(f"elites_round.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
