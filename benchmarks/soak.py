"""Does a long run grow? Memory of each kind of process over equal parts of a real run, and its slope.

    python benchmarks/soak.py --minutes 30
    python benchmarks/soak.py --run results/<run>   # the table of a run that is there already

Runs the trainer as a user does, reads the memory of its processes every few seconds, and ends it with Ctrl-C when the
time is over. Prints the mean of each part in MiB (shared pages split among their users) and a straight line's slope
through the second half, when every buffer has been used. Exit code 1 if the run ended by itself or left a process.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from common.options import Parser, positive, run_program, whole_number

from map_elites.errors import UserError
from map_elites.memory import memory_by_kind
from map_elites.run_folder import open_folder

ROOT = Path(__file__).parent.parent
COLUMNS = ("wall_seconds", "memory_bytes", "memory_main_bytes", "memory_learner_bytes", "memory_workers_bytes")
KINDS = ("main", "learner", "workers", "helpers")
FASTEST_STEPS_PER_S = 6000  # the run is given more control steps than it can make in its time
PATIENCE_S = 180.0


def start(options: argparse.Namespace) -> subprocess.Popen:
    """The trainer, with steps for longer than it will be left to run; the warm-up is cut to the time that it runs."""
    steps = round(60 * options.minutes * FASTEST_STEPS_PER_S)
    command = [sys.executable, str(ROOT / "map_elites_trainer.py"), "--train-shared", "--config", str(options.config)]
    command += ["--total-steps", str(steps), "--set", f"evolution.warmup_share={options.warmup_steps / steps}"]
    command += ["--results-dir", str(options.out), "--run-name", time.strftime("run-%Y%m%d-%H%M%S")]
    command += ["--log-file", str(options.out / "training.log"), *(f"--set={text}" for text in options.set)]
    return subprocess.Popen(command)


def watch(run: subprocess.Popen, minutes: float, every_s: float) -> list[dict[str, float]]:
    """Memory in MiB by kind, and the time in s, until the time is over or the run ends."""
    rows, began, process = [], time.monotonic(), psutil.Process(run.pid)
    while time.monotonic() - began < 60 * minutes and run.poll() is None:
        time.sleep(every_s)
        sizes = memory_by_kind(process)
        rows.append({"seconds": time.monotonic() - began} | {kind: sizes.get(kind, 0) / 2**20 for kind in KINDS})
    return rows


def recorded(folder: Path) -> list[dict[str, float]]:
    """The same rows from what a run has written down itself.

    Raises:
        UserError: It is no run folder.
    """
    with open_folder(folder).metrics_path.open(encoding="utf-8") as file:
        table = [{name: float(row[name] or "nan") for name in COLUMNS} for row in csv.DictReader(file)]
    rows = []
    for row in table:
        mib = {kind: row[f"memory_{kind}_bytes"] / 2**20 for kind in ("main", "learner", "workers")}
        helpers = row["memory_bytes"] / 2**20 - sum(mib.values())
        rows.append({"seconds": row["wall_seconds"], **mib, "helpers": helpers})
    return [row for row in rows if all(map(math.isfinite, row.values()))]


def end(run: subprocess.Popen) -> bool:
    """Ends a run by Ctrl-C; whether that worked as it should and nothing is left."""
    if run.poll() is not None:
        return False
    family = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs([psutil.Process(run.pid), *family], timeout=PATIENCE_S)
    for process in alive:
        process.kill()
    return run.wait() == 128 + signal.SIGINT and not alive


def report(rows: list[dict[str, float]], parts: int) -> str:
    """The table: means over equal parts, and the slope through the second half.

    Raises:
        UserError: There are less than two readings a part.
    """
    if len(rows) < 2 * parts:
        raise UserError(
            f"{len(rows)} readings of memory are too few for {parts} parts; wants a longer run or fewer --parts"
        )
    sums = [row | {"all": sum(row[kind] for kind in KINDS)} for row in rows]
    lines = [f"| MiB | {' | '.join(f'part {part + 1}' for part in range(parts))} | slope, MiB/h |"]
    lines.append("|---|" + "--:|" * (parts + 1))
    half = sums[len(sums) // 2 :]
    for kind in (*KINDS, "all"):
        means = [np.mean([row[kind] for row in part]) for part in np.array_split(np.array(sums, dtype=object), parts)]
        hours = [row["seconds"] / 3600 for row in half]
        slope = np.polyfit(hours, [row[kind] for row in half], 1)[0]
        lines.append(f"| {kind} | {' | '.join(f'{mean:.0f}' for mean in means)} | {slope:+.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Runs, watches, prints the table."""
    parser = Parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--parts", type=positive, default=6)
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="time between two readings")
    parser.add_argument(
        "--warmup-steps", type=whole_number, default=100_000, help="control steps before selection starts"
    )
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "quickstart.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/soak"))
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="report on this run, start none")
    options = parser.parse_args()
    if options.run:
        print(report(recorded(options.run), options.parts))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    run = start(options)
    rows = watch(run, options.minutes, options.every)
    ended_well = end(run)
    (options.out / "soak.json").write_text(json.dumps(rows), encoding="utf-8")
    print(report(rows, options.parts))
    if not ended_well:
        print(f"the run ended by itself or left a process behind (exit code {run.poll()})", file=sys.stderr)
    return 0 if ended_well else 1


if __name__ == "__main__":
    run_program(lambda: sys.exit(main()))
