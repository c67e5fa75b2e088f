"""The scheduler: asks for configurations, runs them as jobs, and keeps the book."""

import errno
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from gml import signals
from gml.assessors import build_assessor
from gml.assessors.pruner import PrunerAssessor
from gml.book import FILTERED, Assignment, TrialBook, entry_of
from gml.compare import compare_url
from gml.config import TypedConfig, read_config
from gml.environment import make_slots, mock_mode
from gml.errors import ConfigError, UserError
from gml.fill import unknown_placeholders
from gml.jobs import Job, JobPool, Retry, State
from gml.jobs.kinds import job_class
from gml.jobs.project import linked_paths
from gml.launch import RESERVED, Launcher
from gml.plugins import import_user_files
from gml.render import render_file
from gml.rows import read_rows
from gml.schedulers.criteria import build_filter_criterion, build_stop_criterion
from gml.schedulers.running import Running
from gml.schedulers.session import enter
from gml.searchers import build_searcher
from gml.task import TaskFolder
from gml.winners import check_winners

log = logging.getLogger("gml")
WATCH_S = 0.25  # between two looks at what the jobs report
MAX_FILTERED = 1000  # configurations in a row that the filter leaves out before the search ends


class BaseScheduler:
    """What criteria see of a scheduler.

    Attributes:
        is_stop: True ends the dispatch of jobs; what runs may end by itself.
        step: for the user's criteria.
        maximize: whether more is better.
        refuted: numbers of trials whose score did not hold on fresh seeds.
    """

    is_stop = False
    step = 0
    maximize = True
    book: TrialBook
    refuted: frozenset[int] = frozenset()

    @property
    def num_tries(self) -> int:
        """Configurations that were run, over all schedulers of the task."""
        return self.book.num_tries()

    @property
    def best_reward(self) -> float | None:
        """The best score so far; None before the first."""
        best = self.book.best(without=self.refuted)
        return best.value if best else None

    def end(self, reason: str) -> None:
        """Ends the search: no more jobs, and those that run are killed."""
        raise NotImplementedError

    def reward_reached(self, target: float) -> None:
        """Hears that the best reward is good enough."""
        self.end(f"max_reward {target:g} is reached")


