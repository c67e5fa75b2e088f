"""What the scale runner itself costs: many rounds of a trivial program on two slots.

Prints a JSON object: own cost per round, memory and merge time over the run, and the time of a resume.

    own cost = (wall time x slots - sum of the rounds' own times) / rounds

A round's own time runs from the start of its process to the end of its last one, as the job engine measures it. On a
busy machine the runner waits for processor and disk like everybody else: its processor time is printed beside it.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from common.options import Parser, positive, run_program

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


@dataclass(frozen=True)
class Moment:
    """What was seen of the runner at one moment.

    Attributes:
        seconds: since the start.
        rounds: merged by then.
        memory_bytes: resident memory of the runner.
        cpu_s: processor time of the runner itself, without its rounds.
    """

    seconds: float
    rounds: int
    memory_bytes: int
    cpu_s: float


class Watch(threading.Thread):
    """Looks at the runner and its journal every second."""

    def __init__(self, pid: int, journal: Path):
        """Starts to watch."""
        super().__init__(daemon=True)
        self._process, self._journal, self._read, self._rounds = psutil.Process(pid), journal, 0, 0
        self.seen: list[Moment] = []
        self.start()

    def run(self) -> None:
        """Watches until the process ends."""
        begun = time.monotonic()
        while True:
            try:
                memory, cpu = self._process.memory_info().rss, self._process.cpu_times()
            except psutil.NoSuchProcess:
                return
            if memory and self._journal.exists():
                self.seen.append(Moment(time.monotonic() - begun, self._merged(), memory, cpu.user + cpu.system))
            time.sleep(SAMPLE_S)

    def _merged(self) -> int:
        with self._journal.open("rb") as lines:
            lines.seek(self._read)
            new = lines.read()
        self._read += len(new)
        self._rounds += new.count(b'"status":"merged"')
        return self._rounds


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


def figures(wall_s: float, own_s: float, seen: list[Moment], rounds: int) -> dict[str, float]:
    """Returns cost per round; memory and processor time early and late in the run."""

    def at(share: float) -> Moment:
        return next((moment for moment in seen if moment.rounds >= share * rounds), seen[-1])

    def cpu_ms(begin: Moment, end: Moment) -> float:
        return round(1000 * (end.cpu_s - begin.cpu_s) / max(1, end.rounds - begin.rounds), 2)

    return {
        "rounds": rounds,
        "wall_s": round(wall_s, 1),
        "rounds_own_s": round(own_s, 1),
        "own_cost_ms_per_round": round(1000 * (2 * wall_s - own_s) / rounds, 2),
        "runner_cpu_ms_per_round_first_third": cpu_ms(at(0.0), at(1 / 3)),
        "runner_cpu_ms_per_round_last_third": cpu_ms(at(2 / 3), at(0.98)),
        **{
            f"memory_mb_at_{percent}_percent": round(at(percent / 100).memory_bytes / 1e6, 1)
            for percent in (10, 50, 95)
        },
    }


def main() -> None:
    """Measures and prints."""
    parser = Parser(__doc__)
    parser.add_argument("--rounds", type=positive, default=10_000)
    parser.add_argument("--batch", type=positive, default=4, help="samples per round")
    parser.add_argument("--objects", type=positive, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.batch, options.objects), indent=1))


if __name__ == "__main__":
    run_program(main)
