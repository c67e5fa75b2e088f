"""One policy for all bodies against one PPO per body: same bodies, same control steps in all, same cores.

    python benchmarks/shared_vs_independent.py --num-bodies 16 --steps 2000000 --seeds 0 1 2
    python benchmarks/shared_vs_independent.py --bodies benchmarks/family32.txt --num-bodies 32 --steps 3200000
    python benchmarks/shared_vs_independent.py --report

Shared: the trainer's workers and learner. Independent: the same network, learner and rollout, with weights of its own
for each body; every body gets an equal part of the steps, one process a body, as many at a time as there are workers.
`--set` holds for both sides, `--independent-set` only for the independent ones.

Reports mean speeds at equal steps, the steps and the time the shared policy needs to reach the independent ones' final
mean speed, the same for a quarter, half and three quarters of the budget (nothing in a run depends on its end, so the
beginning of a longer run is a shorter run), and the memory of all processes. The clock of the independent side is that
of its processes one behind the other on as many cores as there are workers: the time of all bodies, divided by the
number of processes at a time.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.bodies import BODIES, published_designs, read_designs
from common.options import add_settings, make_parser, positive, run_program, train_config, trial_settings
from common.parts import Parts
from common.progress import Progress
from common.tables import (
    average,
    column,
    draw,
    machines,
    markdown,
    mean_speed,
    means,
    percent,
    planner_share,
    reached,
    spread,
    summarise,
)
from common.trial import Crew, Trial, held_ready, larger, marks, memory_in_all

from map_elites.errors import RunFailedError
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from shared_ppo.process import process_context

INDEPENDENT = ["experience.min_batch_size=2048", "experience.update_interval=2048", "ppo.minibatch_size=256"]


def main(argv: list[str] | None = None) -> None:
    """Runs what is missing, then reports."""
    options = parse_arguments(argv)
    parts = Parts(options.out)
    if not options.report:
        designs = choose(options)
        if options.memory:
            measure_memory(options, designs, parts)
        for seed in options.seeds:
            train_shared(options, designs, seed, parts)
            train_independent(options, designs, seed, parts)
    report(parts)


def choose(options: argparse.Namespace) -> list[RobotDesign]:
    """The bodies of the comparison."""
    designs = read_designs(options.bodies)[: options.num_bodies]
    return [*published_designs(), *designs] if options.published else designs


# -- the two sides -----------------------------------------------------------------------------------------------------


def train_shared(options: argparse.Namespace, designs: Sequence[RobotDesign], seed: int, parts: Parts) -> None:
    """One policy on all bodies."""
    config, crew = train_config(options), Crew(options.workers, copies=options.copies)
    name, names = f"shared-seed{seed}", [design.to_text() for design in designs]
    budget = {"seed": seed, "steps": options.steps, "points": options.points, "judge": options.judge}

    def work() -> dict[str, Any]:
        with Trial(config, designs, seed=seed, crew=crew, judge=options.judge) as trial:
            trial.train()
            result = trial.run(marks(options.steps, options.points), Progress(name, options.steps).point)
        return {"seed": seed, "designs": names, **result}

    parts.make(name, trial_settings(config, **budget, crew=crew, designs=names), work)


def train_independent(options: argparse.Namespace, designs: Sequence[RobotDesign], seed: int, parts: Parts) -> None:
    """A policy of its own for each body, several bodies at a time."""
    config, crew = independent_config(options), Crew(workers=0, copies=options.independent_copies)
    steps, at_a_time = options.steps // len(designs), max(1, options.workers)
    budget = {"seed": seed, "steps": steps, "points": options.points, "judge": options.judge, "at_a_time": at_a_time}
    jobs = {}
    for index, design in enumerate(designs):
        name = f"independent-seed{seed}-body{index:02}"
        settings = trial_settings(config, **budget, crew=crew, designs=[design.to_text()])
        if parts.is_missing(name, settings):
            jobs[name] = settings, design
    progress = Progress(f"independent seed {seed}", len(jobs), "bodies")
    context = process_context(held_ready(config, training=crew.copies, scoring=1, judge=options.judge))
    with ProcessPoolExecutor(at_a_time, mp_context=context, max_tasks_per_child=1) as pool:
        futures = {
            pool.submit(train_alone, config, design, seed, crew, steps, options.points, options.judge): name
            for name, (_, design) in jobs.items()
        }
        for done, future in enumerate(as_completed(futures), start=1):
            name = futures[future]
            settings, design = jobs[name]
            result = {"seed": seed, "designs": [design.to_text()], "at_a_time": at_a_time, **future.result()}
            parts.save(name, settings, result)
            progress(done, f"{name} {mean_speed(result['curve'][-1]['speeds_m_s']):.3f} m/s")


def independent_config(options: argparse.Namespace) -> TrainConfig:
    """The settings of a body that learns alone."""
    return train_config(options, [*INDEPENDENT, *options.independent_set])


def train_alone(
    config: TrainConfig, design: RobotDesign, seed: int, crew: Crew, steps: int, points: int, judge: str | None
) -> dict[str, Any]:
    """One body's own training, in this process."""
    with Trial(config, [design], seed=seed, crew=crew, judge=judge) as trial:
        trial.train()
        return trial.run(marks(steps, points), lambda point: None)


