"""The crew of the baseline: bounded worker processes, each of which trains one individual's own policy at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

from map_elites.alone import AloneCommand
from map_elites.contests import EvaluationOrder
from map_elites.crew import CrewEvent, CrewStatus, EpisodeDone, Learned, OrderDone, ProcessReplaced
from map_elites.trainer.alone_jobs import COPIES, Answer, Job
from map_elites.trainer.bodies import body_spec
from map_elites.trainer.fork_server import preload_for
from map_elites.trainer.settings import TrainConfig
from shared_ppo.body import BodySpec
from shared_ppo.log_lines import LogLine, log_line
from shared_ppo.process import process_context

PRELOAD = ("map_elites.trainer.alone_work",)


def _work(index: int, pipe: Any, steps: Any, config: TrainConfig) -> None:
    """Body of a worker process; what it needs is not loaded by the process that only hands out jobs."""
    from map_elites.trainer.alone_work import work

    work(index, pipe, steps, config)


class _Worker:
    """A process, its pipe and its present job."""

    def __init__(self, context: Any, index: int, steps: Any, config: TrainConfig) -> None:
        self.index, self.job = index, None
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(index, theirs, steps, config), daemon=True)
        self.process.start()
        theirs.close()

    job: Job | None

    def give(self, job: Job) -> None:
        """Hands a job over; a worker that has just died is noticed by the next poll."""
        self.job = job
        with contextlib.suppress(OSError):
            self.pipe.send(job)


class AloneCrew:
    """Worker processes in which individuals train.

    Args:
        config: All settings.
        workers: How many processes.
        design_of: Design of a body by id.
        policies: Folder that keeps every individual's policy.
        state: What `state` returned before a resume.
    """

    def __init__(
        self,
        config: TrainConfig,
        workers: int,
        design_of: Callable[[int], Any],
        *,
        policies: Path,
        state: dict[str, int] | None = None,
    ) -> None:
        self._config, self._count, self._design_of, self._policies = config, workers, design_of, policies
        self._totals = {"env_steps": 0, "updates": 0, "received": 0, "used": 0, "dropped": 0} | (state or {})
        self._waiting: list[Job] = []
        self._workers: list[_Worker] = []
        self._strikes: dict[int, int] = {}
        self._steps: Any = [0] * workers
        self._needed: list[set[str]] = []

    @property
    def env_steps(self) -> int:
        """Control steps so far, those before a resume included."""
        return self._totals["env_steps"] + sum(self._steps)

    def steps_of(self, body: int) -> int:
        """Control steps of an individual that trains right now."""
        for worker in self._workers:
            if worker.job and any(spec.body_id == body for spec in worker.job.specs):
                return int(self._steps[worker.index])
        return 0

    def start(self) -> None:
        """Starts the processes."""
        self._policies.mkdir(exist_ok=True)
        if not self._config.run.multiprocess:
            return
        self._context = process_context((*PRELOAD, *preload_for(self._config, training=COPIES, scoring=1)))
        self._steps = self._context.RawArray("q", self._count)
        self._workers = [self._start_worker(index) for index in range(self._count)]

    def _start_worker(self, index: int) -> _Worker:
        self._steps[index] = 0
        return _Worker(self._context, index, self._steps, self._config)

    def carry_out(self, command: Any) -> None:
        """Queues a command as a job."""
        numbers = (command.body,) if isinstance(command, AloneCommand) else command.bodies
        job = Job(
            order_id=command.body if isinstance(command, AloneCommand) else command.order_id,
            specs=self._specs(numbers),
            training_specs=self._specs(numbers, training=True) if isinstance(command, AloneCommand) else (),
            seeds=command.seeds,
            steps=command.steps if isinstance(command, AloneCommand) else 0,
            seed=(self._config.run.seed * 1_000_003 + numbers[0]) % 2**31 if numbers else 0,
            policies=tuple(self.policy_path(n) for n in numbers),
        )
        assert isinstance(command, AloneCommand | EvaluationOrder)
        self._waiting.append(job)

    def _specs(self, numbers: Sequence[int], *, training: bool = False) -> tuple[BodySpec, ...]:
        return tuple(body_spec(n, self._design_of(n), self._config, training=training) for n in numbers)

    def policy_path(self, number: int) -> Path:
        """File of an individual's policy."""
        return self._policies / f"{number}.npz"

    def poll(self, timeout_s: float) -> list[CrewEvent]:
        """Hands jobs out, collects answers, replaces workers that died."""
        if not self._config.run.multiprocess:
            return self._run_here()
        for worker in self._workers:
            if worker.job is None and self._waiting:
                worker.give(self._waiting.pop(0))
        busy = {worker.pipe: worker for worker in self._workers}
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        events: list[CrewEvent] = []
        ready = connection.wait([*busy, *sentinels], timeout_s)
        for worker in {id(w): w for w in (busy.get(r) or sentinels[r] for r in ready)}.values():
            events += self._attend(worker)
        return events

    def _attend(self, worker: _Worker) -> list[CrewEvent]:
        """An answer, a line for the log, or a death."""
        try:
            if worker.pipe.poll():
                message = worker.pipe.recv()
                if not isinstance(message, LogLine):
                    return self._finished(worker, message)
                log_line(message, f"worker {worker.index}")
                return []
        except (EOFError, OSError):
            pass
        worker.process.join(1.0)
        return self._replace(worker) if worker.process.exitcode is not None else []

    def _finished(self, worker: _Worker, answer: Answer) -> list[CrewEvent]:
        worker.job = None
        self._totals["env_steps"] += int(self._steps[worker.index])
        self._steps[worker.index] = 0
        return self._events(answer)

    def _replace(self, worker: _Worker) -> list[CrewEvent]:
        """Starts another worker; its job is done again, unless the job itself kills workers."""
        code = worker.process.exitcode
        self._totals["env_steps"] += int(self._steps[worker.index])
        self._workers[worker.index] = self._start_worker(worker.index)
        events: list[CrewEvent] = [ProcessReplaced(f"worker {worker.index}", f"exit code {code}")]
        job = worker.job
        worker.pipe.close()
        if job is None:
            return events
        if code != -9:  # killed from outside says nothing about the body
            self._strikes[job.order_id] = self._strikes.get(job.order_id, 0) + 1
        if self._strikes.get(job.order_id, 0) >= self._config.evaluation.max_strikes:
            reasons = {spec.body_id: f"worker died (exit code {code})" for spec in job.specs}
            return [*events, OrderDone(job.order_id, 0, {}, reasons, 0)]
        self._waiting.insert(0, job)
        return events

    def _run_here(self) -> list[CrewEvent]:
        """One job in this process."""
        from map_elites.trainer.alone_work import run_job

        if not self._waiting:
            return []
        answer = run_job(self._waiting.pop(0), self._config, lambda count: self._steps.__setitem__(0, count))
        self._totals["env_steps"] += self._steps[0]
        self._steps[0] = 0
        return self._events(answer)

    def _events(self, answer: Answer) -> list[CrewEvent]:
        report = answer.report
        for name, count in answer.experience:
            key = name.removeprefix("experience_")
            self._totals[key] = self._totals.get(key, 0) + count
        self._totals["updates"] += answer.updates
        events: list[CrewEvent] = [EpisodeDone(e.body_id, e.steps, e.info) for e in answer.episodes]
        if answer.metrics:
            events.append(Learned(answer.metrics))
        done = OrderDone(report.order_id, report.policy_version, report.results, report.failed, report.steps)
        return [*events, done]

    def status(self) -> CrewStatus:
        """Figures for logs and summary; versions and updates are counted over all individuals."""
        experience = {name: self._totals[name] for name in ("received", "used", "dropped")}
        return CrewStatus(self._totals["updates"], self._totals["updates"], experience)

    def state(self) -> dict[str, int]:
        """Totals for a checkpoint; individuals that train right now start again after a resume."""
        return {**self._totals, "env_steps": self.env_steps}

    def write_checkpoint(self, folder: Path) -> None:
        """Policies are on disk already, each written once; those that no kept checkpoint needs are removed."""
        needed = {path.name for path in self._policies.glob("*.npz") if self._is_alive(int(path.stem))}
        self._needed = [*self._needed[-self._config.run.keep_checkpoints :], needed]
        for path in self._policies.glob("*.npz"):
            if not any(path.name in names for names in self._needed):
                path.unlink(missing_ok=True)

    def _is_alive(self, number: int) -> bool:
        """Whether the search still knows an individual."""
        try:
            self._design_of(number)
        except KeyError:
            return False
        return True

    def finish(self) -> list[CrewEvent]:
        """Everybody is trained when the search has finished."""
        return []

    def stop(self) -> None:
        """Ends every process."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join(2.0)
            if worker.process.is_alive():
                os.kill(worker.process.pid or 0, 9)
                worker.process.join()
