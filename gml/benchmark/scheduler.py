"""The MuJoCo benchmark as a task: values come from episodes in this process instead of from a command."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gml.benchmark.mujoco import LinearPolicyProblem, Measurement
from gml.book import Assignment, entry_of
from gml.errors import ConfigError
from gml.jobs import Job, State
from gml.schedulers.naive_scheduler import NaiveScheduler

CONFIRM_SEED = 1_000_000  # first seed of the episodes that confirm a winner; the search counts up from task.seed
CONFIRM_EPISODES = 10


class MujocoJob(Job):
    """One parameter vector; `start` runs its episodes.

    Attributes:
        problem: what evaluates it; set by the scheduler.
        measured: what came of it, after `start`.
    """

    problem: LinearPolicyProblem
    measured: Measurement

    def start(self, **_: Any) -> None:
        """Runs the episodes."""
        begun = time.monotonic()
        self.measured = self.problem.measure(np.array([self.arg_dict[name] for name in self.names]))
        self.wall_s, self.returncode, self.status = time.monotonic() - begun, 0, State.FINISHED

    @property
    def names(self) -> list[str]:
        """Names of the parameters in their order: a2 before a10."""
        return sorted(self.arg_dict, key=lambda name: (len(name), name))


class MujocoScheduler(NaiveScheduler):
    """Searches linear policies for `scheduler.func_type`; a reached `max_reward` has to hold on fresh episodes."""

    def __init__(
        self, workdir: Path | str, config: Mapping[str, Any], symlink_paths: Sequence[str] = (), *, resume: bool = False
    ):
        """Checks the config; see NaiveScheduler.

        Raises:
            ConfigError: the number of search args is not that of the policy's parameters.
        """
        super().__init__(workdir, config, symlink_paths, resume=resume)
        part, dims = self.config.scheduler, len(self.config.task.search_args)
        try:
            self._problem = LinearPolicyProblem(
                part.func_type,
                normalizer=part.normalizer,
                rollouts=part.rollouts,
                survival_bonus=part.survival_bonus,
                seed=self.config.task.seed,
            )
        except ValueError as error:
            raise ConfigError(f"scheduler.normalizer: {error}") from error
        if dims != self._problem.dims:
            raise ConfigError(f"task.search_args: {part.func_type} needs {self._problem.dims}, there are {dims}")
        self._last_job: MujocoJob | None = None
        self._state_file = self.task.path / "normalizer.json"

    @property
    def best_reward(self) -> float | None:
        """The best full return so far; None before the first."""
        return max((entry_of(trial).get("return", -np.inf) for trial in self.book.trials()), default=None)

    def _loop(self) -> None:
        if self._state_file.exists():
            state = json.loads(self._state_file.read_text(encoding="utf-8"))
            self._problem.num_episodes = state.pop("num_episodes")
            self._problem.statistics.restore(state)
        while not self.is_stop:
            with self.task.gate():
                self.book.sync()
                self._stop_criterion.before_iter(self)
                assignment = None if self.is_stop else self.book.next()
            if assignment is None:
                break
            self._evaluate(assignment)
            self._stop_criterion.after_iter(self)
            self._stop_criterion.watch(self)
            self.is_stop |= self.task.stop_request() is not None

    def _evaluate(self, assignment: Assignment) -> None:
        job = MujocoJob("", assignment.job_name, assignment.arg_dict, job_dir=self.task.jobs / assignment.job_name)
        job.problem = self._problem
        job.start()
        state = {"num_episodes": self._problem.num_episodes, **self._problem.statistics.state()}
        self._state_file.write_text(json.dumps(state), encoding="utf-8")
        details = {"wall_s": round(job.wall_s, 3), "return": job.measured.mean_return}
        self.book.finish(assignment.number, State.FINISHED, job.measured.value, details)
        self._last_job = job

    def reward_reached(self, target: float) -> None:
        """Ends the search only if the newest vector reached the target and holds it on fresh episodes."""
        job = self._last_job
        if job is None or job.measured.mean_return < target:
            return
        first = CONFIRM_SEED + CONFIRM_EPISODES * self.num_tries
        seeds = range(first, first + CONFIRM_EPISODES)
        returns = self._problem.returns(job.measured.policy, seeds)
        mean = float(np.mean(returns))
        print(
            f"{job.name}: return {job.measured.mean_return:.1f}; mean of {CONFIRM_EPISODES} fresh episodes {mean:.1f}",
            flush=True,
        )
        if mean >= target:
            (self.task.path / "winners.yaml").write_text(
                json.dumps({"job": job.name, "fresh_mean": mean, "returns": returns}), encoding="utf-8"
            )
            self.end(f"max_reward {target:g} is reached and held")
