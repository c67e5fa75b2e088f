"""ProcessSupervisor: starts, watches, replaces and stops the worker processes and the learner."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from shared_ppo.birth import new_learner_elsewhere
from shared_ppo.blame import Blame
from shared_ppo.body import BodySpec, MakeBody
from shared_ppo.child import Child
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.control import (
    FinishTraining,
    LearnerSetup,
    LearnRound,
    Retiring,
    Round,
    RoundDone,
    RoundLearnt,
    Stop,
    WorkerSetup,
    run_learner,
    run_worker,
)
from shared_ppo.errors import SharedPPOError
from shared_ppo.experience import SharedExperienceBuffer
from shared_ppo.messages import (
    BodyFailed,
    EvaluateOrder,
    EvaluationReport,
    Event,
    LearnerRestarted,
    LearnerUpdate,
    TrainOrder,
    WorkerRestarted,
)
from shared_ppo.process import end_processes, process_context
from shared_ppo.run_state import RunState, Start, require_shared_memory
from shared_ppo.segment import segment_layout
from shared_ppo.supervision import EvaluationShares, RunView, Supervisor

__all__ = ["ProcessSupervisor", "Supervisor"]

_log = logging.getLogger(__name__)
_LEARNER = -1
_PUMP_S = 0.2
_STOP_PATIENCE_S = 5.0


def __getattr__(name: str) -> Any:
    """Offers `InProcessSupervisor` here too, without loading torch for those who do not ask for it."""
    if name == "InProcessSupervisor":
        from shared_ppo.in_process import InProcessSupervisor

        return InProcessSupervisor
    raise AttributeError(name)


class _WorkerRecord:
    """What the supervisor knows of a worker, whichever process it is at the moment."""

    def __init__(self) -> None:
        self.child: Child
        self.incarnation = 0
        self.mix: tuple[BodySpec, ...] = ()
        self.evaluations: dict[int, EvaluateOrder] = {}
        self.token: int | None = 0
        self.is_retiring = False


class ProcessSupervisor(RunView):
    """Workers and learner as processes of their own; this process only watches them, inside `poll`.

    In async mode workers and learner run freely. In sync mode every `poll` is one round: all workers act with the
    same version, then the learner updates; with the same seed and orders the results are the same, bit by bit.
    """

    def __init__(
        self,
        make_body: MakeBody,
        spec: ObservationSpec,
        config: SharedPPOConfig,
        *,
        num_workers: int = 1,
        seed: int = 0,
        mode: str = "async",
        title: str = "map_elites",
        preload: Sequence[str] = (),
        checkpoint: Path | None = None,
    ) -> None:
        """Allocates the shared memory; no process is started yet.

        Args:
            make_body: top-level function that builds a body inside a worker.
            spec: widths of the bodies' observations.
            config: all settings.
            num_workers: worker processes.
            seed: of networks, noise and resets.
            mode: "async" or "sync".
            title: prefix of the process titles.
            preload: modules that the fork server imports once for all workers.
            checkpoint: file to go on from.

        Raises:
            ValueError: if the mode is unknown.
            CheckpointError: if the checkpoint is damaged or does not fit the config.
            SharedPPOError: if there is too little shared memory.
        """
        if mode not in ("async", "sync"):
            raise ValueError(f'mode must be "async" or "sync", got {mode!r}')
        self.num_workers = num_workers
        self._make_body, self._spec, self._config, self._seed, self._title = make_body, spec, config, seed, title
        self._is_sync = mode == "sync"
        self._layout = segment_layout(spec, config)
        require_shared_memory(SharedExperienceBuffer.bytes_needed(self._layout, config.experience, num_workers))
        start = Start.read(checkpoint)
        self._context = process_context(preload)
        newborn = new_learner_elsewhere(self._context, spec, config, seed, start.learner)
        _log.info("the learner works on %s", newborn.device)
        self._run = RunState(self._context, num_workers, newborn.image, start)
        self._first_version = self._run.weights.version
        self._workers = [_WorkerRecord() for _ in range(num_workers)]
        self._learner: Child
        self._blame = Blame(config.workers)
        self._shares = EvaluationShares(num_workers)
        self._events: dict[int, list[Event]] = {source: [] for source in (*range(num_workers), _LEARNER)}
        self._round = 0
        self._stage: str | None = None
        self._learner_deaths = 0
        self._polled_at = 0.0

    # --- orders -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the learner and all workers."""
        self._start_all()

    def train(self, worker: int, order: TrainOrder) -> None:
        """Gives a worker its training mix; bodies that were set aside are left out."""
        record = self._workers[worker]
        record.mix = self._blame.allowed(order.bodies)
        record.child.send(TrainOrder(record.mix))

    def evaluate(self, order: EvaluateOrder) -> None:
        """Has bodies evaluated by the worker with the least to evaluate."""
        worker = self._shares.assign(order)
        self._workers[worker].evaluations[order.order_id] = order
        self._send_evaluation(self._workers[worker], order)

    def _send_evaluation(self, record: _WorkerRecord, order: EvaluateOrder) -> None:
        """Sends an order without the bodies that were set aside."""
        record.child.send(EvaluateOrder(order.order_id, self._blame.allowed(order.bodies), order.seeds))

    def poll(self, timeout_s: float) -> list[Event]:
        """Watches the processes and returns what has happened; waits up to `timeout_s` for something.

        In sync mode this starts a round, unless one is running, and returns its events once it is done.

        Raises:
            SharedPPOError: if the learner or a worker keeps dying.
        """
        end = time.monotonic() + timeout_s
        if self._is_sync and self._stage is None:
            self._start_round()
        while True:
            self._pump(min(_PUMP_S, max(0.0, end - time.monotonic())))
            if self._stage is None and (self._is_sync or any(self._events.values())):
                return self._take_events()
            if time.monotonic() >= end:
                return []

    def freeze(self) -> None:
        """Ends training: workers stop, the learner uses what is left and publishes the last version.

        Raises:
            SharedPPOError: if the learner or a worker keeps dying.
        """
        while self._stage is not None:
            self._pump(_PUMP_S)
        for record in self._workers:
            record.mix = ()
        self._stage, self._round = "finish", self._round + 1
        for record in self._workers:
            record.token = None
            record.child.send(FinishTraining())
        while self._stage is not None:
            self._pump(_PUMP_S)

    def stop(self) -> None:
        """Ends all processes, by force if need be."""
        self._run.announce_stop()
        children = [record.child for record in self._workers if hasattr(record, "child")]
        children += [self._learner] if hasattr(self, "_learner") else []
        for child in children:
            child.send(Stop())
        end_processes([child.process for child in children], patience_s=_STOP_PATIENCE_S)
        for child in children:
            child.forget()
        if hasattr(self, "_buffer"):
            self._buffer.close()

    # --- watching -----------------------------------------------------------------------------------------------

    def _pump(self, timeout_s: float) -> None:
        """Reads what has arrived, replaces what has died, kills what hangs, moves a round on."""
        children = [self._learner, *(record.child for record in self._workers)]
        handles = [handle for child in children for handle in (child.orders, child.process.sentinel)]
        connection.wait(handles, timeout_s)
        dead = [index for index, record in enumerate(self._workers) if not record.child.process.is_alive()]
        learner_is_dead = not self._learner.process.is_alive()
        for index, record in enumerate(self._workers):
            for message in record.child.received():
                self._take_from_worker(index, message)
        for message in self._learner.received():
            self._take_from_learner(message)
        for index in dead:
            self._judge(index)
        if learner_is_dead:
            self._replace_learner()
        else:
            for index in dead:
                self._replace_worker(index)
        self._kill_hanging()

    def _take_from_worker(self, index: int, message: Any) -> None:
        """Files a message of a worker."""
        record = self._workers[index]
        if isinstance(message, RoundDone):
            record.token = message.token
            self._ask_learner_if_all_done()
        elif isinstance(message, Retiring):
            record.is_retiring = True
        elif isinstance(message, EvaluationReport):
            order = record.evaluations.pop(message.order_id, None)
            if order is not None:
                self._shares.finish(index, order)
                self._events[index].append(self._blame.completed(message, order))
        else:
            if isinstance(message, BodyFailed):
                record.mix = tuple(body for body in record.mix if body.body_id != message.body_id)
            self._events[index].append(message)

    def _take_from_learner(self, message: Any) -> None:
        """Files a message of the learner."""
        if isinstance(message, RoundLearnt):
            if message.number == self._round:
                self._stage = None
            return
        if isinstance(message, LearnerUpdate):
            self._learner_deaths = 0
        self._events[_LEARNER].append(message)

    def _take_events(self) -> list[Event]:
        """Hands over all events: workers in order, then the learner."""
        events = [event for source in self._events.values() for event in source]
        for source in self._events.values():
            source.clear()
        return events

    def _start_round(self) -> None:
        """Sync mode: sends all workers off."""
        self._stage, self._round = "round", self._round + 1
        for record in self._workers:
            record.token = None
            record.child.send(Round())

    def _ask_learner_if_all_done(self) -> None:
        """Once all workers have done their part of a round, it is the learner's turn."""
        tokens = {index: record.token for index, record in enumerate(self._workers)}
        if self._stage is None or any(token is None for token in tokens.values()):
            return
        announced = {index: token for index, token in tokens.items() if token}
        self._learner.send(LearnRound(self._round, announced, is_last=self._stage == "finish"))

    # --- replacing ----------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        """Starts learner and workers, with an empty buffer between them."""
        self._buffer = SharedExperienceBuffer(
            self._layout,
            self._config.experience,
            num_workers=self.num_workers,
            context=self._context,
            counters=self._run.counters,
        )
        self._run.status.reset(self.num_workers)
        self._learner = self._start_learner()
        for index in range(self.num_workers):
            self._start_worker(index)

    def _start_learner(self) -> Child:
        """Starts the learner's process."""
        pipe = self._context.Pipe()
        title = f"{self._title}: shared_ppo learner"
        setup = LearnerSetup(title, self._is_sync, self._spec, self._config, self._run, self._buffer, pipe[1])
        return Child(self._context, run_learner, setup, pipe, "learner")

    def _start_worker(self, index: int) -> None:
        """Starts a worker's next process and gives it what its predecessor had to do."""
        record = self._workers[index]
        record.incarnation += 1
        record.is_retiring = False
        self._run.status.reset(index)
        pipe = self._context.Pipe()
        setup = WorkerSetup(
            index=index,
            incarnation=record.incarnation,
            title=f"{self._title}: worker {index}",
            seeds=(self._seed, index, record.incarnation, self._first_version),
            is_sync=self._is_sync,
            make_body=self._make_body,
            spec=self._spec,
            config=self._config,
            run=self._run,
            buffer=self._buffer,
            orders=pipe[1],
        )
        record.child = Child(self._context, run_worker, setup, pipe, f"worker {index}")
        self._brief(record)

    def _brief(self, record: _WorkerRecord) -> None:
        """Gives a new process its mix, its evaluations and its part of the round."""
        if record.mix:
            record.child.send(TrainOrder(record.mix))
        for order in record.evaluations.values():
            self._send_evaluation(record, order)
        if self._stage is not None and record.token is None:
            record.child.send(Round() if self._stage == "round" else FinishTraining())

    def _judge(self, index: int) -> None:
        """Reports a worker's death, unless it had retired, and finds out who is to blame.

        Raises:
            SharedPPOError: if it has died too often with no body to blame.
        """
        record = self._workers[index]
        record.child.process.join()
        exitcode = record.child.process.exitcode
        if record.is_retiring and exitcode == 0:
            _log.debug("worker %d has retired", index)
            return
        body_id = self._run.status.body(index)
        _log.warning("worker %d ended with %s while body %d had control; replaced", index, exitcode, body_id)
        mix = tuple(body.body_id for body in record.mix)
        self._events[index].append(WorkerRestarted(index, exitcode, mix))
        failure = self._blame.judge(index, body_id, exitcode, was_hanging=record.child.was_hanging)
        if failure is not None:
            self._events[index].append(failure)
            self._set_aside(failure.body_id)

    def _replace_worker(self, index: int) -> None:
        """Starts a dead worker's successor; what the dead one may not have sent, the learner does not wait for."""
        record = self._workers[index]
        record.child.forget()
        self._buffer.heal(index)
        if record.token is not None:
            record.token = 0
            self._ask_learner_if_all_done()
        self._start_worker(index)

    def _set_aside(self, body_id: int) -> None:
        """Takes a body out of all mixes."""
        for record in self._workers:
            if any(body.body_id == body_id for body in record.mix):
                record.mix = self._blame.allowed(record.mix)
                record.child.send(TrainOrder(record.mix))

    def _replace_learner(self) -> None:
        """Starts the learner again from its last state, with new queues and hence new workers.

        Raises:
            SharedPPOError: if it has died too often.
        """
        exitcode = self._learner.process.exitcode
        self._learner_deaths += 1
        if self._learner_deaths > self._config.workers.learner_restarts:
            raise SharedPPOError(
                f"the learner died {self._learner_deaths} times without an update between (last exit code {exitcode})"
            )
        _log.warning("the learner ended with %s; it goes on from version %d", exitcode, self.policy_version)
        self._events[_LEARNER].append(LearnerRestarted(exitcode, self.policy_version))
        for record in self._workers:
            record.child.process.kill()
        for child in (self._learner, *(record.child for record in self._workers)):
            child.forget()
        self._buffer.close()
        for record in self._workers:
            record.token = None if self._stage is not None else 0
        self._start_all()

    def _kill_hanging(self) -> None:
        """Kills processes without a sign of life; time in which nobody read what they sent does not count."""
        now = time.monotonic()
        away_s, self._polled_at = max(0.0, now - self._polled_at - 2 * _PUMP_S), now
        timeout_s = self._config.workers.hang_timeout_s
        for index, child in enumerate([*(record.child for record in self._workers), self._learner]):
            child.feel_pulse(self._run.status.beat(index), away_s=away_s, timeout_s=timeout_s)
