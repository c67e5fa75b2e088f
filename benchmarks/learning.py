"""How fast does the shared policy learn? A fixed set of bodies, a fixed budget of control steps, any setting by flag.

Every ablation is one command:

    python benchmarks/learning.py --steps 500000 --seeds 0 1 2 --set ppo.learning_rate=1e-3 --tag lr1e-3
    python benchmarks/learning.py --report            # the table of all tags, and their curves as a picture

Prints a table row per tag and seed (mean, worst quartile and best speed of the bodies in m/s with the mean action, area
under the curve of the mean, training steps a second, share of the planner's speed, mean speed of bodies that are scored
but never trained), then a row per tag over its seeds, and keeps settings, curves and every body's speed as JSON. Tags
and seeds that are there already are not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, breed_designs, draw_designs, published_designs, read_designs, write_designs
from common.options import make_parser, positive, run_program, train_config, trial_settings
from common.parts import Parts
from common.progress import Progress
from common.screening import fastest_by_gaits
from common.tables import (
    Line,
    average,
    column,
    draw,
    machines,
    markdown,
    mean_speed,
    means,
    percent,
    planner_share,
    spread,
    summarise,
)
from common.trial import Crew, Point, Trial, marks

from robogrammar_env.design import RobotDesign

PART = ("tag", "seed", "curve", "figures")
"""What each of the parts has."""


def main(argv: list[str] | None = None) -> None:
    """Runs all seeds of one setting, then reports on all."""
    options = parse_arguments(argv)
    if options.draw_bodies:
        designs = draw_designs(options.draw_bodies, seed=2026)
        comment = f"{len(designs)} designs drawn by sample_design from seed 2026, 3 to 16 joints"
        write_designs(options.bodies, designs, comment)
        return
    if options.breed_bodies:
        write_designs(options.bodies, *breed(options))
        return
    parts = Parts(options.out, PART)
    if not options.report:
        for seed in options.seeds:
            train(options, seed, parts)
    report(parts)


def breed(options: argparse.Namespace) -> tuple[list[RobotDesign], str]:
    """Related designs, and where they come from: the published ones, or the fastest of a screening."""
    count = options.breed_bodies
    if not options.screen_bodies:
        founders, seed = published_designs(), 2026
        return (
            breed_designs(founders, count, seed=seed),
            f"{count} designs: RoboGrammar's flat and ridged ones, and descendants bred from seed {seed}",
        )
    seed = options.seeds[0]
    drawn = draw_designs(options.screen_bodies, seed=seed, min_joints=1, max_joints=24)
    founders = fastest_by_gaits(drawn, options.founders, seed=seed)
    comment = f"{count} designs: the {len(founders)} fastest of {len(drawn)} random ones, and descendants; seed {seed}"
    return breed_designs(founders, count, seed=seed), comment


def train(options: argparse.Namespace, seed: int, parts: Parts) -> None:
    """One seed of one setting."""
    config, crew = train_config(options), Crew(options.workers, options.mode, options.copies)
    designs = read_designs(options.bodies)[: options.num_bodies]
    held_out = read_designs(options.held_out) if options.held_out else []
    names = [design.to_text() for design in designs]
    budget = {"seed": seed, "steps": options.steps, "points": options.points, "judge": options.judge}
    if held_out:
        budget["held_out"] = [design.to_text() for design in held_out]
    settings = trial_settings(config, **budget, crew=crew, designs=names)
    name = f"{options.tag}-seed{seed}"

    def work() -> dict[str, Any]:
        judged = [*designs, *held_out]
        with Trial(config, designs, seed=seed, crew=crew, judge=options.judge, judged=judged) as trial:
            trial.train()
            result = trial.run(marks(options.steps, options.points), Progress(name, options.steps).point)
        set_apart(result["curve"], len(designs))
        return {"tag": options.tag, "seed": seed, "designs": names, **result, "figures": summarise(result["curve"])}

    parts.make(name, settings, work)


def set_apart(curve: list[Point], num_trained: int) -> None:
    """Moves the scores of bodies that were not trained out of those of the trained ones."""
    for point in curve:
        point["held_out_m_s"] = point["speeds_m_s"][num_trained:]
        for name in ("speeds_m_s", "objectives"):
            point[name] = point[name][:num_trained]


def report(parts: Parts) -> None:
    """The table of all tags and seeds, and their curves."""
    found = parts.all("*-seed*")
    print(markdown(["setting", "seed", "steps", *NAMES, "of the planner", "held-out"], map(row, found)))
    groups: dict[str, list[dict[str, Any]]] = {}
    for part in found:
        groups.setdefault(part["tag"], []).append(part)
    header = ["setting", "seeds", *(f"mean after {name} of the steps" for name in SHARES), "of the planner"]
    print()
    print(markdown(header, (seeds_row(tag, seeds) for tag, seeds in groups.items())))
    print(machines(found))
    if groups:
        curves = {tag: [line(part) for part in seeds] for tag, seeds in groups.items()}
        draw(parts.folder / "learning.png", [("training control steps", "mean speed, m/s", curves)])


SHARES = {"a quarter": 0.25, "half": 0.5, "three quarters": 0.75, "all": 1.0}
NAMES = ("mean", "worst quartile", "best", "area under the mean", "steps/s")


def row(part: dict[str, Any]) -> list[str]:
    """A line of the table."""
    *speeds, pace = summarise(part["curve"]).values()
    held_out = part["curve"][-1].get("held_out_m_s")
    cells = [*(f"{speed:.3f}" for speed in speeds), f"{pace:.0f}", percent(last_share(part))]
    cells.append(f"{mean_speed(held_out):.3f}" if held_out else "-")
    return [part["tag"], str(part["seed"]), f"{part['curve'][-1]['steps']:,}", *cells]


def seeds_row(tag: str, parts: Sequence[dict[str, Any]]) -> list[str]:
    """A setting, the mean speed of its bodies on the way (over seeds, and range), the planner's share at the end."""
    lines = [line(part) for part in parts]
    at = [[float(np.interp(share * xs[-1], xs, ys)) for xs, ys in lines] for share in SHARES.values()]
    return [tag, str(len(lines)), *map(spread, at), percent(average(map(last_share, parts)))]


def line(part: dict[str, Any]) -> Line:
    """Steps and mean speeds of a curve."""
    return column(part["curve"], "steps"), means(part["curve"])


def last_share(part: dict[str, Any]) -> float | None:
    """Share of the planner's speed at the end; None where no body was planned, or bodies were not kept."""
    return planner_share(part["curve"][-1]["speeds_m_s"], part["designs"]) if "designs" in part else None


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=500_000, out="learning", seeds=1)
    parser.add_argument("--bodies", type=Path, default=BODIES, help="file of designs")
    parser.add_argument("--num-bodies", type=positive, help="only the first so many")
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="designs that are scored as well, not trained")
    parser.add_argument("--copies", type=positive, default=1, help="simulations of each body side by side")
    parser.add_argument("--mode", default="async", choices=("async", "sync"))
    parser.add_argument("--points", type=positive, default=10, help="evaluations along the way")
    parser.add_argument("--tag", default="default", help="name of this setting")
    parser.add_argument("--draw-bodies", type=positive, metavar="N", help="write N new designs to --bodies and stop")
    parser.add_argument(
        "--breed-bodies", type=positive, metavar="N", help="the same, N designs related to published ones"
    )
    parser.add_argument(
        "--screen-bodies", type=positive, metavar="N", help="... to the fastest of N random ones instead"
    )
    parser.add_argument("--founders", type=positive, default=1, help="... so many of them (1)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
