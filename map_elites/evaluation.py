"""Fair scores: episodes become a score, and scores of one policy version decide who keeps a cell.

Under a policy that keeps learning, a score measured yesterday says nothing about one measured today. So two designs
are compared only with scores of the same order: same policy version, same seeds. Where a design turns out to want a
cell whose incumbent was not in the order, nothing is decided; both go into the next order together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from map_elites.archive import AddResult, Archive, Cell, Elite, Score
from map_elites.descriptors import mean_by_name

FITNESS, OBJECTIVE = "speed_m_s", "robogrammar_objective"
ON_TERRAIN = f"{FITNESS}_on_"  # with a terrain's name behind it: the speed of an episode on that terrain
NO_DESCRIPTORS = ("steps", "return")  # episode values that say nothing about the body
REFERENCE_SEED = 0  # no reset noise, first terrain, first layout: what RoboGrammar's own objective is measured on
CONTESTS, VERIFICATION, SCREENING = 1, 2, 4  # branches of the run's seed

EpisodesByBody = Mapping[int, Sequence[Mapping[str, float]]]  # values of a body's episodes, by its id


class EvaluationFailed(ValueError):
    """The episodes give no score."""


def draw_seeds(
    run_seed: int, branch: int, order_id: int, count: int, *, terrains: int = 1, first: int = 0
) -> tuple[int, ...]:
    """Episode seeds of one order, fresh for every order, never the reference seed.

    A seed also picks the terrain of its episode, number `seed % terrains` of the run: they come in turn.

    Args:
        run_seed: Seed of the run.
        branch: `CONTESTS`, `VERIFICATION` or `SCREENING`.
        order_id: Counter of the order.
        count: How many.
        terrains: Terrains of the run.
        first: Number of the terrain that the first seed picks.
    """
    words = np.random.SeedSequence([run_seed, branch, order_id]).generate_state(count)
    seeds = [int(word) % (2**31 - 2) + 1 for word in words]
    return tuple(terrains * (seed // terrains) + (first + i) % terrains or terrains for i, seed in enumerate(seeds))


def contest_seeds(run_seed: int, order_id: int, episodes: int, terrains: int) -> tuple[int, ...]:
    """Seeds behind a score: `episodes` on each terrain, the first of all on the reference seed."""
    count = episodes * terrains - 1
    return (REFERENCE_SEED, *draw_seeds(run_seed, CONTESTS, order_id, count, terrains=terrains, first=1))


def screening_seeds(run_seed: int, episodes: int, terrains: int) -> tuple[int, ...]:
    """Seeds of random gaits, the same for all bodies; terrains come in turn."""
    return draw_seeds(run_seed, SCREENING, 0, episodes, terrains=terrains)


def verification_seeds(run_seed: int, episodes: int, terrains: int) -> tuple[int, ...]:
    """Seeds of the last word: the reference seed for RoboGrammar's objective, then `episodes` on each terrain."""
    return (REFERENCE_SEED, *draw_seeds(run_seed, VERIFICATION, 0, episodes * terrains, terrains=terrains))


def score_episodes(
    episodes: Sequence[Mapping[str, float]],
    *,
    body: Mapping[str, float],
    policy_version: int,
    count_reference: bool = True,
) -> Score:
    """One score from the episodes of one body in one order.

    Args:
        episodes: Episode values by name; the first one ran on `REFERENCE_SEED` and gives RoboGrammar's objective.
        body: Body descriptors, joined to the behaviour descriptors.
        policy_version: Weights behind all of the episodes.
        count_reference: Whether fitness and behaviour are means over the reference episode too.

    Raises:
        EvaluationFailed: No episode, no speed, or a speed or descriptor that is not finite.
    """
    counted = list(episodes if count_reference else episodes[1:])
    if not counted or any(FITNESS not in row for row in counted):
        raise EvaluationFailed("an episode ended without a speed")
    means = {**mean_by_name(counted), **body}
    objective = episodes[0].get(OBJECTIVE, math.nan)
    for name in (OBJECTIVE, *NO_DESCRIPTORS, *(name for name in means if name.startswith(ON_TERRAIN))):
        means.pop(name, None)
    bad = sorted(name for name, value in means.items() if not math.isfinite(value))
    if bad:
        raise EvaluationFailed(f"not finite: {', '.join(bad)}")
    return Score(
        fitness=means.pop(FITNESS),
        descriptors=means,
        policy_version=policy_version,
        episodes=len(counted),
        robogrammar_objective=objective if math.isfinite(objective) else None,
        terrain_speeds=_terrain_speeds(counted),
    )