# -- memory ------------------------------------------------------------------------------------------------------------


def measure_memory(options: argparse.Namespace, designs: Sequence[RobotDesign], parts: Parts) -> None:
    """Most memory of all processes until each policy had some updates: one PPO a body, and one for all.

    Programs of their own come first: no fork server shares their libraries yet.
    """
    shared, alone = train_config(options), independent_config(options)
    counts, updates = sorted({max(1, options.workers), len(designs)}), options.memory_updates
    budget = {"updates": updates, "designs": [design.to_text() for design in designs]}
    crew = Crew(workers=0, copies=options.independent_copies)
    for kind in ("programs", "processes"):
        for count in counts:
            settings = trial_settings(alone, **budget, crew=crew, kind=kind)
            work = partial(independent_memory, alone, designs[:count], crew, kind, updates)
            parts.make(f"memory-{kind}-{count:02}", settings, work)
    for count in counts:
        crew = Crew(count, copies=options.copies)
        work = partial(shared_memory, shared, designs, crew, updates)
        parts.make(f"memory-shared-{count:02}", trial_settings(shared, **budget, crew=crew), work)


def shared_memory(config: TrainConfig, designs: Sequence[RobotDesign], crew: Crew, updates: int) -> dict[str, Any]:
    """Main process, learner and workers."""
    print(f"# memory: shared, {crew.workers} workers, {updates} updates", flush=True)
    with Trial(config, designs, crew=crew) as trial:
        trial.train()
        trial.advance(updates=updates)
        return {"memory": larger(trial.memory, memory_in_all())}


def independent_memory(
    config: TrainConfig, designs: Sequence[RobotDesign], crew: Crew, kind: str, updates: int
) -> dict[str, Any]:
    """Main process and one training process a body, all at once.

    Args:
        kind: "programs" that each load everything, or "processes" of a fork server that share what they have loaded.

    Raises:
        RunFailedError: One of them ended.
    """
    print(f"# memory: independent, {len(designs)} {kind} at a time, {updates} updates", flush=True)
    if kind == "processes":
        context = process_context(held_ready(config, training=crew.copies))
    else:
        context = multiprocessing.get_context("spawn")
    done = context.Semaphore(0)
    memory: dict[str, int] = {}
    learners = [
        context.Process(target=learn_for_good, args=(config, design, seed, crew, updates, done), daemon=True)
        for seed, design in enumerate(designs)
    ]
    for learner in learners:
        learner.start()
    try:
        for _ in learners:
            while not done.acquire(timeout=1.0):
                memory = larger(memory, memory_in_all())
                if not all(learner.is_alive() for learner in learners):
                    raise RunFailedError("a process that trains one body has ended")
        return {"memory": larger(memory, memory_in_all())}
    finally:
        for learner in learners:
            learner.kill()
            learner.join()


