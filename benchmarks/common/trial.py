"""Trials: the trainer's own processes train one policy on given bodies, and score bodies along the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from common.references import EVALUATION_SEEDS
from map_elites.errors import RunFailedError
from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.fork_server import preload_for
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from shared_ppo.messages import BodyFailed, EvaluateOrder, EvaluationReport, Event, LearnerUpdate, TrainOrder
from shared_ppo.supervision import Supervisor
from shared_ppo.supervisor import ProcessSupervisor

MEMORY_INTERVAL_S = 5.0

Point = dict[str, Any]
"""A point of a curve: training `steps` and `seconds` so far, `version` of the policy, `speeds_m_s` and RoboGrammar's
`objectives` of the bodies."""


@dataclass(frozen=True)
class Crew:
    """Who does the work of a trial.

    Attributes:
        workers: worker processes beside the learner's; 0 does everything in this process.
        mode: "async" or "sync".
        copies: simulations of each body side by side.
    """

    workers: int = 2
    mode: str = "async"
    copies: int = 1


def judged_by(config: TrainConfig, engine: str | None) -> TrainConfig:
    """The settings under which bodies are scored: another engine scores at its own default settings."""
    if engine is None:
        return config
    return replace(config, environment=replace(config.environment, engine=engine, engine_settings={}))


def held_ready(config: TrainConfig, *, training: int, scoring: int = 0, judge: str | None = None) -> tuple[str, ...]:
    """Modules for the fork server of a trial: the engine that trains and the one that scores.

    How many PyBullet clients it opens is left in the environment, as `preload_for` does. There is one fork server in a
    program: only what is asked for before its first process counts.

    Args:
        config: in trials its engine trains.
        training: bodies that a process trains on at a time.
        scoring: bodies that it scores at a time.
        judge: engine that scores; None: the one that trains.
    """
    environment = replace(judged_by(config, judge).environment, training_engine=config.environment.engine)
    return preload_for(replace(config, environment=environment), training=training, scoring=scoring)


def supervisor_of(crew: Crew) -> Any:
    """The class that runs a trial. Where there are workers this process does without torch, as the trainer's does."""
    if crew.workers:
        return ProcessSupervisor
    from shared_ppo.in_process import InProcessSupervisor

    return InProcessSupervisor


