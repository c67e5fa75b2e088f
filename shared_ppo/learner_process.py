"""The process in which the learner lives."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection

import torch

from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.experience import SharedExperienceBuffer
from shared_ppo.learning_loop import LearningLoop
from shared_ppo.messages import LearnerUpdate
from shared_ppo.process import enter_process
from shared_ppo.run_state import RunState
from shared_ppo.worker import Stop

_WAIT_S = 0.05


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


class LearnerProcess:
    """Learns as segments arrive, or round by round in sync mode."""

    def __init__(self, setup: LearnerSetup) -> None:
        self._setup = setup
        self._loop = LearningLoop(setup.spec, setup.config, setup.run, setup.buffer)
        self._round: LearnRound | None = None

    def run(self) -> None:
        """Works until told to stop."""
        while self._receive():
            connection.wait([self._setup.orders, *self._setup.buffer.readers], _WAIT_S)
            self._loop.collect()
            if self._round is not None and self._has_all_of(self._round):
                self._end_round(self._round)
            elif not self._setup.is_sync and self._loop.is_ready:
                self._learn()

    def _receive(self) -> bool:
        """Takes all orders; False if one was to stop."""
        while self._setup.orders.poll():
            order = self._setup.orders.recv()
            if isinstance(order, Stop):
                return False
            self._round = order
        return True

    def _has_all_of(self, order: LearnRound) -> bool:
        """Whether all announced segments were read; tokens grow with each segment and each incarnation."""
        return all(self._setup.buffer.seen[worker] >= token for worker, token in order.tokens.items())

    def _end_round(self, order: LearnRound) -> None:
        """Updates if it is due, and answers."""
        if self._loop.is_ready or (order.is_last and self._loop.pending_steps):
            self._learn()
        self._setup.orders.send(RoundLearnt(order.number))
        self._round = None

    def _learn(self) -> None:
        """One update; reported if there was one."""
        metrics = self._loop.learn()
        if metrics is not None:
            self._setup.orders.send(LearnerUpdate(metrics))


def learner_main(setup: LearnerSetup) -> None:
    """Entry point of the learner process."""
    enter_process(setup.title)
    torch.set_num_threads(setup.config.ppo.threads)
    LearnerProcess(setup).run()
