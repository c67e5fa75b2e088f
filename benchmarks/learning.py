"""How fast does the shared policy learn? A fixed set of bodies, a fixed budget of control steps, any setting by flag.

Every ablation is one command:

    python benchmarks/learning.py --steps 500000 --seeds 0 1 2 --set ppo.learning_rate=1e-3 --tag lr1e-3

Prints a table row per seed (mean, worst quartile and best speed of the bodies in m/s with the mean action, area under
the curve of the mean, training steps a second) and saves settings, curves and every body's speed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from map_elites.config import build, merge, nest
from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign, as_design
from robogrammar_env.sampling import sample_design
from shared_ppo.body import BodySpec
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import BodyFailed, EvaluateOrder, EvaluationReport, LearnerUpdate, TrainOrder
from shared_ppo.supervisor import ProcessSupervisor

HERE = Path(__file__).parent
BODIES = HERE / "bodies32.txt"
EVALUATION_SEEDS = (900_001, 900_002)


def read_designs(path: Path) -> list[RobotDesign]:
    """The designs of a file, one readable design or rule sequence a line; `#` starts a comment."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [as_design(line) for line in lines if line]


def write_designs(path: Path, *, count: int, seed: int) -> None:
    """Draws `count` different useful designs of 3 to 16 joints and writes them, one a line."""
    rng = np.random.default_rng(seed)
    designs: dict[RobotDesign, None] = {}
    while len(designs) < count:
        design = sample_design(rng, min_joints=3, max_joints=16)
        designs[design] = None
    header = f"# {count} designs drawn by sample_design from seed {seed}, 3 to 16 joints\n"
    path.write_text(header + "".join(f"{design.to_text()}\n" for design in designs), encoding="utf-8")


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["ppo.clip=0.1"]` as nested settings."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        settings = merge(settings, nest(key, yaml.safe_load(value)))
    return settings


class Trial:
    """One seed of one setting: trains the shared policy on fixed bodies and scores them along the way."""

    def __init__(self, config: TrainConfig, designs: list[RobotDesign], *, seed: int, options: argparse.Namespace):
        self.options = options
        self.specs = [body_spec(number, design, config) for number, design in enumerate(designs)]
        judged = replace(
            config, environment=replace(config.environment, engine=options.judge or config.environment.engine)
        )
        offset = len(self.specs)  # another engine is another body to the workers
        self.judged = [body_spec(number + offset, design, judged) for number, design in enumerate(designs)]
        kind = InProcessSupervisor if options.in_process else ProcessSupervisor
        self.supervisor = kind(
            make_body,
            observation_spec(config),
            config.shared_ppo,
            num_workers=1 if options.in_process else options.workers,
            seed=seed,
            mode=options.mode,
            preload=() if options.in_process else ("robogrammar_env.engine.preload",),
        )
        self.evaluation_steps, self.orders = 0, 0
        self.metrics: dict[str, float] = {}
        self.failed: dict[int, str] = {}

    def run(self, progress: Any) -> dict[str, Any]:
        """Trains to the budget; returns the curve, one point per evaluation."""
        self.supervisor.start()
        try:
            return self._run(progress)
        finally:
            self.supervisor.stop()

    def _run(self, progress: Any) -> dict[str, Any]:
        count = self.supervisor.num_workers
        copies = [spec for spec in self.specs for _ in range(self.options.copies)]
        curve, spent = [self._score(0.0)], 0.0
        for worker in range(count):
            self.supervisor.train(worker, TrainOrder(tuple(copies[worker::count])))
        for target in np.linspace(0, self.options.steps, self.options.points + 1)[1:]:
            start = time.perf_counter()
            while self._training_steps() < target:
                self._take(self.supervisor.poll(0.1))
            spent += time.perf_counter() - start
            curve.append(self._score(spent))
            progress(curve[-1])
        return {"curve": curve, "metrics": self.metrics, "failed": self.failed}

    def _training_steps(self) -> int:
        return self.supervisor.env_steps - self.evaluation_steps

    def _take(self, events: list[Any]) -> EvaluationReport | None:
        """Keeps what matters of the events; returns an evaluation if one came."""
        found = None
        for event in events:
            if isinstance(event, LearnerUpdate):
                self.metrics = dict(event.metrics)
            elif isinstance(event, BodyFailed):
                self.failed[event.body_id] = event.reason
            elif isinstance(event, EvaluationReport):
                self.evaluation_steps += event.steps
                found = event
        return found

    def _score(self, seconds: float) -> dict[str, Any]:
        """Speeds of all bodies under the present weights."""
        steps = self._training_steps()
        self.orders += 1
        self.supervisor.evaluate(EvaluateOrder(self.orders, tuple(self.judged), EVALUATION_SEEDS))
        report = None
        while report is None:
            report = self._take(self.supervisor.poll(0.1))
        speeds = [self._speed(report, spec) for spec in self.judged]
        return {"steps": steps, "seconds": seconds, "version": report.policy_version, "speeds_m_s": speeds}

    @staticmethod
    def _speed(report: EvaluationReport, spec: BodySpec) -> float | None:
        infos = report.results.get(spec.body_id)
        return float(np.mean([info["speed_m_s"] for info in infos])) if infos else None


def summarise(curve: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of one trial; speeds in m/s, bodies without a score left out."""
    final = np.sort([speed for speed in curve[-1]["speeds_m_s"] if speed is not None])
    means = [np.mean([speed for speed in point["speeds_m_s"] if speed is not None]) for point in curve]
    steps = np.array([point["steps"] for point in curve])
    return {
        "mean": float(final.mean()),
        "worst_quartile": float(final[: max(1, len(final) // 4)].mean()),
        "best": float(final[-1]),
        "area": float(np.trapezoid(means, steps) / steps[-1]),
        "steps_per_s": float(steps[-1] / curve[-1]["seconds"]),
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=Path, default=BODIES, help="file of designs")
    parser.add_argument("--num-bodies", type=int, help="only the first so many")
    parser.add_argument("--copies", type=int, default=1, help="simulations of each body side by side")
    parser.add_argument("--config", type=Path, help="YAML file of settings below --set")
    parser.add_argument("--steps", type=int, default=500_000, help="training control steps, evaluation not counted")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--engine", default="pybullet", help="engine that trains")
    parser.add_argument("--judge", help="engine that scores; by default the one that trains")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mode", default="async", choices=("async", "sync"))
    parser.add_argument("--in-process", action="store_true", help="no worker processes")
    parser.add_argument("--points", type=int, default=10, help="evaluations along the way")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, e.g. ppo.epochs=8")
    parser.add_argument("--tag", default="default")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/learning"))
    parser.add_argument("--draw-bodies", type=int, metavar="N", help="write N new designs to --bodies and stop")
    return parser.parse_args()


def main() -> None:
    """Runs all seeds of one setting."""
    options = parse_arguments()
    if options.draw_bodies:
        write_designs(options.bodies, count=options.draw_bodies, seed=2026)
        return
    base = yaml.safe_load(options.config.read_text(encoding="utf-8")) if options.config else {}
    settings = merge(base, merge(parse_settings(options.set), nest("environment.engine", options.engine)))
    config = build(TrainConfig, settings)
    designs = read_designs(options.bodies)[: options.num_bodies]
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:

        def progress(point: dict[str, Any], seed: int = seed) -> None:
            speeds = [speed for speed in point["speeds_m_s"] if speed is not None]
            print(
                f"# {options.tag} seed {seed}: {point['steps']:>9} steps {point['seconds']:6.0f} s "
                f"mean {np.mean(speeds):.3f} best {np.max(speeds):.3f} m/s",
                flush=True,
            )

        result = Trial(config, designs, seed=seed, options=options).run(progress)
        figures = summarise(result["curve"])
        result |= {"settings": settings, "tag": options.tag, "seed": seed, "figures": figures}
        (options.out / f"{options.tag}-seed{seed}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        cells = " | ".join(f"{value:.3f}" if key != "steps_per_s" else f"{value:.0f}" for key, value in figures.items())
        print(f"| {options.tag} | {seed} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