class Trial:
    """Trains one policy on some bodies and scores it. A context manager: processes live inside `with`.

    Time and steps are those of training: while bodies are scored the clock stands still, and what the processes
    train meanwhile is charged at the pace so far.

    Attributes:
        seconds: wall time of training.
        cpu_seconds: processor time of training, over all processes.
        memory: in bytes, of all processes at the moment they had most: "pss" (shared pages split among their
            users), "uss" (each one's own), and how many "processes" there were.
        failed: bodies that failed, with the reason.
        metrics: of the last update.
    """

    def __init__(
        self,
        config: TrainConfig,
        designs: Sequence[RobotDesign],
        *,
        seed: int = 0,
        crew: Crew = Crew(),
        judge: str | None = None,
        judged: Sequence[RobotDesign] | None = None,
        evaluation_seeds: Sequence[int] = EVALUATION_SEEDS,
        checkpoint: Path | None = None,
        at_a_time: int | None = None,
    ) -> None:
        """Prepares a trial.

        Args:
            config: all settings.
            designs: bodies to train on.
            seed: of network, noise and resets.
            crew: who does the work.
            judge: engine that scores; None scores as in training.
            judged: bodies to score; by default those that train.
            evaluation_seeds: one episode each behind a score.
            checkpoint: weights to start from; by default new ones.
            at_a_time: bodies that train at a time; by default all.
        """
        self.crew, self.seeds = crew, tuple(evaluation_seeds)
        self.specs = [body_spec(number, design, config) for number, design in enumerate(designs)]
        judged_config, first = judged_by(config, judge), len(self.specs)  # to the workers these are other bodies
        scored = designs if judged is None else judged
        self.judged = [body_spec(first + number, design, judged_config) for number, design in enumerate(scored)]
        count = max(1, crew.workers)
        places = math.ceil((len(self.specs) if at_a_time is None else at_a_time) * crew.copies / count)
        self.supervisor: Supervisor = supervisor_of(crew)(
            make_body,
            observation_spec(config),
            config.shared_ppo,
            num_workers=count,
            seed=seed,
            mode=crew.mode,
            preload=held_ready(config, training=places, scoring=config.workers.evaluation_rows, judge=judge),
            checkpoint=checkpoint,
        )
        self.seconds = self.cpu_seconds = 0.0
        self.memory: dict[str, int] = {}
        self.failed: dict[int, str] = {}
        self.metrics: dict[str, float] = {}
        self._not_training = self.supervisor.env_steps
        self._orders, self._next_look = 0, 0.0
        self._turns: Iterator[Sequence[int]] | None = None
        self._turn_steps, self._next_turn = 0, 0

    def __enter__(self) -> Trial:
        self.supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stop()

    @property
    def steps(self) -> int:
        """Training control steps so far."""
        return self.supervisor.env_steps - self._not_training

    # --- training -----------------------------------------------------------------------------------------------

    def train(self, numbers: Iterable[int] | None = None) -> None:
        """From now on, these bodies train (by default all), each in `copies`, dealt out over the workers."""
        chosen = self.specs if numbers is None else [self.specs[number] for number in numbers]
        places = [spec for spec in chosen for _ in range(self.crew.copies)]
        count = self.supervisor.num_workers
        for worker in range(count):
            self.supervisor.train(worker, TrainOrder(tuple(places[worker::count])))

    def take_turns(self, turns: Iterator[Sequence[int]], steps: int) -> None:
        """Has other bodies trained every so many steps."""
        self._turns, self._turn_steps, self._next_turn = turns, steps, self.steps

    def advance(self, *, steps: float = math.inf, seconds: float = math.inf, updates: float = math.inf) -> None:
        """Trains until so many steps, seconds of training or updates in all."""
        start, busy = time.perf_counter() - self.seconds, processor_seconds() - self.cpu_seconds
        while self.steps < steps and self.seconds < seconds and self.metrics.get("updates", 0) < updates:
            if self._turns is not None and self.steps >= self._next_turn:
                self._next_turn = self.steps + self._turn_steps
                self.train(next(self._turns))
            self._take(self.supervisor.poll(0.1))
            self._require_bodies()
            self._watch_memory()
            self.seconds = time.perf_counter() - start
        self.cpu_seconds = processor_seconds() - busy

    def _require_bodies(self) -> None:
        """Ends a trial in which nothing trains any more.

        Raises:
            RunFailedError: Every body has failed.
        """
        reasons = [self.failed[spec.body_id] for spec in self.specs if spec.body_id in self.failed]
        if len(reasons) == len(self.specs):
            raise RunFailedError(f"all {len(reasons)} bodies failed; the first: {reasons[0]}")

    def _finish(self) -> None:
        """Ends training: the learner uses what is left."""
        start, busy = time.perf_counter(), processor_seconds()
        self.supervisor.freeze()
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += processor_seconds() - busy

    def run(self, marks: Iterable[float], said: Callable[[Point], None], *, clock: str = "steps") -> dict[str, Any]:
        """Scores, trains to each mark and scores again; the last score is that of the final weights.

        Args:
            marks: when to score, in all "steps" or "seconds" of training.
            said: told every new point.
            clock: which of the two.

        Returns:
            The curve and what else is known of the trial, ready for JSON.
        """
        curve, goals = [self.score()], list(marks)
        for goal in goals:
            self.advance(**{clock: goal})
            if goal == goals[-1]:
                self._finish()
            curve.append(self.score())
            said(curve[-1])
        return {"curve": curve, "memory": self.memory, "failed": self.failed, "metrics": self.metrics}

    def _watch_memory(self) -> None:
        """Looks now and then how much memory all processes have."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + MEMORY_INTERVAL_S
        self.memory = larger(self.memory, memory_in_all())

    # --- scoring ------------------------------------------------------------------------------------------------

    def score(self) -> Point:
        """Speeds of all judged bodies with the mean action under the present weights; None where one failed."""
        before = self.steps
        reports: list[EvaluationReport] = []
        count = min(self.supervisor.num_workers, len(self.judged))
        for share in range(count):
            self._orders += 1
            self.supervisor.evaluate(EvaluateOrder(self._orders, tuple(self.judged[share::count]), self.seeds))
        while len(reports) < count:
            reports += self._take(self.supervisor.poll(0.1))
        pace = self.steps / before if before else 1.0
        self.seconds, self.cpu_seconds = pace * self.seconds, pace * self.cpu_seconds
        infos = {body_id: found for report in reports for body_id, found in report.results.items()}
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "version": max(report.policy_version for report in reports),
            "speeds_m_s": [_mean(infos.get(spec.body_id), "speed_m_s") for spec in self.judged],
            "objectives": [_mean(infos.get(spec.body_id), "robogrammar_objective") for spec in self.judged],
        }

    def _take(self, events: Sequence[Event]) -> list[EvaluationReport]:
        """Keeps what matters of the events; returns the evaluations among them."""
        reports = []
        for event in events:
            if isinstance(event, LearnerUpdate):
                self.metrics = dict(event.metrics)
            elif isinstance(event, BodyFailed):
                self.failed[event.body_id] = event.reason
            elif isinstance(event, EvaluationReport):
                self._not_training += event.steps
                reports.append(event)
        return reports


def marks(total: float, points: int) -> list[float]:
    """`points` equal parts of the way to `total`, its end included."""
    return [float(mark) for mark in np.linspace(0, total, points + 1)[1:]]


def cycle(count: int, places: int, seed: int) -> Iterator[list[int]]:
    """Endless training mixes of `places` of `count` bodies: every body has its turn before any has its next."""
    rng = np.random.default_rng(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < places:
            waiting += rng.permutation(count).tolist()
        mix, waiting = waiting[:places], waiting[places:]
        yield mix


def processor_seconds() -> float:
    """Processor time so far of this process and its children."""
    this, total = psutil.Process(), 0.0
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def memory_in_all() -> dict[str, int]:
    """Memory in bytes of this process and all of its children, and how many "processes" they are.

    "pss" splits the pages that several share among them, "uss" counts only each one's own.
    """
    this, found = psutil.Process(), {"pss": 0, "uss": 0, "processes": 0}
    for process in (this, *this.children(recursive=True)):
        try:
            full = process.memory_full_info()
        except psutil.Error:
            continue
        found["pss"] += int(getattr(full, "pss", full.rss))
        found["uss"] += int(getattr(full, "uss", full.rss))
        found["processes"] += 1
    return found


def larger(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """The one with more memory in all."""
    return max(one, other, key=lambda memory: memory.get("pss", -1))


def _mean(infos: list[dict[str, float]] | None, name: str) -> float | None:
    return float(np.mean([info[name] for info in infos])) if infos else None
