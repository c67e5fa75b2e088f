"""The last word on an archive: every elite scored again under frozen weights, on seeds nobody was selected on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from map_elites.archive import Archive, Elite
from map_elites.contests import EvaluationOrder, shared_out
from map_elites.crew import Crew, OrderDone
from map_elites.evaluation import EvaluationFailed, score_episodes

log = logging.getLogger(__name__)

FIRST_ORDER = 1_000_000_000  # orders of contests count from 0 and never get here
POLL_S = 0.2


@dataclass(frozen=True)
class Verification:
    """What it took.

    Attributes:
        steps: Control steps, not part of a run's `env_steps`.
        seconds: Time.
        evaluations: Elites scored, failures among them.
        failed: Reasons by elite id.
    """

    steps: int
    seconds: float
    evaluations: int
    failed: Mapping[int, str]


def verify_elites(
    crew: Crew,
    archive: Archive,
    *,
    describe: Callable[[Any], Mapping[str, float]],
    seeds: tuple[int, ...],
    while_waiting: Callable[[], None] = lambda: None,
) -> Verification:
    """Scores every elite under the crew's present weights and records it beside the running score.

    Args:
        crew: Started, not training.
        archive: Its elites get `verified` scores; None for those whose evaluation fails.
        describe: Body descriptors of a design.
        seeds: One episode each; the first is for RoboGrammar's objective alone, see `verification_seeds`.
        while_waiting: Called again and again; may raise to give up.
    """
    started = time.monotonic()
    elites = list(archive)
    parts = shared_out([elite.id for elite in elites])
    for index, part in enumerate(parts):
        crew.carry_out(EvaluationOrder(FIRST_ORDER + index, tuple(part), seeds))
    failed: dict[int, str] = {}
    steps = 0
    for report in _reports(crew, len(parts), while_waiting):
        steps += report.steps
        failed |= _record(archive, elites, report, describe)
    return Verification(steps, time.monotonic() - started, len(elites), failed)


def _reports(crew: Crew, count: int, while_waiting: Callable[[], None]) -> Sequence[OrderDone]:
    reports: dict[int, OrderDone] = {}
    while len(reports) < count:
        for event in crew.poll(POLL_S):
            if isinstance(event, OrderDone) and event.order_id >= FIRST_ORDER:
                reports[event.order_id] = event
        while_waiting()
    return list(reports.values())


def _record(
    archive: Archive, elites: Sequence[Elite], report: OrderDone, describe: Callable[[Any], Mapping[str, float]]
) -> dict[int, str]:
    """Writes one report's scores into the archive; returns its failures."""
    failed = dict(report.failed)
    designs = {elite.id: elite.design for elite in elites}
    for number, episodes in report.results.items():
        try:
            body = describe(designs[number])
            version = report.policy_version
            score = score_episodes(episodes, body=body, policy_version=version, count_reference=False)
        except EvaluationFailed as error:
            failed[number] = str(error)
        else:
            archive.verify(number, score)
    for number, reason in sorted(failed.items()):
        archive.verify(number, None)
        log.warning("verification of elite %d failed: %s", number, reason)
    return failed