class NaiveScheduler(BaseScheduler):
    """Runs a search on this machine, or through Slurm, containers or the user's commands."""

    def __init__(
        self, workdir: Path | str, config: Mapping[str, Any], symlink_paths: Sequence[str] = (), *, resume: bool = False
    ):
        """Checks everything that can be checked before something starts.

        Args:
            workdir: folder of the task; its last part is the task's name.
            config: the search config as a dict.
            symlink_paths: jobs then run in a copy of the current folder, with these paths linked instead of copied.
            resume: go on with a task that exists, its ERROR jobs first.

        Raises:
            ConfigError: something is wrong with the config.
            UserError: something is wrong with the environment.
        """
        self._content, self.config = dict(config), read_config(config)
        self.task, self._symlink_paths, self._resume = TaskFolder(workdir), tuple(symlink_paths), resume
        self.maximize = self.config.searcher.optimize_mode == "maximize"
        import_user_files(self.config.imports)
        self._mock = mock_mode()
        self._stop_criterion = build_stop_criterion(_cfg(self.config.scheduler.stop_criterion))
        chosen = self.config.scheduler.filter_criterion
        self._filter = build_filter_criterion(_cfg(chosen)) if chosen else None
        self._assessor = self._make_assessor()
        self._slots = make_slots(self.config)
        self._retry = self._make_retry()
        self._check_job()
        build_searcher(self.config.searcher, self.config.task.search_args, seed=0)
        self._check_template()
        self._check_files()
        self._running: dict[Job, Running] = {}
        self._is_exhausted = False
        self._end: tuple[State, str] | None = None
        self._candidate: int | None = None
        self._target = 0.0

    def _make_assessor(self) -> Any:
        chosen = self.config.scheduler.assessor
        if chosen is None:
            return None
        if self._mock == "2":
            log.warning("MOCK_PAVI=2: the assessor and max_reward have no effect")
            return None
        return build_assessor(_cfg(chosen), optimize_mode=self.config.searcher.optimize_mode)

    def _make_retry(self) -> Retry:
        retry = self.config.scheduler.retry
        try:
            return Retry(retry.times, frozenset(retry.on), frozenset(retry.exit_codes))
        except ValueError as error:
            raise ConfigError(f"scheduler.retry: {error}") from error

    def _check_job(self) -> None:
        kind = job_class(self.config.job.type, self.config.task.template)
        try:
            kind("", "check").configure(**self.config.job.settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"job: {self.config.job.type}: {error}") from error

    def _check_template(self) -> None:
        args, template = self.config.task.search_args, self.config.task.template
        names = [name for config in _some_configs(args) for name in args.arg_dict(config)]
        files = [text for arg in args.files for text in (arg.name, arg.place_holder)]
        for name in dict.fromkeys(names):
            if template and "(" not in name and f"{{{name}}}" not in template:
                log.warning("search arg %s does not occur in task.template as {%s}", name, name)
        for name in unknown_placeholders(template, [*names, *files, *RESERVED]):
            log.warning("task.template: {%s} is no search arg and stays as it is", name)

    def _check_files(self) -> None:
        """Renders every file of the program once, and looks for the paths that are to be linked."""
        args = self.config.task.search_args
        with tempfile.TemporaryDirectory() as folder:
            for arg in args.files:
                insides = [args.inside(arg, args.arg_dict(config)) for config in _some_configs(args)]
                for inside in {tuple(inside): inside for inside in insides}.values():
                    render_file(arg, inside, Path(arg.file), Path(folder))
        try:
            linked_paths(Path.cwd(), self._symlink_paths)
        except ValueError as error:
            raise UserError(f"--symlinks: {error}") from None

    # The search.
    def run(self) -> TrialBook:
        """Runs the search to its end.

        Returns:
            The book of all trials.

        Raises:
            UserError: the task cannot be entered.
        """
        with enter(self.task, self._content, self.config, resume=self._resume) as self.book:
            name, compare = self.task.name, self.task.compare_id()
            log.info("task %s: %s", name, self.task.path)
            log.info("compare %s: %s (served by: search-ctl dashboard -t %s)", compare, compare_url(compare), name)
            self._launcher = self._make_launcher(compare)
            self._prepare_assessor()
            self._stop_criterion.before_run(self)
            self._loop()
            while self._candidate is not None and not self._holds(self._candidate):
                self._loop()
            self._stop_criterion.after_run(self)
        return self.book

    def _make_launcher(self, compare_id: str) -> Launcher:
        return Launcher(
            self.config,
            self.task,
            mock=self._mock,
            compare_id=compare_id,
            symlink_paths=self._symlink_paths,
            timeout_s=getattr(self._stop_criterion, "job_time_limit_s", None),
        )

    def _prepare_assessor(self) -> None:
        """Tells the assessor of the jobs that finished before; gives a pruner its study."""
        if isinstance(self._assessor, PrunerAssessor):
            self._assessor.study = self.book.study
            self.book.study.pruner = self._assessor.pruner
        elif self._assessor is not None:
            for trial in self.book.trials():
                if trial.state == optuna.trial.TrialState.COMPLETE:
                    curve = sorted(trial.intermediate_values.items())
                    history = [{"iteration": step, "value": value, "created": 0} for step, value in curve]
                    self._assessor.assess_job(entry_of(trial).get("job", ""), history)
                    self._assessor.job_end(entry_of(trial).get("job", ""))

    def _loop(self) -> None:
        self._pool = JobPool(self._slots)
        try:
            while self._dispatch() or self._running:
                signals.check()
                for job in self._pool.wait(WATCH_S):
                    self._ended(job)
                self._watch()
        except BaseException as error:
            self._close_all(State.ERROR, f"interrupted: {error or type(error).__name__}")
            raise
        finally:
            self._pool.close()

    def _dispatch(self) -> bool:
        """Starts jobs while there is room; returns whether more may come."""
        num_filtered = 0
        while not (self.is_stop or self._is_exhausted) and self._pool.has_room():
            signals.check()
            with self.task.gate():
                self.book.sync()
                self._stop_criterion.before_iter(self)
                assignment = None if self.is_stop else self.book.next()
            if assignment is None:
                self._is_exhausted = not self.is_stop
                if self._is_exhausted:
                    log.info("the searcher has no further configuration")
                break
            if not self._start(assignment):
                num_filtered += 1
                if num_filtered >= MAX_FILTERED:
                    log.warning("the filter left out %d configurations in a row; the search ends", num_filtered)
                    self._is_exhausted = True
            self._stop_criterion.after_iter(self)
        return not (self.is_stop or self._is_exhausted)

    def _start(self, assignment: Assignment) -> bool:
        job = self._launcher.make(assignment)
        if self._filter and assignment.retry_of is None and self._filter.filter(job):
            self.book.finish(assignment.number, FILTERED, None, {"reason": "left out by the filter"})
            return False
        self._launcher.write(assignment, job)
        self._running[job] = Running(assignment, job, self._launcher.scalars(assignment, job))
        if isinstance(self._assessor, PrunerAssessor):
            self._assessor.numbers[job.name] = assignment.number
        try:
            self._pool.start(job)
        except OSError as error:
            if error.errno != errno.E2BIG:
                raise
            job.stop(State.ERROR, "its command or environment is too long")  # this job's values only
            self._record(self._running.pop(job))
        return True

    def _watch(self) -> None:
        for running in list(self._running.values()):
            running.watch(self.book, self._assessor)
        if self._mock != "2" and hasattr(self._stop_criterion, "watch"):
            self._stop_criterion.watch(self)
        request = self.task.stop_request()
        if request and self._end is None:
            self._end = (State(request["state"]), request["reason"])
            log.info("stopping: %s", request["reason"])
            self.is_stop = True
            for job in self._pool.running:
                job.stop(*self._end)

    def end(self, reason: str) -> None:
        """Ends the search, that of the other schedulers of the task too; jobs that run are killed."""
        if self.task.stop_request() is None:
            self.task.request_stop(State.KILLED, reason)

    def reward_reached(self, target: float) -> None:
        """Ends the search; with `winner_check` only once the reward holds on fresh seeds."""
        if not self.config.winner_check.top:
            super().reward_reached(target)
        elif self._candidate is None and (best := self.book.best(without=self.refuted)):
            log.info("max_reward %g is reached by %s; to be checked on fresh seeds", target, entry_of(best).get("job"))
            self._candidate, self._target, self.is_stop = best.number, target, True

    def _holds(self, number: int) -> bool:
        """Runs a candidate again; if its mean misses the target the search goes on."""
        row = [row for row in read_rows(self.task.db) if row.number == number]
        mean = check_winners(self.task, top=1, seeds=self.config.winner_check.seeds, rows=row)[0].mean
        holds = mean is not None and (mean >= self._target if self.maximize else mean <= self._target)
        log.info("mean on fresh seeds: %s; %s", mean, "the search ends" if holds else "the search goes on")
        self._candidate = None
        if holds:
            self.end(f"max_reward {self._target:g} is reached and held")
        else:
            self.refuted |= {number}
            self.is_stop = self.task.stop_request() is not None
        return holds

    def _ended(self, job: Job) -> None:
        running = self._running.pop(job)
        if self._retry.allows(job) and not self.is_stop:
            log.info("%s: %s; try %d of %d", job.name, job.reason, job.attempt + 2, self._retry.times + 1)
            again = job.again()
            self._running[again] = Running(running.assignment, again, self._launcher.scalars(running.assignment, again))
            self._pool.start(again)
            return
        running.watch(self.book, self._assessor, is_final=True)
        self._record(running)

    def _record(self, running: Running) -> None:
        state, score, reason = running.outcome(needs_score=self._mock != "2")
        job = running.job
        details = {"reason": reason, "returncode": job.returncode, "wall_s": round(job.wall_s, 3), "gpu": job.gpu}
        self.book.finish(running.assignment.number, state, score, {**details, "attempts": job.attempt + 1})
        if state == State.FINISHED and self._assessor is not None:
            self._assessor.job_end(job.name)
        if not self.config.generate_log:
            job.log_file.unlink(missing_ok=True)
        shown = "" if score is None else f" {self.config.searcher.reward_attribute} {score:g}"
        log.info("%s %s%s%s", running.assignment.job_name, state, shown, f" ({reason})" if reason else "")

    def _close_all(self, state: State, reason: str) -> None:
        """Ends what runs and writes down what became of it; PENDING jobs get the same state."""
        for job in self._pool.end_all(state, reason):
            self._record(self._running.pop(job))
        with self.task.gate():
            if self.task.live_schedulers() == [self.book.scheduler]:
                self.book.close_waiting(state, reason)


def _cfg(typed: TypedConfig) -> dict[str, Any]:
    return {"type": typed.type, **typed.settings}


def _some_configs(args: Any) -> list[dict[str, Any]]:
    """Returns configurations in which every name occurs."""
    longest = max(len(space.data) for space in args.values())
    return [
        {name: space.data[min(index, len(space.data) - 1)] for name, space in args.items()}
        for index in range(min(longest, 100))
    ]
