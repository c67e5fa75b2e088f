"""All workers and the learner in this process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import torch

from shared_ppo.birth import new_learner
from shared_ppo.body import MakeBody
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.experience import LocalExperienceBuffer
from shared_ppo.learning_loop import LearningLoop
from shared_ppo.messages import EvaluateOrder, EvaluationReport, Event, LearnerUpdate, TrainOrder
from shared_ppo.rollout import RolloutWorker
from shared_ppo.run_state import RunState, Start
from shared_ppo.supervision import EvaluationShares, RunView


class InProcessSupervisor(RunView):
    """Everything in this process, one round per `poll`: for debugging, for tests, and for one-off training.

    Gives bit by bit the results of `ProcessSupervisor` in sync mode with the same number of workers.
    """

    def __init__(
        self,
        make_body: MakeBody,
        spec: ObservationSpec,
        config: SharedPPOConfig,
        *,
        num_workers: int = 1,
        seed: int = 0,
        mode: str = "sync",
        title: str = "map_elites",
        preload: Sequence[str] = (),
        checkpoint: Path | None = None,
    ) -> None:
        """Prepares a run; `mode`, `title` and `preload` only matter to `ProcessSupervisor`.

        Raises:
            CheckpointError: if the checkpoint is damaged or does not fit the config.
        """
        self.num_workers = num_workers
        self._make_body, self._spec, self._config, self._seed = make_body, spec, config, seed
        start = Start.read(checkpoint)
        self._run = RunState(multiprocessing, num_workers, new_learner(spec, config, seed, start.learner), start)
        self._buffer = LocalExperienceBuffer(num_workers, self._run.counters)
        self._orders: dict[int, TrainOrder] = {}
        self._evaluations: list[tuple[int, EvaluateOrder]] = []
        self._shares = EvaluationShares(num_workers)
        self._events: list[Event] = []

    def start(self) -> None:
        """Builds the learner and the workers."""
        torch.set_num_threads(self._config.ppo.threads_of_each)
        self._learner = LearningLoop(self._spec, self._config, self._run, self._buffer)
        version = self._run.weights.version
        self._workers = [
            RolloutWorker(
                index,
                self._make_body,
                self._spec,
                self._config,
                seeds=(self._seed, index, 1, version),
                watch=self._run.status.watch(index),
            )
            for index in range(self.num_workers)
        ]

    def train(self, worker: int, order: TrainOrder) -> None:
        """Gives a worker its training mix, from the next round on."""
        self._orders[worker] = order

    def evaluate(self, order: EvaluateOrder) -> None:
        """Has bodies evaluated in the next round."""
        self._evaluations.append((self._shares.assign(order), order))

    def evaluate_now(self, order: EvaluateOrder) -> EvaluationReport:
        """Has bodies evaluated at once, by whatever rounds that takes; their other events are lost."""
        self.evaluate(order)
        while True:
            for event in self.poll(0.0):
                if isinstance(event, EvaluationReport):
                    return event

    def poll(self, timeout_s: float) -> list[Event]:
        """Runs one round, however long it takes, and returns its events: workers in order, then the learner."""
        for worker in self._workers:
            self._run_worker(worker)
        self._learner.collect()
        if self._learner.is_ready:
            self._learn()
        events, self._events = self._events, []
        return events

    def _run_worker(self, worker: RolloutWorker) -> None:
        """A worker's part of a round: new mix, evaluations, one segment per body."""
        worker.refresh(self._run.weights)
        if worker.index in self._orders:
            worker.train(self._orders.pop(worker.index))
        for assigned, order in self._evaluations:
            if assigned == worker.index:
                self._events.append(worker.evaluate(order))
                self._shares.finish(assigned, order)
        self._evaluations = [pair for pair in self._evaluations if pair[0] != worker.index]
        for segment in worker.rollout():
            self._buffer.put(segment)
        self._events += worker.take_events()

    def _learn(self) -> None:
        """One update, if anything is usable."""
        metrics = self._learner.learn()
        if metrics is not None:
            self._events.append(LearnerUpdate(metrics))

    def freeze(self) -> None:
        """Ends training: the learner uses what is left and publishes the last version."""
        self._orders = {}
        for worker in self._workers:
            worker.train(TrainOrder(()))
            self._events += worker.take_events()
        self._learner.collect()
        if self._learner.pending_steps:
            self._learn()

    def stop(self) -> None:
        """Closes all bodies."""
        for worker in self._workers:
            worker.train(TrainOrder(()))
