r"""What is a policy worth on bodies that it has never seen? 32 held-out bodies, never trained on.

    python benchmarks/zero_shot.py --training-bodies 256 --steps 3000000 --seeds 0 1 2
    python benchmarks/zero_shot.py --training-file benchmarks/family32.txt --held-out benchmarks/family_held_out32.txt \
        --steps 1000000 --finetune-steps 100000
    python benchmarks/zero_shot.py --run results/<run>   # weights and elites of a finished --train-shared run
    python benchmarks/zero_shot.py --report

Trains the shared policy on many random bodies that take turns, then scores the held-out bodies under the trained and
the untrained policy, and as many of the trained bodies for comparison. Then trains on the held-out bodies for a short
time, once from the trained weights (fine-tuning), once from new ones (scratch). The best of 60 random sinusoids on the
same bodies is the controller that learns nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import HELD_OUT, draw_designs, read_designs
from common.options import make_parser, parse_settings, positive, run_program, train_config, trial_settings
from common.parts import Parts
from common.progress import Progress
from common.references import sinusoid_speeds
from common.tables import average, column, draw, machines, markdown, mean_speed, means, percent, planner_share, spread
from common.trial import Crew, Point, Trial, cycle, marks

from map_elites.checkpoint import LEARNER_FILE
from map_elites.config import build, merge, nest, read_yaml
from map_elites.errors import UserError
from map_elites.run_folder import open_folder
from map_elites.trainer.bodies import read_design
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign

TRAINING_SEED = 7001


def main(argv: list[str] | None = None) -> None:
    """Runs what is missing, then reports."""
    options = parse_arguments(argv)
    parts = Parts(options.out)
    if not options.report:
        held_out = read_designs(options.held_out)[: options.num_bodies]
        score_sinusoids(options, held_out, parts)
        for seed in options.seeds[: 1 if options.run else None]:
            pretrain = score_run if options.run else train
            config, checkpoint = pretrain(options, held_out, seed, parts)
            go_on(options, config, held_out, seed, checkpoint, parts)
            go_on(options, config, held_out, seed, None, parts)
    report(parts)


# -- parts -------------------------------------------------------------------------------------------------------------


def score_sinusoids(options: argparse.Namespace, held_out: Sequence[RobotDesign], parts: Parts) -> None:
    """The best of 60 random sinusoids on each held-out body."""
    engine, names = options.judge or options.engine, [design.to_text() for design in held_out]
    progress = Progress("sinusoids", len(held_out), "bodies")
    parts.make(
        "sinusoids",
        {"engine": engine, "designs": names},
        lambda: {"designs": names, "speeds_m_s": sinusoid_speeds(held_out, engine, progress)},
    )


def train(
    options: argparse.Namespace, held_out: Sequence[RobotDesign], seed: int, parts: Parts
) -> tuple[TrainConfig, Path]:
    """Trains on random bodies in turns, scores held-out and trained bodies; returns settings and weights."""
    config, crew = train_config(options), Crew(options.workers)
    designs = training_designs(options, held_out)
    places = min(options.places, len(designs))
    turn = places * options.turn_segments * config.experience.segment_length
    seen = designs[: len(held_out)]
    name, checkpoint = f"train-seed{seed}", options.out / f"weights-seed{seed}.npz"
    settings = trial_settings(
        config,
        seed=seed,
        steps=options.steps,
        points=options.points,
        judge=options.judge,
        crew=crew,
        training_bodies=len(designs),
        places=places,
        turn_steps=turn,
        designs=[design.to_text() for design in held_out],
    )

    def work() -> dict[str, Any]:
        both = [*held_out, *seen]
        with Trial(config, designs, seed=seed, crew=crew, judge=options.judge, judged=both, at_a_time=places) as trial:
            trial.take_turns(cycle(len(designs), places, seed), turn)
            result = trial.run(marks(options.steps, options.points), Progress(name, options.steps).point)
            options.out.mkdir(parents=True, exist_ok=True)
            trial.supervisor.checkpoint(checkpoint)
        return both_curves(result, held_out, seen) | {"seed": seed}

    if parts.path(name).exists() and not checkpoint.exists():
        raise UserError(f"{parts.path(name)} is there but its weights {checkpoint} are not; remove it")
    parts.make(name, settings, work)
    return config, checkpoint


def training_designs(options: argparse.Namespace, held_out: Sequence[RobotDesign]) -> list[RobotDesign]:
    """Those of a file, or random ones; never one that is held out.

    Raises:
        UserError: The file cannot be read, or holds a held-out body.
    """
    if options.training_file is None:
        return draw_designs(options.training_bodies, seed=TRAINING_SEED, without=set(held_out))
    designs = read_designs(options.training_file)
    refuse_held_out(designs, held_out, f"{options.training_file} has a held-out body")
    return designs


def refuse_held_out(known: Sequence[RobotDesign], held_out: Sequence[RobotDesign], complaint: str) -> None:
    """Raises UserError, with one of them behind the complaint, if bodies that are held out are known to the policy."""
    if common := set(held_out) & set(known):
        raise UserError(f"{complaint}: {next(iter(common)).to_text()}")


def score_run(
    options: argparse.Namespace, held_out: Sequence[RobotDesign], seed: int, parts: Parts
) -> tuple[TrainConfig, Path]:
    """Scores held-out bodies and elites under a run's first and final policy; returns its settings and weights.

    Raises:
        UserError: The run cannot be read, or has an elite among the held-out bodies.
    """
    folder = open_folder(options.run)
    settings = merge(read_yaml(folder.config_path), nest("environment.engine", options.engine))
    settings = merge(settings, nest("ppo.device", "auto"))  # the run may have been made elsewhere
    config = build(TrainConfig, merge(settings, parse_settings(options.set)))
    try:
        elites = json.loads(folder.archive_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder.archive_path}: {error}") from None
    order = np.random.default_rng(TRAINING_SEED).permutation(len(elites))[: len(held_out)]
    seen = [read_design(elites[index]["rules"]) for index in order]
    known = [read_design(elite["rules"]) for elite in elites]
    refuse_held_out(known, held_out, f"{options.run} has a held-out body in its archive")
    checkpoints = folder.checkpoints()
    if len(checkpoints) < 2:
        raise UserError(f"{options.run} has no checkpoint of its start and its end")
    weights = [checkpoints[index] / LEARNER_FILE for index in (0, -1)]
    crew = Crew(options.workers)

    def work() -> dict[str, Any]:
        curve = [score_weights(config, [*held_out, *seen], path, crew, options.judge) for path in weights]
        return both_curves({"curve": curve}, held_out, seen) | {"seed": seed}

    budget = {"judge": options.judge, "run": str(options.run), "weights": [str(path) for path in weights]}
    parts.make(f"train-seed{seed}", trial_settings(config, **budget), work)
    return config, weights[-1]


def score_weights(
    config: TrainConfig, designs: Sequence[RobotDesign], checkpoint: Path, crew: Crew, judge: str | None
) -> Point:
    """A point with the speeds of bodies under saved weights; its steps are those of the checkpoint."""
    with Trial(config, designs, crew=crew, judge=judge, checkpoint=checkpoint, at_a_time=0) as trial:
        steps = trial.supervisor.env_steps
        return trial.score() | {"steps": steps}


def both_curves(result: dict[str, Any], held_out: Sequence[RobotDesign], seen: Sequence[RobotDesign]) -> dict[str, Any]:
    """Takes the curve of both sets of bodies apart."""
    count = len(held_out)

    def part(point: Point, chosen: slice) -> Point:
        return point | {"speeds_m_s": point["speeds_m_s"][chosen]}

    return result | {
        "curve": [part(point, slice(count)) for point in result["curve"]],
        "trained_curve": [part(point, slice(count, None)) for point in result["curve"]],
        "designs": [design.to_text() for design in held_out],
        "trained_designs": [design.to_text() for design in seen],
    }


def go_on(
    options: argparse.Namespace,
    config: TrainConfig,
    held_out: Sequence[RobotDesign],
    seed: int,
    checkpoint: Path | None,
    parts: Parts,
) -> None:
    """Trains on the held-out bodies themselves, from saved weights or from new ones."""
    name, crew = f"{'finetune' if checkpoint else 'scratch'}-seed{seed}", Crew(options.workers)
    steps, names = options.finetune_steps, [design.to_text() for design in held_out]
    budget = {"seed": seed, "steps": steps, "points": options.points, "judge": options.judge, "designs": names}

    def work() -> dict[str, Any]:
        with Trial(config, held_out, seed=seed, crew=crew, judge=options.judge, checkpoint=checkpoint) as trial:
            trial.train()
            result = trial.run(marks(steps, options.points), Progress(name, steps).point)
        return {"seed": seed, "designs": names, **result}

    weights = str(checkpoint) if checkpoint else None
    parts.make(name, trial_settings(config, **budget, crew=crew, weights=weights), work)


# -- report ------------------------------------------------------------------------------------------------------------


def report(parts: Parts) -> None:
    """Table and picture of what is there."""
    print(
        markdown(
            ["controller", "mean m/s over seeds", "best m/s", "of the trained bodies", "of the planner"], rows(parts)
        )
    )
    print(machines(parts.all()))
    runs = parts.all("train-seed*")
    panels = []
    if runs:
        lines = {
            "trained bodies": [(column(run["curve"], "steps"), means(run["trained_curve"])) for run in runs],
            "held-out bodies": [(column(run["curve"], "steps"), means(run["curve"])) for run in runs],
        }
        panels.append(("training control steps", "mean speed, m/s", lines))
    tuned = {
        "from the trained policy": [(column(p["curve"], "steps"), means(p["curve"])) for p in parts.all("finetune-*")],
        "from scratch": [(column(p["curve"], "steps"), means(p["curve"])) for p in parts.all("scratch-*")],
    }
    if any(tuned.values()):
        panels.append(("control steps on held-out bodies", "mean speed, m/s", tuned))
    if panels:
        draw(parts.folder / "zero_shot.png", panels)


def rows(parts: Parts) -> Iterable[list[str]]:
    """A row per controller; means over seeds."""
    runs, sinusoids = parts.all("train-seed*"), parts.all("sinusoids")
    trained = [mean_speed(run["trained_curve"][-1]["speeds_m_s"]) for run in runs]
    level = float(np.mean(trained)) if runs else None
    sides = {
        "trained policy, trained bodies": [(r["trained_curve"][-1]["speeds_m_s"], r["trained_designs"]) for r in runs],
        "trained policy, held-out": [(run["curve"][-1]["speeds_m_s"], run["designs"]) for run in runs],
        "untrained policy, held-out": [(run["curve"][0]["speeds_m_s"], run["designs"]) for run in runs],
        "best of 60 random sinusoids, held-out": [(part["speeds_m_s"], part["designs"]) for part in sinusoids],
    }
    for kind, title in (
        ("finetune", "fine-tuned on the held-out"),
        ("scratch", "trained on the held-out from scratch"),
    ):
        found = parts.all(f"{kind}-*")
        steps = f" for {found[0]['settings']['steps']:,} steps" if found else ""
        sides[title + steps] = [(part["curve"][-1]["speeds_m_s"], part["designs"]) for part in found]
    for title, results in sides.items():
        if results:
            yield row(title, results, level)


def row(title: str, results: Sequence[tuple[list[float | None], list[str]]], level: float | None) -> list[str]:
    """A line of the table: speeds of one controller, a list per seed."""
    mean_speeds = [mean_speed(speeds) for speeds, _ in results]
    best = max(speed for speeds, _ in results for speed in speeds if speed is not None)
    of_trained = percent(float(np.mean(mean_speeds)) / level if level and level > 0 else None)
    of_planner = percent(average(planner_share(speeds, names) for speeds, names in results))
    return [title, spread(mean_speeds), f"{best:.3f}", of_trained, of_planner]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=3_000_000, out="zero_shot")
    parser.add_argument("--held-out", type=Path, default=HELD_OUT, help="file of designs that are never trained on")
    parser.add_argument("--num-bodies", type=positive, help="only the first so many of them")
    parser.add_argument("--training-bodies", type=positive, default=128, help="random bodies to train on (128)")
    parser.add_argument("--training-file", type=Path, help="designs to train on instead of random ones")
    parser.add_argument("--places", type=positive, default=32, help="bodies that train at a time (32)")
    parser.add_argument("--turn-segments", type=positive, default=8, help="segments of a body's turn (8)")
    parser.add_argument(
        "--finetune-steps", type=positive, default=300_000, help="control steps on the held-out (300000)"
    )
    parser.add_argument("--points", type=positive, default=10, help="evaluations along the way (10)")
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="score a finished run's policy; trains none")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
