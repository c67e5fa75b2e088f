"""Orders to the workers and events from the processes. All are small values that pickle."""

from __future__ import annotations

from dataclasses import dataclass

from shared_ppo.body import BodySpec


@dataclass(frozen=True)
class TrainOrder:
    """From now on, a worker trains on these bodies; the running episodes of bodies that stay go on.

    A body that is listed twice is simulated twice, side by side.
    """

    bodies: tuple[BodySpec, ...]


@dataclass(frozen=True)
class EvaluateOrder:
    """Full episodes of all bodies from all seeds, with the mean action, under one policy version."""

    order_id: int
    bodies: tuple[BodySpec, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class EpisodeReport:
    """A training episode ended. `info` is what the body said of it."""

    body_id: int
    worker: int
    policy_version: int
    steps: int
    info: dict[str, float]


@dataclass(frozen=True)
class EvaluationReport:
    """Answer to an `EvaluateOrder`: infos of each body in the order of the seeds, or why it has none."""

    order_id: int
    policy_version: int
    results: dict[int, list[dict[str, float]]]
    failed: dict[int, str]
    steps: int


@dataclass(frozen=True)
class BodyFailed:
    """A body was taken out of the training mix: it raised, gave numbers that are not finite, or broke workers.

    If `is_final` it is set aside: no worker will get it again, neither in training nor in an evaluation.
    """

    body_id: int
    reason: str
    worker: int
    is_final: bool = False


@dataclass(frozen=True)
class WorkerRestarted:
    """A worker died and was replaced; `exitcode_or_signal` is negative for a signal, as in `Process.exitcode`."""

    worker: int
    exitcode_or_signal: int
    bodies: tuple[int, ...]


@dataclass(frozen=True)
class LearnerRestarted:
    """The learner died and goes on from its last published state."""

    exitcode: int
    policy_version: int


@dataclass(frozen=True)
class LearnerUpdate:
    """A new version of the weights was published."""

    metrics: dict[str, float]


Event = EpisodeReport | EvaluationReport | BodyFailed | WorkerRestarted | LearnerRestarted | LearnerUpdate