def learn_for_good(config: TrainConfig, design: RobotDesign, seed: int, crew: Crew, updates: int, done: Any) -> None:
    """Trains one body until killed; says when it has had so many updates."""
    with Trial(config, [design], seed=seed, crew=crew) as trial:
        trial.train()
        trial.advance(updates=updates)
        done.release()
        trial.advance()


# -- report ------------------------------------------------------------------------------------------------------------


def report(parts: Parts) -> None:
    """Tables and picture of what is there."""
    shared = {part["seed"]: part for part in parts.all("shared-seed*")}
    pairs = {}
    for seed, part in shared.items():
        alone, wanted = parts.all(f"independent-seed{seed}-body*"), len(part["designs"])
        if len(alone) == wanted:
            pairs[seed] = part["curve"], independent_curve(alone)
        else:
            print(f"seed {seed} is left out: {len(alone)} of {wanted} bodies have learned alone")
    if pairs:
        print(markdown(["", "independent", "shared", "shared is"], comparison(pairs, shared)))
        print()
        print(markdown(["budget, steps a body", "independent, m/s", "shared, m/s", *GAINS], budgets(pairs, shared)))
        print()
    print(markdown(["memory of all processes", "processes", "PSS, MiB", "USS, MiB"], memory_rows(parts)))
    print(machines(parts.all()))
    if pairs:
        draw(parts.folder / "shared_vs_independent.png", panels(pairs))


def independent_curve(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All bodies' curves as one: steps in all, time on as many cores as there were processes at a time."""
    at_a_time = bodies[0]["at_a_time"]
    return [
        {
            "steps": sum(column(points, "steps")),
            "seconds": sum(column(points, "seconds")) / at_a_time,
            "cpu_seconds": sum(column(points, "cpu_seconds")),
            "speeds_m_s": [speed for point in points for speed in point["speeds_m_s"]],
        }
        for points in zip(*(body["curve"] for body in bodies), strict=True)
    ]


Pairs = dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]]
"""By seed, the curves of the shared policy and of the independent ones."""


def comparison(pairs: Pairs, parts: dict[int, dict[str, Any]]) -> Iterable[list[str]]:
    """Rows of the table: mean over seeds, with the range."""
    figures = [(summarise(shared), summarise(alone)) for shared, alone in pairs.values()]
    titles = {"mean": "final mean speed, m/s", "worst_quartile": "worst quartile, m/s", "best": "best body, m/s"}
    for name, title in {**titles, "steps_per_s": "training steps/s"}.items():
        mine, theirs = [shared[name] for shared, _ in figures], [alone[name] for _, alone in figures]
        digits = 0 if name == "steps_per_s" else 3
        yield [title, spread(theirs, digits), spread(mine, digits), how_many_times(theirs, mine)]
    for clock in CLOCKS:
        times = [reached(column(shared, clock), means(shared), means(alone)[-1]) for shared, alone in pairs.values()]
        spent = [alone[-1][clock] for _, alone in pairs.values()]
        found = [value for value in times if value is not None]
        missed = len(times) - len(found)
        text = spread(times, 0) + (f", not reached by {missed} of {len(times)}" if missed else "")
        factor = "-" if missed or not np.mean(found) else f"{np.mean(spent) / np.mean(found):.2f} x fewer"
        yield [f"{clock.replace('_', ' ')} to the independent mean speed", spread(spent, 0), text, factor]
    designs = [part["designs"] for seed, part in parts.items() if seed in pairs]
    shares = [
        [planner_share(curve[-1]["speeds_m_s"], names) for names, curve in zip(designs, side, strict=True)]
        for side in zip(*((alone, shared) for shared, alone in pairs.values()), strict=True)
    ]
    yield ["share of the planner's speed", *(percent(average(side)) for side in shares), "-"]


