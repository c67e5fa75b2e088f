"""Does a child's try tell what its contest will be? The same children try in either engine, then compete.

    python benchmarks/litters.py --runs results/a results/b

Breeds litters from the archives of finished `--train-shared` runs, as the trainer does, and has every child try the
final policy for an episode from the exact start pose, in the engine that trains and in the one that scores. Each time
the four that promise to add most to the QD score are chosen, and their contest, two episodes from other start poses in
the engine that scores, says what they add: as much as they promise, if a child wants the same cell again.

A second table says what children with no, one and two parents are worth: all of them compete with the archive as it is.
How they are bred is a setting: `--set evolution.more_edits=0` (with an --out of its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.options import Parser, add_settings, parse_settings, positive, run_program, trial_settings, whole_number
from common.parts import Parts
from common.tables import markdown

from map_elites.archive import Archive, Score
from map_elites.checkpoint import LEARNER_FILE
from map_elites.config import build, merge, to_plain
from map_elites.evaluation import REFERENCE_SEED, score_episodes
from map_elites.nursery import Newborn, Nursery
from map_elites.run_folder import RunFolder
from map_elites.trainer.bodies import body_spec, describe, design_space, make_body, observation_spec
from map_elites.trainer.runs import open_run, plan_of
from map_elites.trainer.settings import TrainConfig
from map_elites.trainer.shared_crew import learner_settings
from map_elites.variation import Variation
from robogrammar_env.design import RobotDesign
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import EvaluateOrder

LITTER, CHOSEN = 32, 4  # as with two workers
TRY, CONTEST = (REFERENCE_SEED,), (700_001, 700_002)
ORIGINS = ("random", "one parent", "two parents")
"""Of children, by their number of parents."""
PART = ("run", "qd_score")
"""What each of the parts has."""


def children(archive: Archive, config: TrainConfig, count: int, seed: int) -> list[Newborn]:
    """Bred as the trainer breeds a litter."""
    variation = Variation(design_space(config.evolution.max_joints), config.evolution.more_edits)
    nursery = Nursery(config.evolution, variation, archive, np.random.default_rng(seed), lambda design: False)
    return [nursery[number] for number in nursery.litter(count)]


def scores(
    supervisor: InProcessSupervisor,
    config: TrainConfig,
    designs: Sequence[RobotDesign],
    seeds: tuple[int, ...],
    *,
    training: bool,
) -> dict[int, Score]:
    """Scores by index, in the engine that trains or the one that scores; without those that failed."""
    first = len(designs) if training else 0  # to the supervisor these are other bodies
    specs = tuple(body_spec(first + n, design, config, training=training) for n, design in enumerate(designs))
    report = supervisor.evaluate_now(EvaluateOrder(0, specs, seeds))
    return {
        n - first: score_episodes(rows, body=describe(designs[n - first]), policy_version=report.policy_version)
        for n, rows in report.results.items()
    }


def compare(archive: Archive, tries: dict[int, Score], contests: dict[int, Score], litters: int) -> dict[str, Any]:
    """What the chosen of each litter promise and add, and how often a child, and a chosen one, wants its cell again."""

    def again(numbers: Sequence[int]) -> float:
        cells = [(archive.cell_of(tries[n].descriptors), archive.cell_of(contests[n].descriptors)) for n in numbers]
        return float(np.mean([wanted == got for wanted, got in cells]))

    known = sorted(tries.keys() & contests.keys())
    gains = {n: archive.gain(tries[n]) for n in known}
    chosen = []
    for litter in range(litters):
        own = [n for n in known if n // LITTER == litter]
        chosen.append(sorted(own, key=lambda n: (-gains[n], n))[:CHOSEN])
    return {
        "promised_m_s": [sum(gains[n] for n in few) for few in chosen],
        "added_m_s": [sum(max(0.0, archive.gain(contests[n])) for n in few) for few in chosen],
        "same_cell": again(known),
        "same_cell_chosen": again([n for few in chosen for n in few]),
    }


def by_origin(archive: Archive, litter: Sequence[Newborn], contests: dict[int, Score]) -> dict[str, Any]:
    """By origin: how many elites, and of every child that was scored its fitness and what it alone would add, m/s."""
    found: dict[str, Any] = {origin: {"elites": 0, "fitness_m_s": [], "added_m_s": []} for origin in ORIGINS}
    for elite in archive:
        found[ORIGINS[len(elite.parent_ids)]]["elites"] += 1
    for number, score in sorted(contests.items()):
        mine = found[ORIGINS[len(litter[number].parent_ids)]]
        mine["fitness_m_s"].append(score.fitness)
        mine["added_m_s"].append(max(0.0, archive.gain(score)))
    return found


def open_changed(run: Path, changes: dict[str, Any]) -> tuple[RunFolder, TrainConfig, Archive]:
    """A run as `open_run` gives it, with other settings."""
    folder, config, archive = open_run(run)
    return folder, build(TrainConfig, merge(to_plain(config), changes)), archive


def examine(run: Path, changes: dict[str, Any], litters: int, seed: int) -> dict[str, Any]:
    """One run, its children tried in both engines."""
    folder, config, archive = open_changed(run, changes)
    bred = children(archive, config, litters * LITTER, seed)
    designs = [child.design for child in bred]
    settings, checkpoint = learner_settings(config, plan_of(config)), folder.newest_checkpoint() / LEARNER_FILE
    supervisor = InProcessSupervisor(make_body, observation_spec(config), settings, checkpoint=checkpoint)
    supervisor.start()
    contests = scores(supervisor, config, designs, CONTEST, training=False)
    result: dict[str, Any] = {"run": run.name, "qd_score": archive.qd_score}
    result["origins"] = by_origin(archive, bred, contests)
    for engine, training in ((config.environment.trains_in, True), (config.environment.engine, False)):
        tries = scores(supervisor, config, designs, TRY, training=training)
        result[engine] = compare(archive, tries, contests, litters)
    supervisor.stop()
    return result


def table(parts: Sequence[dict[str, Any]]) -> str:
    """A row for each run and engine."""
    rows = []
    for part in parts:
        for engine, row in part.items():
            if isinstance(row, dict) and "promised_m_s" in row:
                sums = [f"{np.mean(row[name]):.2f}" for name in ("promised_m_s", "added_m_s")]
                shares = [f"{row[name]:.0%}" for name in ("same_cell", "same_cell_chosen")]
                rows.append([part["run"], engine, *sums, *shares])
    return markdown(["run", "tries in", "promised by four, m/s", "added", "same cell again", "of the chosen"], rows)


def table_of_origins(parts: Sequence[dict[str, Any]]) -> str:
    """A row for each run and origin of a child, then for each origin in all runs, and for all children."""
    known = [part for part in parts if "origins" in part]
    rows = [row_of_origin(part["run"], [origin], [part]) for part in known for origin in ORIGINS]
    rows += [row_of_origin("all", [origin], known) for origin in ORIGINS]
    rows.append(row_of_origin("all", ORIGINS, known))
    header = ["run", "child", "elites", "children", "mean, m/s", "best", "add to the archive"]
    return markdown([*header, "added by 100, m/s (standard error)"], [row for row in rows if row])


def row_of_origin(run: str, origins: Sequence[str], parts: Sequence[dict[str, Any]]) -> list[str] | None:
    """What the children of these origins are worth; None without any."""
    found = [part["origins"][origin] for part in parts for origin in origins]
    speeds, added = (np.array([x for one in found for x in one[name]]) for name in ("fitness_m_s", "added_m_s"))
    if not len(speeds):
        return None
    elites = str(sum(one["elites"] for one in found)) if all("elites" in one for one in found) else ""
    cells = [str(len(speeds)), f"{speeds.mean():.3f}", f"{speeds.max():.3f}", f"{(added > 0).mean():.0%}"]
    error = f" ({100 * added.std(ddof=1) / np.sqrt(len(added)):.2f})" if len(added) > 1 else ""
    name = origins[0] if len(origins) == 1 else "any"
    return [run, name, elites, *cells, f"{100 * added.mean():.2f}{error}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Examines runs and prints the table."""
    parser = Parser(__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", default=[], metavar="RUN", help="finished runs")
    parser.add_argument("--litters", type=positive, default=4, help="litters of each run (4)")
    parser.add_argument("--seed", type=whole_number, default=0, help="of the children (0)")
    add_settings(parser, "--set", "settings that win over a run's own, e.g. evolution.more_edits=0")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/litters"))
    parser.add_argument("--report", action="store_true", help="only the table of what --out has")
    options = parser.parse_args(arguments)
    if not options.runs and not options.report:
        parser.error("--runs: wants run folders of --train-shared, such as results/quickstart-seed0")
    parts, changes = Parts(options.out, PART), parse_settings(options.set)
    for run in [] if options.report else options.runs:
        _, config, _ = open_changed(run, changes)
        how = {"evolution": config.evolution, "litters": options.litters, "seed": options.seed}
        settings = trial_settings(config, run=run.name, **how)
        parts.make(run.name, settings, partial(examine, run, changes, options.litters, options.seed))
    print(table(parts.all()), table_of_origins(parts.all()), sep="\n\n")


if __name__ == "__main__":
    run_program(main)
