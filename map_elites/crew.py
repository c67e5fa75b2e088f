"""Who does the work: a crew carries out the search's commands and reports what happened.

One crew trains a shared policy, another trains every individual on its own; the loop does not know which it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from map_elites.evaluation import EpisodesByBody


@dataclass(frozen=True)
class EpisodeDone:
    """A training episode of a body ended; `info` has its values by name."""

    body: int
    steps: int
    info: Mapping[str, float]


@dataclass(frozen=True)
class OrderDone:
    """An evaluation order is back: episode values per body in the order of the seeds, or the reason of its failure."""

    order_id: int
    policy_version: int
    results: EpisodesByBody
    failed: Mapping[int, str]
    steps: int


@dataclass(frozen=True)
class BodyBroke:
    """A body could not be simulated in training; `worker` no longer trains it, and if `is_final` nobody will."""

    body: int
    reason: str
    worker: int | None = None
    is_final: bool = False


@dataclass(frozen=True)
class ProcessReplaced:
    """A process died and was replaced."""

    who: str
    cause: str
    is_worker: bool = True


@dataclass(frozen=True)
class Learned:
    """The policy was updated; `metrics` by name."""

    metrics: Mapping[str, float]


CrewEvent = EpisodeDone | OrderDone | BodyBroke | ProcessReplaced | Learned


@dataclass(frozen=True)
class CrewStatus:
    """Figures of the crew, all of them totals of this run including what came before a resume.

    Attributes:
        policy_version: Newest published weights.
        policy_updates: Published versions so far.
        experience: `received`, `used`, `dropped` training control steps.
        extra: Gauges by metric name (queue fill, buffer bytes).
    """

    policy_version: int = 0
    policy_updates: int = 0
    experience: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, float] = field(default_factory=dict)


class Crew(Protocol):
    """Processes (or none) that carry commands out."""

    @property
    def env_steps(self) -> int:
        """Control steps so far, training and evaluation, including those before a resume."""

    def start(self) -> None:
        """Starts the processes."""

    def carry_out(self, command: Any) -> None:
        """Takes a command of the search."""

    def poll(self, timeout_s: float) -> list[CrewEvent]:
        """What happened; waits up to `timeout_s` for something to happen."""

    def status(self) -> CrewStatus:
        """Figures for logs and summary."""

    def state(self) -> Mapping[str, int]:
        """Figures that a checkpoint needs beside what `write_checkpoint` writes."""

    def write_checkpoint(self, folder: Path) -> None:
        """Writes what has been learned into a folder."""

    def finish(self) -> list[CrewEvent]:
        """Ends training: learns from what is left, publishes the last weights; what happened meanwhile."""

    def stop(self) -> None:
        """Ends every process. A second call does nothing."""
