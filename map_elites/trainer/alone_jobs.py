"""What the baseline's crew and its worker processes tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared_ppo.body import BodySpec
from shared_ppo.messages import EpisodeReport, EvaluationReport

COPIES = 4  # simulations of the one body, side by side


@dataclass(frozen=True)
class Job:
    """What a worker process does next.

    Attributes:
        order_id: Names the answer.
        specs: The bodies to score.
        training_specs: The one that is to be trained first, in the engine that trains; none only scores.
        seeds: Episodes of the evaluation.
        steps: Training steps.
        seed: Of learner and training.
        policies: File of each body's policy: written after training, read for an evaluation.
    """

    order_id: int
    specs: tuple[BodySpec, ...]
    training_specs: tuple[BodySpec, ...]
    seeds: tuple[int, ...]
    steps: int
    seed: int
    policies: tuple[Path, ...]


@dataclass(frozen=True)
class Answer:
    """What came out of a job."""

    report: EvaluationReport
    episodes: tuple[EpisodeReport, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    experience: tuple[tuple[str, int], ...] = ()