def _terrain_speeds(episodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean speed by terrain, over the episodes that ran there."""
    names = sorted({name for row in episodes for name in row if name.startswith(ON_TERRAIN)})
    return {
        name.removeprefix(ON_TERRAIN): mean_by_name([{name: row[name]} for row in episodes if name in row])[name]
        for name in names
    }


@dataclass
class Settlement:
    """What the scores of an order, or of all orders of the end, decided.

    Attributes:
        results: What happened to each challenger and each elite scored again, by id.
        blocked: Undecided ids, with the id of the incumbent that has to be scored together with them.
        homeless: Elites and challengers that another one keeps out of their cell, with their new scores.
        scores: The scores behind it, by id.
        failed: Reasons, by id, of bodies without a score.
    """

    results: dict[int, AddResult] = field(default_factory=dict)
    blocked: dict[int, int] = field(default_factory=dict)
    homeless: list[Elite] = field(default_factory=list)
    scores: Mapping[int, Score] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)


def settle(archive: Archive, challengers: Sequence[Elite], rescored: Mapping[int, Score]) -> Settlement:
    """Applies the scores of one order, or of all orders of the end, to the archive.

    Every score here belongs to the same policy version and seeds. Elites take their new score first (moving if their
    descriptors moved), then challengers ask for their cells. Who stays in its cell wins ties, then who moved, then
    the older challenger.

    Args:
        archive: Changed in place.
        challengers: Scored designs that are not in the archive.
        rescored: New scores of elites by id; ids that have left the archive meanwhile are ignored.

    Returns:
        Results for those decided; the others are unchanged and named in `blocked`.
    """
    rescored = {number: score for number, score in rescored.items() if number in archive}
    wanted = {elite.id: archive.cell_of(elite.score.descriptors) for elite in challengers}
    wanted |= {number: archive.cell_of(score.descriptors) for number, score in rescored.items()}
    settlement = Settlement(blocked=_find_blocked(archive, wanted, rescored))
    queue = sorted(
        (number for number in rescored if number not in settlement.blocked),
        key=lambda number: (wanted[number] != archive.cell_of_elite(number), number),
    )
    entrants = [archive.remove(number).rescored(rescored[number]) for number in queue]
    entrants += sorted((e for e in challengers if e.id not in settlement.blocked), key=lambda elite: elite.id)
    for elite in entrants:
        result = settlement.results[elite.id] = archive.add(elite)
        if result.evicted is not None:
            settlement.homeless.append(result.evicted)
        if result.status == "rejected":
            settlement.homeless.append(elite)
    return settlement


def _find_blocked(archive: Archive, wanted: Mapping[int, Cell], rescored: Mapping[int, Score]) -> dict[int, int]:
    """Ids that meet an incumbent without a score of this order; an incumbent that is itself undecided blocks too."""
    blocked: dict[int, int] = {}
    while True:
        found = {}
        for number, cell in wanted.items():
            incumbent = archive.at(cell)
            if number in blocked or incumbent is None or incumbent.id == number:
                continue
            if incumbent.id not in rescored or incumbent.id in blocked:
                found[number] = incumbent.id
        if not found:
            return blocked
        blocked |= found
