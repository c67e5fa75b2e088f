"""What every search has: an archive, newborns, failures, scores; who trains and when is left to its kinds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from map_elites.archive import Archive, ArchiveError, Elite, Score
from map_elites.config import EvaluationConfig, EvolutionConfig
from map_elites.errors import RunFailedError
from map_elites.evaluation import EpisodesByBody, EvaluationFailed, score_episodes
from map_elites.nursery import Nursery
from map_elites.schedule import Plan
from map_elites.variation import Variation

log = logging.getLogger(__name__)

MOST_FAILURES_IN_A_ROW = 100  # without any episode between them: then it is not the bodies


@dataclass(frozen=True)
class World:
    """Where the run takes place, as far as the search has to know.

    Attributes:
        terrain: Its name, or several with commas between them.
        engine: Physics engine, by name.
        describe: Body descriptors of a design.
    """

    terrain: str
    engine: str
    describe: Callable[[Any], Mapping[str, float]]


@dataclass
class Counters:
    """What happened so far; part of every checkpoint."""

    evaluations: int = 0
    failed_evaluations: int = 0
    entered: int = 0
    gave_up: int = 0


class Search:
    """The state that all searches share.

    Attributes:
        archive: The elites.
        nursery: Bodies that are not elites (yet).
        failures: Reasons of failures by rule sequence.
        refused: Rule sequences that will not be simulated again, however few their failures.
        counters: What happened so far.
        trained: Ids of bodies that have trained.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        evolution: EvolutionConfig,
        evaluation: EvaluationConfig,
        archive: Archive,
        variation: Variation,
        world: World,
        run_seed: int,
    ) -> None:
        self.plan, self.evaluation, self.run_seed = plan, evaluation, run_seed
        self.archive, self.world = archive, world
        self.rng = np.random.default_rng(np.random.SeedSequence([run_seed, 0]))
        self.nursery = Nursery(evolution, variation, archive, self.rng, self.unwanted)
        self.failures: dict[tuple[int, ...], list[str]] = {}
        self._failures_in_a_row = 0
        self.refused: set[tuple[int, ...]] = set()
        self.counters = Counters()
        self.trained: set[int] = set()

    def design_of(self, number: int) -> Any:
        """The design of a body in training, waiting, or in the archive.

        Raises:
            KeyError: No such body (any more).
        """
        return self.nursery[number].design if number in self.nursery else self.archive.get(number).design

    def body_failed(self, number: int, reason: str, worker: int | None = None, *, is_final: bool = False) -> None:
        """A body's simulation failed; after `max_strikes` failures it is set aside for good.

        Args:
            number: The body.
            reason: What went wrong.
            worker: The worker that no longer has the body.
            is_final: It is set aside at once, whoever simulates bodies will not try again.

        Raises:
            RunFailedError: Nothing but failures for a long time.
        """
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
            raise RunFailedError(f"{self._failures_in_a_row} bodies failed in a row, the last one: {reason}")
        try:
            design = self.design_of(number)
        except KeyError:
            return
        reasons = self.failures.setdefault(design.rules, [])
        reasons.append(reason)
        if is_final:
            self.refused.add(design.rules)
        limit = self.evaluation.max_strikes
        log.warning("body %d failed (%d of %d): %s; %s", number, len(reasons), limit, reason, design)
        if self.set_aside(design):
            log.warning("body %d is set aside after %d failures: %s", number, len(reasons), design)
            self.drop(number)

    def episode_finished(self, number: int, steps: int, info: Mapping[str, float]) -> None:
        """A training episode of a body ended."""
        self.trained.add(number)
        self._failures_in_a_row = 0

    def drop(self, number: int) -> None:
        """Takes a body out of everything."""
        self.nursery.pop(number)
        if number in self.archive:
            self.archive.remove(number)

    def set_aside(self, design: Any) -> bool:
        """Whether a design failed too often to be tried again."""
        return design.rules in self.refused or len(self.failures.get(design.rules, ())) >= self.evaluation.max_strikes

    def unwanted(self, design: Any) -> bool:
        """Whether a design is not to be bred, for another reason than that there is one already."""
        return self.set_aside(design)

    def scores_of(
        self,
        policy_version: int,
        results: EpisodesByBody,
        failed: dict[int, str],
    ) -> tuple[dict[int, Score], dict[int, str]]:
        """Scores by id; what gives no score joins the failures."""
        scores = {}
        for number, episodes in sorted(results.items()):
            try:
                body = self.world.describe(self.design_of(number))
                score = score_episodes(episodes, body=body, policy_version=policy_version)
                self.archive.cell_of(score.descriptors)
                scores[number] = score
                self._failures_in_a_row = 0
            except KeyError:  # removed meanwhile
                continue
            except (EvaluationFailed, ArchiveError) as error:
                failed[number] = str(error)
        return scores, failed

    def elite_of(self, number: int, score: Score) -> Elite:
        """A scored newborn as an elite."""
        newborn = self.nursery[number]
        return Elite(
            id=number,
            design=newborn.design,
            score=score,
            joints=newborn.design.num_joints,
            terrain=self.world.terrain,
            engine=self.world.engine,
            parent_ids=newborn.parent_ids,
        )
