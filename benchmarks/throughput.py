"""Control steps a second while learning, as a share of what the bare environment gives on the same cores.

    python benchmarks/throughput.py --engine pybullet

Rounds alternate between both, because machines are noisy: (raw) one process a core steps its bodies with random
actions, nothing else; (learning) the trainer's own processes roll out the same bodies and train one shared policy.
Prints both rates, their ratio, and where the time of a control step goes, from the processor time of each process.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from common.bodies import BODIES, read_designs
from common.options import Parser, parse_settings, positive, run_program
from common.trial import held_ready

from map_elites.config import build, default_workers, merge, nest
from map_elites.run_folder import check_writable
from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.settings import TrainConfig
from shared_ppo.body import BodySpec
from shared_ppo.messages import LearnerUpdate, TrainOrder
from shared_ppo.supervisor import ProcessSupervisor

DEFAULTS = Path(__file__).parent.parent / "configs" / "default.yaml"


def step_bodies(specs: list[BodySpec], seconds: float, results: Any) -> None:
    """A raw process: steps its bodies in turn with Gaussian actions; puts (steps, wall s, processor s)."""
    rng = np.random.default_rng(0)
    bodies = [make_body(spec) for spec in specs]
    for number, body in enumerate(bodies):
        body.reset(number, training=True)
    start, busy, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        for number, body in enumerate(bodies):
            step = body.step(rng.normal(0.0, 0.9, body.description.num_joints))
            if step.terminated or step.truncated:
                body.reset(steps + number, training=True)
        steps += len(bodies)
    results.put((steps, time.perf_counter() - start, time.process_time() - busy))


def measure_raw(specs: list[BodySpec], *, processes: int, seconds: float) -> dict[str, float]:
    """Steps a second of the bare environment over all processes, and processor time of a step."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    crew = [
        context.Process(target=step_bodies, args=(specs[index::processes], seconds, results))
        for index in range(processes)
    ]
    for process in crew:
        process.start()
    counts = [results.get() for _ in crew]
    for process in crew:
        process.join()
    return {
        "steps_per_s": sum(steps / wall for steps, wall, _ in counts),
        "cpu_ms_per_step": 1e3 * sum(busy for _, _, busy in counts) / sum(steps for steps, _, _ in counts),
    }


def processor_seconds() -> dict[str, float]:
    """Processor time so far of the learner and of all workers."""
    seconds = {"learner": 0.0, "workers": 0.0}
    for process in psutil.Process().children(recursive=True):
        title = " ".join(process.cmdline())
        times = process.cpu_times()
        if "learner" in title:
            seconds["learner"] += times.user + times.system
        elif "worker" in title:
            seconds["workers"] += times.user + times.system
    return seconds


def poll_for(supervisor: ProcessSupervisor, seconds: float) -> list[dict[str, float]]:
    """Lets the run go on for some time; returns the metrics of its updates."""
    end, metrics = time.perf_counter() + seconds, []
    while time.perf_counter() < end:
        metrics += [event.metrics for event in supervisor.poll(0.1) if isinstance(event, LearnerUpdate)]
    return metrics


def measure_learning(config: TrainConfig, specs: list[BodySpec], *, workers: int, seconds: float) -> dict[str, float]:
    """Steps a second while the policy learns, and processor time of a step by process."""
    preload = held_ready(config, training=math.ceil(len(specs) / workers))
    supervisor = ProcessSupervisor(
        make_body, observation_spec(config), config.shared_ppo, num_workers=workers, seed=0, preload=preload
    )
    supervisor.start()
    try:
        for worker in range(workers):
            supervisor.train(worker, TrainOrder(tuple(specs[worker::workers])))
        while not poll_for(supervisor, 0.5):  # until the first update is done
            pass
        poll_for(supervisor, 0.3 * seconds)
        steps, start, before = supervisor.env_steps, time.perf_counter(), processor_seconds()
        metrics = poll_for(supervisor, seconds)
        wall, steps, after = time.perf_counter() - start, supervisor.env_steps - steps, processor_seconds()
    finally:
        supervisor.stop()
    return {
        "steps_per_s": steps / wall,
        "worker_cpu_ms_per_step": 1e3 * (after["workers"] - before["workers"]) / steps,
        "learner_cpu_ms_per_step": 1e3 * (after["learner"] - before["learner"]) / steps,
        "updates": float(len(metrics)),
        "policy_lag_mean": float(np.mean([m["policy_lag_mean"] for m in metrics])) if metrics else 0.0,
    }


def report(rounds: list[dict[str, Any]]) -> str:
    """The table: medians over rounds."""

    def median(kind: str, key: str) -> float:
        return statistics.median(entry[kind][key] for entry in rounds)

    ratio = statistics.median(entry["learning"]["steps_per_s"] / entry["raw"]["steps_per_s"] for entry in rounds)
    physics, worker = median("raw", "cpu_ms_per_step"), median("learning", "worker_cpu_ms_per_step")
    learner = median("learning", "learner_cpu_ms_per_step")
    rows = [
        ("raw environment, all cores", f"{median('raw', 'steps_per_s'):.0f} steps/s"),
        ("end to end, while learning", f"{median('learning', 'steps_per_s'):.0f} steps/s"),
        ("share of raw", f"{100 * ratio:.0f} %"),
        ("a step: physics, observation, reward", f"{physics:.3f} ms of processor time"),
        ("a step: policy, bookkeeping, transport (worker)", f"{worker - physics:.3f} ms"),
        ("a step: update (learner)", f"{learner:.3f} ms"),
        ("share of raw by processor time", f"{100 * physics / (worker + learner):.0f} %"),
    ]
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = Parser(__doc__)
    parser.add_argument("--engine", default="pybullet")
    parser.add_argument("--bodies", type=Path, default=BODIES)
    parser.add_argument("--num-bodies", type=positive, default=16)
    parser.add_argument("--workers", type=positive, default=default_workers())
    parser.add_argument(
        "--cores", type=positive, default=len(os.sched_getaffinity(0)), help="processes of the raw rounds"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--config", type=Path, default=DEFAULTS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/throughput"), metavar="DIR")
    options = parser.parse_args()
    check_writable(options.out)
    base = yaml.safe_load(options.config.read_text(encoding="utf-8")) or {}
    settings = merge(base, merge(parse_settings(options.set), nest("environment.engine", options.engine)))
    config = build(TrainConfig, settings)
    designs = read_designs(options.bodies)[: options.num_bodies]
    specs = [body_spec(number, design, config) for number, design in enumerate(designs)]
    rounds = []
    for number in range(options.rounds):
        raw = measure_raw(specs, processes=options.cores, seconds=options.seconds)
        learning = measure_learning(config, specs, workers=options.workers, seconds=options.seconds)
        rounds.append({"raw": raw, "learning": learning})
        print(f"# round {number}: {json.dumps(rounds[-1])}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"settings": settings, "engine": options.engine, "workers": options.workers, "rounds": rounds}
    (options.out / f"{options.engine}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(report(rounds))


if __name__ == "__main__":
    run_program(main)
