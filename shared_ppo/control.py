"""What supervisor and processes say to each other, what processes are started with, and where they begin.

Nothing here needs torch: the main process lives without it, which saves most of its memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection

from shared_ppo.body import MakeBody
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.experience import SharedExperienceBuffer
from shared_ppo.log_lines import run_logged
from shared_ppo.run_state import RunState


@dataclass(frozen=True)
class Round:
    """To a worker in sync mode: roll out one segment per body with the newest weights."""


@dataclass(frozen=True)
class RoundDone:
    """From a worker: it has done all it was told; `token` is that of the last segment it put."""

    token: int


@dataclass(frozen=True)
class Retiring:
    """From a worker: this process has had enough bodies and ends; what it was told to do is its successor's."""


@dataclass(frozen=True)
class FinishTraining:
    """To a worker: no more training. Answered by `RoundDone`."""


@dataclass(frozen=True)
class Stop:
    """To a worker or to the learner: end."""


@dataclass(frozen=True)
class WorkerSetup:
    """All that a worker process is started with.

    Attributes:
        index: number of the worker.
        incarnation: 1 for the first process with this number, 2 for its successor, and so on.
        title: of the process.
        seeds: integers that seed its noise and resets.
        is_sync: whether it waits for rounds.
        make_body: builds a body.
        spec: widths of the bodies' observations.
        config: all settings.
        run: shared state.
        buffer: where segments go.
        orders: from and to the supervisor.
    """

    index: int
    incarnation: int
    title: str
    seeds: tuple[int, ...]
    is_sync: bool
    make_body: MakeBody
    spec: ObservationSpec
    config: SharedPPOConfig
    run: RunState
    buffer: SharedExperienceBuffer
    orders: Connection


@dataclass(frozen=True)
class LearnRound:
    """To the learner: once everything up to these tokens was read, update if there is enough (`is_last`: anyway).

    Attributes:
        number: of the round; answered by `RoundLearnt` with the same one. A repeated number replaces the earlier.
        tokens: by worker; workers that died since are left out.
        is_last: train on whatever is left, and never again.
    """

    number: int
    tokens: dict[int, int]
    is_last: bool = False


@dataclass(frozen=True)
class RoundLearnt:
    """From the learner: the round is done, its update (if any) published and reported."""

    number: int


@dataclass(frozen=True)
class LearnerSetup:
    """All that the learner process is started with."""

    title: str
    is_sync: bool
    spec: ObservationSpec
    config: SharedPPOConfig
    run: RunState
    buffer: SharedExperienceBuffer
    orders: Connection


def run_worker(setup: WorkerSetup) -> None:
    """Entry point of a worker process."""
    from shared_ppo.worker import worker_main

    run_logged(lambda: worker_main(setup), setup.orders)


def run_learner(setup: LearnerSetup) -> None:
    """Entry point of the learner process."""
    from shared_ppo.learner_process import learner_main

    run_logged(lambda: learner_main(setup), setup.orders)
