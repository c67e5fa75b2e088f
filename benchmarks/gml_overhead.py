"""What the search itself costs per job: (wall time x slots - sum of the jobs' own times) / jobs.

A job's own time is what the program measures of itself when it runs alone, here a program that sleeps. On a busy
machine wall times say little; the CPU time of the search without that of its jobs is printed too.
Run: python benchmarks/gml_overhead.py [--jobs 200] [--slots 2] [--seconds 0.01]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.options import Parser, positive, run_program

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
task:
  template: "sleep {seconds}; echo 'acc: {{x}}'"
  search_args:
    - {{type: Real, name: x, data: [0, 1]}}
    - {{type: Int, name: n, data: [1, 100]}}
searcher: {{type: RandomSearcher}}
scheduler:
  parallel_size: {slots}
  stop_criterion: {{max_tries: {jobs}}}
"""


def children_cpu_s() -> float:
    """Returns the CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def own_time_s(seconds: float, num: int = 20) -> tuple[float, float]:
    """Returns wall and CPU time of the program of one job, without gml."""
    begun, cpu_s = time.monotonic(), children_cpu_s()
    for _ in range(num):
        subprocess.run(["sh", "-c", f"sleep {seconds}; echo 'acc: 1'"], stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic() - begun) / num, (children_cpu_s() - cpu_s) / num


def search_s(folder: Path, *, jobs: int, slots: int, seconds: float) -> tuple[float, float]:
    """Returns wall and CPU time of a whole search, start of Python and the jobs included."""
    (folder / "config.yaml").write_text(CONFIG.format(jobs=jobs, slots=slots, seconds=seconds), encoding="utf-8")
    begun, cpu_s = time.monotonic(), children_cpu_s()
    command = [sys.executable, "-m", "gml.cli", "run", "-t", "overhead", "config.yaml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun, children_cpu_s() - cpu_s


def main() -> None:
    """Prints the cost."""
    parser = Parser(__doc__)
    parser.add_argument("--jobs", type=positive, default=200)
    parser.add_argument("--slots", type=positive, default=2)
    parser.add_argument("--seconds", type=float, default=0.01, help="how long a job sleeps")
    options = parser.parse_args()
    own_s, own_cpu_s = own_time_s(options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        wall_s, cpu_s = search_s(Path(folder), jobs=options.jobs, slots=options.slots, seconds=options.seconds)
    cost_s = (wall_s * options.slots - options.jobs * own_s) / options.jobs
    print(f"{options.jobs} jobs of {1000 * own_s:.1f} ms on {options.slots} slots: {wall_s:.2f} s")
    print(f"cost per job, start of the search included: {1000 * cost_s:.1f} ms")
    print(f"CPU per job beside its own: {1000 * (cpu_s / options.jobs - own_cpu_s):.1f} ms")


if __name__ == "__main__":
    run_program(main)
