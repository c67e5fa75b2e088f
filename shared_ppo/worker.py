"""MultiProcessPPOWorker: a process that rolls out bodies with the newest weights and sends segments and reports."""

from __future__ import annotations

import time
from collections import deque

import torch

from shared_ppo.control import FinishTraining, Retiring, Round, RoundDone, Stop, WorkerSetup
from shared_ppo.messages import EvaluateOrder, TrainOrder
from shared_ppo.pace import Pace
from shared_ppo.process import enter_process, give_back_large_blocks
from shared_ppo.rollout import RolloutWorker

_IDLE_S = 0.2
_WAITING_S = 0.005


class _Stopped(Exception):
    """The worker was told to end."""


class MultiProcessPPOWorker:
    """One worker process. It acts on orders between segments; evaluations and segments take turns.

    A supervisor starts it with `control.run_worker`.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._watch = setup.run.status.watch(setup.index)
        self._writer = setup.buffer.writer(setup.index, setup.incarnation)
        self._evaluations: deque[EvaluateOrder] = deque()
        self._worker = RolloutWorker(
            setup.index, setup.make_body, setup.spec, setup.config, seeds=setup.seeds, watch=self._watch
        )
        self._pace = Pace(setup.config.experience, setup.buffer.num_workers)

    def run(self) -> None:
        """Works until told to stop."""
        pause_s = _IDLE_S
        try:
            while True:
                self._receive(pause_s)
                pause_s = _IDLE_S if self._setup.is_sync else self._work()
        except _Stopped:
            self._writer.close()

    def _receive(self, timeout_s: float) -> None:
        """Takes all orders that are there; waits up to `timeout_s` for the first."""
        self._watch.beat()
        while self._setup.orders.poll(timeout_s):
            timeout_s = 0.0
            self._take(self._setup.orders.recv())

    def _take(self, order: object) -> None:
        """Acts on an order, or keeps it for later.

        Raises:
            _Stopped: if it was to stop.
        """
        if isinstance(order, TrainOrder):
            self._worker.train(order)
            self._report()
        elif isinstance(order, EvaluateOrder):
            self._evaluations.append(order)
        elif isinstance(order, Round):
            self._run_round()
        elif isinstance(order, FinishTraining):
            self._worker.train(TrainOrder(()))
            self._finish()
        elif isinstance(order, Stop):
            raise _Stopped

    def _run_round(self) -> None:
        """All evaluations that were ordered, then one segment per body."""
        self._worker.refresh(self._setup.run.weights)
        while self._evaluate_next():
            pass
        self._train_once()
        self._finish()

    def _finish(self) -> None:
        """Says that everything so far is done."""
        self._report()
        self._setup.orders.send(RoundDone(self._writer.last_token))

    def _work(self) -> float:
        """An evaluation, if there is one, then a segment per body, if it is time; returns how long to pause in s."""
        has_evaluated = self._evaluate_next()
        has_trained = self._is_time() and self._train_once()
        if not (has_evaluated or has_trained):
            return _WAITING_S if self._worker.has_bodies else _IDLE_S
        self._retire_in_time()
        return 0.0

    def _is_time(self) -> bool:
        """Whether experience under the present weights is still wanted."""
        run = self._setup.run
        is_busy = run.counters.pending >= self._setup.config.experience.batch_steps
        return self._pace.may_roll_out(run.weights.version, learner_is_busy=is_busy)

    def _evaluate_next(self) -> bool:
        """Runs the next evaluation, if there is one."""
        if not self._evaluations:
            return False
        self._worker.refresh(self._setup.run.weights)
        self._setup.orders.send(self._worker.evaluate(self._evaluations.popleft()))
        return True

    def _train_once(self) -> bool:
        """Rolls out one segment per body with the newest weights and sends them, if there are bodies."""
        self._worker.refresh(self._setup.run.weights)
        began = time.monotonic()
        segments = self._worker.rollout()
        seconds = time.monotonic() - began
        for segment in segments:
            self._writer.put(segment, while_waiting=self._wait)
        self._pace.rolled_out(sum(segment.num_steps for segment in segments), seconds)
        self._report()
        return bool(segments)

    def _retire_in_time(self) -> None:
        """Ends this process, between two segments, if it has had its share of bodies.

        Raises:
            _Stopped: if so.
        """
        if self._worker.bodies_built >= self._setup.config.workers.bodies_per_process and not self._evaluations:
            self._report()
            self._setup.orders.send(Retiring())
            raise _Stopped

    def _report(self) -> None:
        """Sends what happened."""
        for event in self._worker.take_events():
            self._setup.orders.send(event)

    def _wait(self) -> None:
        """While the buffer is full: alive, and ready to stop.

        Raises:
            _Stopped: if the run ends.
        """
        self._watch.beat()
        if self._setup.run.is_stopping:
            raise _Stopped


def worker_main(setup: WorkerSetup) -> None:
    """Runs a worker in this process."""
    enter_process(setup.title)
    give_back_large_blocks()
    torch.set_num_threads(1)
    MultiProcessPPOWorker(setup).run()
