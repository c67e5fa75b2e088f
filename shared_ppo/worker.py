"""MultiProcessPPOWorker: a process that rolls out bodies with the newest weights and sends segments and reports."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from shared_ppo.body import MakeBody
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.experience import SharedExperienceBuffer
from shared_ppo.messages import EvaluateOrder, TrainOrder
from shared_ppo.process import enter_process
from shared_ppo.rollout import RolloutWorker
from shared_ppo.run_state import RunState

_IDLE_S = 0.2


@dataclass(frozen=True)
class Round:
    """To a worker in sync mode: roll out one segment per body with the newest weights."""


@dataclass(frozen=True)
class RoundDone:
    """From a worker: it has done all it was told; `token` is that of the last segment it put."""

    token: int


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


class _Stopped(Exception):
    """The worker was told to end."""


class MultiProcessPPOWorker:
    """One worker process. It acts on orders between segments; evaluations and segments take turns.

    A supervisor runs `worker_main` in a new process.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._watch = setup.run.status.watch(setup.index)
        self._writer = setup.buffer.writer(setup.index, setup.incarnation)
        self._evaluations: deque[EvaluateOrder] = deque()
        self._worker = RolloutWorker(
            setup.index, setup.make_body, setup.spec, setup.config, seeds=setup.seeds, watch=self._watch
        )

    def run(self) -> None:
        """Works until told to stop."""
        is_busy = False
        try:
            while True:
                self._receive(0.0 if is_busy else _IDLE_S)
                is_busy = not self._setup.is_sync and (self._evaluate_next() | self._train_once())
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
        segments = self._worker.rollout()
        for segment in segments:
            self._writer.put(segment, while_waiting=self._wait)
        self._report()
        return bool(segments)

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
    """Entry point of a worker process."""
    enter_process(setup.title)
    torch.set_num_threads(1)
    MultiProcessPPOWorker(setup).run()