GAINS = ("shared is", "fewer steps", "less time", "less processor time")
CLOCKS = ("steps", "seconds", "cpu_seconds")
BUDGETS = (0.25, 0.5, 0.75, 1.0)


def budgets(pairs: Pairs, parts: dict[int, dict[str, Any]]) -> Iterable[list[str]]:
    """Rows of the table of budgets: means over seeds, and how much sooner the shared policy is as fast."""
    num_bodies = len(next(iter(parts.values()))["designs"])
    num_points = min(len(alone) for _, alone in pairs.values()) - 1
    for index in sorted({max(1, round(share * num_points)) for share in BUDGETS}):
        ends = [(shared, alone[index]) for shared, alone in pairs.values()]
        theirs = [mean_speed(end["speeds_m_s"]) for _, end in ends]
        mine = [float(np.interp(end["steps"], column(shared, "steps"), means(shared))) for shared, end in ends]
        gains = [[sooner(shared, end, clock) for shared, end in ends] for clock in CLOCKS]
        yield [
            f"{np.mean([end['steps'] for _, end in ends]) / num_bodies:,.0f}",
            spread(theirs),
            spread(mine),
            how_many_times(theirs, mine),
            *(f"{spread(gain, 1)} x" if None not in gain else "not reached" for gain in gains),
        ]


def how_many_times(theirs: Sequence[float], mine: Sequence[float]) -> str:
    """The shared side's mean over that of the independent side, as text."""
    return f"{np.mean(mine) / np.mean(theirs):.2f} x" if np.mean(theirs) > 0 else "-"


def sooner(shared: list[dict[str, Any]], end: dict[str, Any], clock: str) -> float | None:
    """By what factor less the shared policy needs to be as fast as the independent ones are at an end of theirs."""
    level = mean_speed(end["speeds_m_s"])
    time = reached(column(shared, clock), means(shared), level)
    return end[clock] / time if time else None


MEMORY = {
    "programs": "independent, {} programs at a time",
    "processes": "independent, {} processes of a fork server",
    "shared": "shared, {} workers and a learner",
}


def memory_rows(parts: Parts) -> Iterable[list[str]]:
    """Rows of the table of memory."""
    for part in parts.all("memory-*"):
        _, kind, count = part["part"].split("-")
        memory = part["memory"]
        sizes = [f"{memory[size] / 2**20:.0f}" for size in ("pss", "uss")]
        yield [MEMORY[kind].format(int(count)), str(memory["processes"]), *sizes]


def panels(pairs: Pairs) -> list[tuple[str, str, dict[str, list[Any]]]]:
    """Mean speed against steps and against time."""
    return [
        (
            label,
            "mean speed, m/s",
            {
                "one shared policy": [(column(shared, clock), means(shared)) for shared, _ in pairs.values()],
                "one PPO per body": [(column(alone, clock), means(alone)) for _, alone in pairs.values()],
            },
        )
        for clock, label in (("steps", "training control steps, all bodies"), ("seconds", "seconds of training"))
    ]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=2_000_000, out="shared_vs_independent")
    parser.add_argument("--bodies", type=Path, default=BODIES, help="file of designs")
    parser.add_argument("--num-bodies", type=positive, default=16, help="only the first so many (16)")
    parser.add_argument("--published", action="store_true", help="RoboGrammar's flat and ridged designs as well")
    parser.add_argument("--copies", type=positive, default=1, help="of each body under the shared policy (1)")
    parser.add_argument("--independent-copies", type=positive, default=8, help="of the body that learns alone (8)")
    add_settings(parser, "--independent-set", f"settings of the independent side; first are {' '.join(INDEPENDENT)}")
    parser.add_argument("--points", type=positive, default=20, help="evaluations along the way (20)")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure memory too")
    parser.add_argument("--memory-updates", type=positive, default=3, help="updates of each policy in a memory run (3)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run_program(main)
