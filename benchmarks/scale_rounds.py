"""What the scale runner itself costs: many rounds of a trivial program on two slots.

Prints a JSON object: own cost per round, memory and merge time over the run, and the time of a resume.

    own cost = (wall time x slots - sum of the rounds' own times) / rounds

A round's own time runs from the start of its process to the end of its last one, as the job engine measures it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "tools" / "fake_main.py"
SAMPLE_S = 1.0


def command_line(folder: Path, rounds: int, batch: int, objects: int) -> list[str]:
    """Returns the call of the runner."""
    slot = uuid.uuid4().hex[:8]
    program = f"{{python}} -S {PROGRAM} --out {folder} --name {{name}} --object_code {{object_code}} --seed {{seed}}"
    return [
        *(sys.executable, str(ROOT / "tools" / "scale_runner.py"), "--exp_name", "cost", "--gpus", f"{slot}a,{slot}b"),
        *("--object_code_list", *(f"object{number}" for number in range(objects))),
        *("--command", f"{program} --batch_size {batch}"),
        *("--target_count_per_object", str(rounds // objects * batch), "--round_batch_size", str(batch)),
        *("--experiments_dir", str(folder), "--cleanup", "*", "--clean_after", "round", "--resume"),
    ]


class Watch(threading.Thread):
    """Notes the memory of a process and how many lines its journal has, every second."""

    def __init__(self, pid: int, journal: Path):
        """Starts to watch."""
        super().__init__(daemon=True)
        self._process, self._journal = psutil.Process(pid), journal
        self.seen: list[tuple[float, int, int]] = []  # seconds, rounds, bytes
        self.start()

    def run(self) -> None:
        """Watches until the process ends."""
        begun = time.monotonic()
        while True:
            try:
                memory = self._process.memory_info().rss
            except psutil.NoSuchProcess:
                return
            rounds = self._journal.read_bytes().count(b"\n") if self._journal.exists() else 0
            if memory:
                self.seen.append((time.monotonic() - begun, rounds, memory))
            time.sleep(SAMPLE_S)


def measure(rounds: int, batch: int, objects: int) -> dict[str, float]:
    """Runs the experiment and returns the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = command_line(folder, rounds, batch, objects)
        begun = time.monotonic()
        runner = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        watch = Watch(runner.pid, folder / "cost" / "rounds.jsonl")
        code = runner.wait()
        wall_s = time.monotonic() - begun
        if code:
            raise SystemExit(f"the runner ended with exit code {code}")
        manifest = json.loads((folder / "cost" / "manifest.json").read_text())
        own_s = sum(line["wall_s"] for line in manifest["rounds"])
        begun = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return figures(wall_s, own_s, watch.seen, rounds) | {"resume_s": round(time.monotonic() - begun, 2)}


def figures(wall_s: float, own_s: float, seen: list[tuple[float, int, int]], rounds: int) -> dict[str, float]:
    """Returns cost per round, memory early and late, and the speed of the first and the last third."""
    third = len(seen) // 3
    early, late = seen[min(3, len(seen) - 1)], seen[-2] if len(seen) > 1 else seen[-1]

    def per_second(begin: tuple[float, int, int], end: tuple[float, int, int]) -> float:
        return round((end[1] - begin[1]) / max(1e-9, end[0] - begin[0]), 2)

    return {
        "rounds": rounds,
        "wall_s": round(wall_s, 1),
        "rounds_own_s": round(own_s, 1),
        "own_cost_ms_per_round": round(1000 * (2 * wall_s - own_s) / rounds, 2),
        "memory_early_mb": round(early[2] / 1e6, 1),
        "memory_late_mb": round(late[2] / 1e6, 1),
        "rounds_per_s_first_third": per_second(seen[0], seen[third]),
        "rounds_per_s_last_third": per_second(seen[-third - 1], late),
        "peak_children_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3, 1),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=4, help="samples per round")
    parser.add_argument("--objects", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.batch, options.objects), indent=1))


if __name__ == "__main__":
    main()
