"""What an update of the shared policy costs on which device, and whether devices agree.

    python benchmarks/learner_device.py --devices cpu:1 cpu:2 cuda

The same segments of the same bodies, rolled out in MuJoCo, are learned from again and again, each time from the same
weights; batches grow from what two workers gather to what many do. The first device is the one that others are
compared with: by the time of an update, and by the gradient of the whole batch at once.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common.bodies import ROOT, read_designs
from common.options import Parser, parse_settings, positive, run_program
from common.parts import machine
from common.rollouts import lone_worker
from common.tables import markdown

from map_elites.config import build, merge, nest
from map_elites.errors import UserError
from map_elites.run_folder import check_writable
from map_elites.trainer.bodies import observation_spec
from map_elites.trainer.settings import TrainConfig
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.device import pick_device
from shared_ppo.errors import SharedPPOError
from shared_ppo.learner import SharedPPOTrainer
from shared_ppo.segment import Segment


class Place(NamedTuple):
    """Where a learner works: on a device, with so many threads if it is a CPU."""

    device: str
    threads: int

    def __str__(self) -> str:
        """As on the command line."""
        return self.device if self.device == "cuda" else f"{self.device}:{self.threads}"

    def learner(self, spec: ObservationSpec, config: SharedPPOConfig, **ppo: Any) -> SharedPPOTrainer:
        """A new learner at this place, with some settings of its own."""
        settings = replace(config.ppo, device=self.device, threads=self.threads, **ppo)
        torch.set_num_threads(settings.threads_of_each)
        return SharedPPOTrainer(spec, replace(config, ppo=settings))


def parse_place(text: str) -> Place:
    """A place from "cuda" or "cpu:THREADS".

    Raises:
        UserError: It is neither, or no GPU works here.
    """
    if text == "cuda":
        try:
            pick_device("cuda")
        except SharedPPOError as error:
            raise UserError(f"--devices cuda: {error}") from None
        return Place("cuda", 1)
    device, _, threads = text.partition(":")
    if device != "cpu" or not threads.isdecimal() or int(threads) < 1:
        raise UserError(f"--devices {text}: wants cuda or cpu:THREADS, such as cpu:2")
    return Place("cpu", int(threads))


def roll_out(config: TrainConfig, *, num_bodies: int, copies: int, weights: SharedPPOTrainer) -> list[Segment]:
    """Segments of the first bodies of the family, `copies` of each, under some weights."""
    designs = read_designs(ROOT / "benchmarks" / "family32.txt")[:num_bodies]
    segments = []
    for seed in range(copies):
        worker = lone_worker(config, designs, seed=seed)
        worker.policy.load(weights.version, weights.actor_vector())
        segments += worker.rollout()
    return segments


def seconds_of_updates(learner: SharedPPOTrainer, segments: list[Segment], repeats: int) -> list[float]:
    """Seconds of whole updates that all start from the learner's present state; a first one does not count."""
    state = learner.state()
    seconds = []
    for _ in range(repeats + 1):
        learner.load_state(*state)
        seconds.append(learner.update(segments)["learn_seconds"])
    return seconds[1:]


def whole_gradient(
    place: Place, spec: ObservationSpec, config: SharedPPOConfig, segments: list[Segment]
) -> torch.Tensor:
    """Gradient of a batch as one minibatch, clipped to `max_grad_norm`, (P,) on the CPU."""
    learner = place.learner(spec, config, epochs=1, minibatch_size=10**9)
    learner.update(segments)
    return learner.flat.gradient.cpu()


def table(results: list[dict[str, Any]]) -> str:
    """One row a batch size and device."""
    return markdown(
        ["control steps in a batch", "device", "update, s", "speed-up", "difference of gradients"],
        [
            [
                str(result["steps"]),
                result["place"],
                f"{result['seconds']:.3f}",
                f"{result['speed_up']:.1f} x",
                f"{result['gradient_difference']:.1e}",
            ]
            for result in results
        ],
    )


def main(argv: list[str] | None = None) -> None:
    """Measures every device at every batch size and prints the table."""
    parser = Parser(__doc__)
    parser.add_argument("--devices", nargs="+", default=["cpu:1", "cpu:2"], help="cuda, or cpu:THREADS")
    parser.add_argument("--num-bodies", type=positive, default=32, help="of family32.txt")
    parser.add_argument(
        "--copies", type=positive, nargs="+", default=[2, 8, 32], help="segments of each body in a batch"
    )
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, e.g. ppo.epochs=3")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/learner_device"), metavar="DIR")
    options = parser.parse_args(argv)
    check_writable(options.out)
    places = [parse_place(text) for text in options.devices]
    config = build(TrainConfig, merge(parse_settings(options.set), nest("environment.engine", "mujoco")))
    spec, shared = observation_spec(config), config.shared_ppo
    results: list[dict[str, Any]] = []
    for copies in options.copies:
        start = places[0].learner(spec, shared)
        segments = roll_out(config, num_bodies=options.num_bodies, copies=copies, weights=start)
        wanted = whole_gradient(places[0], spec, shared, segments)
        for place in places:
            found = whole_gradient(place, spec, shared, segments)
            seconds = seconds_of_updates(place.learner(spec, shared, target_kl=0.0), segments, options.repeats)
            median = statistics.median(seconds)
            first = next((one["seconds"] for one in results if one["copies"] == copies), median)
            results.append(
                {
                    "place": str(place),
                    "hardware": torch.cuda.get_device_name() if place.device == "cuda" else machine(),
                    "copies": copies,
                    "steps": sum(segment.num_steps for segment in segments),
                    "all_seconds": seconds,
                    "seconds": median,
                    "speed_up": first / median,
                    "gradient_difference": float((found - wanted).norm() / wanted.norm()),
                }
            )
            print(f"# {json.dumps(results[-1])}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"torch": torch.__version__, "set": options.set, "results": results}
    (options.out / "results.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    run_program(main)
