"""The process in which the learner lives."""

from __future__ import annotations

from multiprocessing import connection

import torch

from shared_ppo.control import LearnerSetup, LearnRound, RoundLearnt, Stop
from shared_ppo.learning_loop import LearningLoop
from shared_ppo.messages import LearnerUpdate
from shared_ppo.process import enter_process

_WAIT_S = 0.05


class LearnerProcess:
    """Learns as segments arrive, or round by round in sync mode."""

    def __init__(self, setup: LearnerSetup) -> None:
        self._setup = setup
        self._loop = LearningLoop(setup.spec, setup.config, setup.run, setup.buffer)
        self._round: LearnRound | None = None
        self._watch = setup.run.status.watch(setup.run.status.learner)
        self._loop.trainer.while_learning = self._watch.beat

    def run(self) -> None:
        """Works until told to stop."""
        while self._receive():
            self._watch.beat()
            connection.wait([self._setup.orders, *self._setup.buffer.readers], _WAIT_S)
            self._loop.collect()
            if self._round is not None and self._has_all_of(self._round):
                self._end_round(self._round)
            elif not self._setup.is_sync and self._loop.is_ready:
                self._learn()

    def _receive(self) -> bool:
        """Takes all orders; False if one was to stop.

        Raises:
            TypeError: if something else than an order has come.
        """
        while self._setup.orders.poll():
            order = self._setup.orders.recv()
            if isinstance(order, Stop):
                return False
            if not isinstance(order, LearnRound):
                raise TypeError(f"the learner was sent {order!r}")
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
    """Runs the learner in this process."""
    enter_process(setup.title)
    torch.set_num_threads(setup.config.ppo.threads_of_each)
    LearnerProcess(setup).run()
