"""Where the processor time of a training step goes: physics, observation, policy, transport, update.

    python benchmarks/profile_step.py --engine mujoco

One process does what workers and learner do in a run: it rolls out segments of all bodies with the present weights,
sends them through the shared buffer and updates, round after round. A part's figure is the processor time spent in it,
without that of parts inside it, per control step; the median over rounds. On a busy machine compare shares.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from common.bodies import BODIES, read_designs
from common.options import Parser, parse_settings, positive, run_program
from common.rollouts import lone_worker
from throughput import DEFAULTS

from map_elites.config import build, merge, nest
from map_elites.trainer.bodies import observation_spec
from map_elites.trainer.settings import TrainConfig
from robogrammar_env import simulation
from robogrammar_env.behaviour import EpisodeRecord
from robogrammar_env.engine.base import ENGINES
from shared_ppo import learner
from shared_ppo.acting import ActingPolicy, PolicyForBodies
from shared_ppo.batch import Prepared
from shared_ppo.experience import ExperienceWriter, SharedExperienceBuffer
from shared_ppo.lanes import LaneKeeper
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.optimizer import FlatAdam
from shared_ppo.recording import Recording
from shared_ppo.rollout import RolloutWorker
from shared_ppo.segment import Segment, segment_layout


class Stopwatch:
    """Processor seconds of functions, each without those of watched functions that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def watch(self, owner: Any, name: str, part: str) -> None:
        """From now on counts calls of `owner.name` as `part`."""
        call: Callable[..., Any] = getattr(owner, name)
        self.seconds.setdefault(part, 0.0)

        @functools.wraps(call)
        def counted(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            self._inner.append(0.0)
            try:
                return call(*arguments, **named)
            finally:
                spent = time.process_time() - start
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        setattr(owner, name, counted)

    def take(self) -> dict[str, float]:
        """Seconds of each part since the last call."""
        seconds, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return seconds


def watch_parts(watch: Stopwatch, engine: str) -> None:
    """Names the parts, in the order of the table."""
    kind = ENGINES[engine]()
    watch.watch(kind, "step", "worker: physics")
    watch.watch(kind, "state", "worker: state of the robot")
    watch.watch(simulation, "observe", "worker: observation")
    watch.watch(EpisodeRecord, "add", "worker: episode record")
    watch.watch(simulation.Simulation, "step", "worker: checks, reward")
    watch.watch(simulation.Simulation, "reset", "worker: resets")
    watch.watch(ActingPolicy, "encode", "worker: encoding of bodies")
    watch.watch(PolicyForBodies, "mean", "worker: forward pass")
    watch.watch(LaneKeeper, "step", "worker: guard around a body")
    watch.watch(RolloutWorker, "rollout", "worker: noise, recording")
    watch.watch(Recording, "segment", "transport: cutting segments")
    watch.watch(ExperienceWriter, "put", "transport: into shared memory")
    watch.watch(SharedExperienceBuffer, "take", "transport: out of shared memory")
    watch.watch(learner, "make_groups", "learner: padding")
    watch.watch(SharedPPOTrainer, "_prepare", "learner: pass without gradients, advantages")
    watch.watch(Prepared, "at", "learner: minibatches")
    watch.watch(SharedPPOTrainer, "_policy_loss", "learner: forward")
    watch.watch(SharedPPOTrainer, "_value_loss", "learner: forward")
    watch.watch(torch.Tensor, "backward", "learner: backward")
    watch.watch(FlatAdam, "step", "learner: optimiser")
    watch.watch(SharedPPOTrainer, "update", "learner: rest")


def profile(config: TrainConfig, *, num_bodies: int, rounds: int) -> dict[str, float]:
    """Median over rounds of each part's processor time, us per control step; the first round does not count."""
    torch.set_num_threads(1)
    spec, shared = observation_spec(config), config.shared_ppo
    shared = replace(shared, ppo=replace(shared.ppo, threads=1, device="cpu"))  # one stopwatch, one thing at a time
    watch = Stopwatch()
    watch_parts(watch, config.environment.engine)
    trainer = SharedPPOTrainer(spec, shared)
    worker = lone_worker(config, read_designs(BODIES)[:num_bodies])
    buffer = SharedExperienceBuffer(segment_layout(spec, shared), shared.experience)
    writer, found = buffer.writer(0, 1), []
    for _ in range(rounds + 1):
        worker.policy.load(trainer.version, trainer.actor_vector())
        watch.take()
        segments: list[Segment] = []
        steps = 0
        while steps < shared.experience.min_batch_size:
            batch = worker.rollout()
            for segment in batch:
                writer.put(segment)
            steps += sum(segment.num_steps for segment in batch)
            arrived = len(segments) + len(batch)
            while len(segments) < arrived:  # the queue's thread may take a moment
                segments += buffer.take(1.0)
        trainer.update(segments)
        found.append({part: 1e6 * seconds / steps for part, seconds in watch.take().items()})
    writer.close()
    buffer.close()
    return {part: statistics.median(one[part] for one in found[1:]) for part in found[0]}


def main() -> None:
    """Profiles and prints the table."""
    parser = Parser(__doc__)
    parser.add_argument("--engine", default="mujoco", choices=sorted(ENGINES))
    parser.add_argument("--num-bodies", type=positive, default=16, help="of bodies32.txt, side by side")
    parser.add_argument("--rounds", type=positive, default=5, help="batches that count")
    parser.add_argument("--config", type=Path, default=DEFAULTS)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, e.g. ppo.epochs=8")
    options = parser.parse_args()
    base = yaml.safe_load(options.config.read_text(encoding="utf-8")) or {}
    settings = merge(base, merge(parse_settings(options.set), nest("environment.engine", options.engine)))
    parts = profile(build(TrainConfig, settings), num_bodies=options.num_bodies, rounds=options.rounds)
    total = sum(parts.values())
    print("| part | us of processor time a control step | share |\n|---|--:|--:|")
    for part, cost in [*parts.items(), ("all", total)]:
        print(f"| {part} | {cost:.1f} | {100 * cost / total:.0f} % |")


if __name__ == "__main__":
    run_program(main)
