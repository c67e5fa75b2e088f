"""The book of a search: its trials in the Optuna study, as the scheduler reads and writes them.

A state is a trial state of Optuna; where that is FAIL, the attribute `gml` of the trial says which: ERROR, KILLED,
FILTERED (left out, never run), or FINISHED (ran well, but there is no score with MOCK_PAVI=2). RUNNING trials of a dead
scheduler are ERROR.
"""

import json
import pickle
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from gml.jobs import State
from gml.rows import job_offset, read_rows
from gml.searchers import BaseSearcher
from gml.space import SearchSpace
from gml.study import LOCK_TIMEOUT_S, open_study

ATTRIBUTE = "gml"
FILTERED = "FILTERED"
MAX_REPEATS = 10_000  # repeated configurations in a row after which a searcher counts as exhausted
COUNTS = "SELECT COUNT(*), COALESCE(SUM(state = 'WAITING'), 0) FROM trials"


@dataclass(frozen=True)
class Assignment:
    """A configuration that is to be run.

    Attributes:
        number: of the trial.
        arg_dict: values by name.
        seed: seed of the job.
        retry_of: trial that failed and is run again, None for a new configuration.
        job_number: the number in the name of the job, if not that of the trial.
    """

    number: int
    arg_dict: Mapping[str, Any]
    seed: int
    retry_of: int | None = None
    job_number: int | None = None

    @property
    def job_name(self) -> str:
        """Name and folder of the job."""
        return f"job_{self.number if self.job_number is None else self.job_number:04d}"


class TrialBook:
    """All trials of a task; every method that hands out work is called inside the task's gate."""

    def __init__(self, db: Path, space: SearchSpace, searcher: BaseSearcher, *, scheduler: str, seed: int):
        """Opens the study.

        Args:
            db: study file.
            space: the search space.
            searcher: what is asked for configurations.
            scheduler: id of this scheduler.
            seed: of the first job.
        """
        rows = read_rows(db)  # says clearly if the file is damaged
        self.study = open_study(db)
        self.queue = optuna.load_study(
            study_name=self.study.study_name,
            storage=self.study._storage,
            sampler=optuna.samplers.RandomSampler(),
        )
        if searcher.sampler is not None:
            self.study.sampler = searcher.sampler
        # Samplers with such a hook also write attributes of the trial they sample for: it has to exist by then.
        self._keeps_notes = type(self.study.sampler).after_trial is not optuna.samplers.BaseSampler.after_trial
        self._space, self._searcher, self.scheduler, self._seed = space, searcher, scheduler, seed
        self._distributions = space.distributions()
        self._seen: set[str] = set()
        self._num_read, self._open = 0, set[int]()
        self._counts = sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=LOCK_TIMEOUT_S)
        self._num_trials, self._has_waiting = 0, False
        self._num_tries: int | None = None
        self._job_offset = job_offset((row.number, row.entry) for row in rows)
        self._mine: dict[int, tuple[int, dict[str, Any]]] = {}  # number -> id and entry of what we run
        self.maximize = searcher.maximize

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials; finished ones come from memory."""
        return self.study.get_trials(deepcopy=False)

    def sync(self) -> None:
        """Looks for trials that another scheduler has added; inside the gate nobody adds any meanwhile."""
        num_trials, num_waiting = self._counts.execute(COUNTS).fetchone()
        self._has_waiting = num_waiting > 0
        if num_trials != self._num_trials or self._num_tries is None:
            entries = [entry_of(trial) for trial in self.trials()]
            tries = ["retry_of" not in entry and entry.get("state") != FILTERED for entry in entries]
            self._num_trials, self._num_tries = num_trials, sum(tries)

    def num_tries(self) -> int:
        """Returns how many configurations were run: without retries and without those that were filtered."""
        if self._num_tries is None:
            self.sync()
        assert self._num_tries is not None
        return self._num_tries

    def best(self, *, without: Collection[int] = ()) -> FrozenTrial | None:
        """Returns the finished trial with the best value, some numbers left out."""
        done = [t for t in self.trials() if t.state == TrialState.COMPLETE and t.number not in without]
        key = (lambda trial: trial.value) if self.maximize else (lambda trial: -trial.value)
        return max(done, key=key, default=None)

    # Work.
    def next(self) -> Assignment | None:
        """Returns the next configuration: first those that wait to be run again; None when there are no more."""
        if self._has_waiting:
            waiting = self.queue.ask(self._distributions)
            return self._begin(waiting.number, waiting._trial_id, waiting.params, waiting.user_attrs.get(ATTRIBUTE, {}))
        if self._searcher.sampler is not None and not self._keeps_notes:
            return self._add(self._drawn(self._searcher.sampler))
        if self._searcher.sampler is not None:
            trial = self.study.ask(self._distributions)
            self._count()
            return self._begin(trial.number, trial._trial_id, trial.params, {})
        return self._next_of_searcher()

    def _count(self) -> None:
        assert self._num_tries is not None
        self._num_trials, self._num_tries = self._num_trials + 1, self._num_tries + 1

    def _begin(self, number: int, trial_id: int, params: Mapping[str, Any], entry: Mapping[str, Any]) -> Assignment:
        assignment = self._assignment(number, params, entry)
        self._mine[number] = trial_id, {**entry, **self._first_entry(assignment)}
        self._write(*self._mine[number])
        return assignment

    def _assignment(self, number: int, params: Mapping[str, Any], entry: Mapping[str, Any]) -> Assignment:
        arg_dict = self._space.arg_dict(self._space.config(params))
        job_number = number + self._job_offset
        seed = entry.get("seed", self._seed + job_number)
        return Assignment(number, arg_dict, seed, entry.get("retry_of"), job_number)

    def _first_entry(self, assignment: Assignment) -> dict[str, Any]:
        entry = {"job": assignment.job_name, "scheduler": self.scheduler, "seed": assignment.seed}
        entry |= {"arg_dict": dict(assignment.arg_dict)}
        return entry if assignment.retry_of is None else {**entry, "retry_of": assignment.retry_of}

    def _next_of_searcher(self) -> Assignment | None:
        self._refresh()
        for _ in range(len(self._seen) + MAX_REPEATS):  # after a resume a list begins anew, with all that is known
            config = self._searcher.get_config()
            if config is None:
                return None
            if self._key(self._space.arg_dict(config)) not in self._seen:
                return self._add(self._space.params(config))
        return None

    def _drawn(self, sampler: optuna.samplers.BaseSampler) -> dict[str, Any]:
        """Returns what a sampler draws, as `study.ask` does, but without a database transaction for every parameter."""
        trial = self._template({}, {}, number=self._num_trials)
        sampler.before_trial(self.study, trial)
        space = sampler.infer_relative_search_space(self.study, trial)
        drawn = sampler.sample_relative(self.study, trial, space)
        return {
            name: drawn[name] if name in drawn else sampler.sample_independent(self.study, trial, name, distribution)
            for name, distribution in self._distributions.items()
        }

    def _add(self, params: Mapping[str, Any]) -> Assignment:
        number = self._num_trials
        self._count()
        assignment = self._assignment(number, params, {})
        entry = self._first_entry(assignment)
        template = self._template(params, {ATTRIBUTE: entry})
        self._mine[number] = self.study._storage.create_new_trial(self.study._study_id, template_trial=template), entry
        return assignment

    def _template(self, params: Mapping[str, Any], attributes: dict[str, Any], *, number: int = -1) -> FrozenTrial:
        return FrozenTrial(
            number=number,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params=dict(params),
            distributions=self._distributions if params else {},
            user_attrs=attributes,
            system_attrs={},
            intermediate_values={},
        )

    def _refresh(self) -> None:
        """Reads what is new, also from other schedulers: configurations that are taken, and results."""
        trials = self.trials()
        for number in [*sorted(self._open), *range(self._num_read, len(trials))]:
            trial = trials[number]
            if trial.params.keys() == self._distributions.keys():
                config = self._space.config(trial.params)
                self._seen.add(self._key(self._space.arg_dict(config)))
                pending = self._searcher._reward_while_pending()
                reward = trial.value if trial.state == TrialState.COMPLETE else pending
                self._searcher._results[pickle.dumps(config)] = reward
        self._open = {trial.number for trial in trials if not trial.state.is_finished()}
        self._num_read = len(trials)

    @staticmethod
    def _key(arg_dict: Mapping[str, Any]) -> str:
        return json.dumps(arg_dict, sort_keys=True, default=str)

    # Results.
    def report(self, number: int, step: int, value: float) -> None:
        """Adds a point to the curve of a running trial."""
        self.study._storage.set_trial_intermediate_value(self._mine[number][0], step, value)

    def finish(self, number: int, state: State | str, value: float | None, details: Mapping[str, Any]) -> None:
        """Closes a trial.

        Args:
            number: of the trial.
            state: how its job ended.
            value: its score, for FINISHED.
            details: what else is kept: reason, returncode, wall_s, ...
        """
        trial_id, entry = self._mine.pop(number) if number in self._mine else self._of_another(number)
        entry |= details
        if state == State.FINISHED and value is not None:
            self._write(trial_id, entry)
            self._tell(number, trial_id, TrialState.COMPLETE, value)
        elif state == State.EARLY_STOPPED:
            self._write(trial_id, entry)
            self.study.tell(number, state=TrialState.PRUNED)  # its last report becomes its value
        else:
            self._write(trial_id, {**entry, "state": str(state)})
            self._tell(number, trial_id, TrialState.FAIL, None)
        if state == FILTERED:
            self._num_tries = None

    def _tell(self, number: int, trial_id: int, state: TrialState, value: float | None) -> None:
        if self._keeps_notes:
            self.study.tell(number, value, state)
        else:
            self.study._storage.set_trial_state_values(trial_id, state, None if value is None else [value])

    def _of_another(self, number: int) -> tuple[int, dict[str, Any]]:
        trial = self.trials()[number]
        return trial._trial_id, dict(entry_of(trial))

    def _write(self, trial_id: int, entry: Mapping[str, Any]) -> None:
        self.study._storage.set_trial_user_attr(trial_id, ATTRIBUTE, dict(entry))

    # After the end of a scheduler.
    def close_orphans(self, is_live: Any, state: State, reason: str) -> Iterator[str]:
        """Closes the RUNNING trials of dead schedulers; yields the names of their jobs."""
        for trial in self.trials():
            entry = entry_of(trial)
            if trial.state != TrialState.RUNNING or is_live(entry.get("scheduler", "")):
                continue
            if trial.params.keys() != self._distributions.keys():  # its scheduler died while choosing: never a job
                self.finish(trial.number, FILTERED, None, {"reason": "the scheduler died while choosing it"})
                continue
            yield entry.get("job", "")
            self.finish(trial.number, state, None, {"reason": reason, "arg_dict": self._args(trial)})

    def close_waiting(self, state: State, reason: str) -> None:
        """Closes the trials that wait to be run again."""
        while any(trial.state == TrialState.WAITING for trial in self.trials()):
            waiting = self.queue.ask(self._distributions)
            self.finish(waiting.number, state, None, {"reason": reason, "arg_dict": self._args(waiting)})

    def queue_errors(self) -> int:
        """Puts every ERROR trial that has not been run again into the queue; returns how many."""
        superseded = {entry_of(trial).get("retry_of") for trial in self.trials()}
        failed = [t for t in self.trials() if entry_of(t).get("state") == State.ERROR and t.number not in superseded]
        for trial in failed:
            seed = entry_of(trial).get("seed", self._seed + trial.number)
            self.queue.enqueue_trial(trial.params, user_attrs={ATTRIBUTE: {"retry_of": trial.number, "seed": seed}})
        return len(failed)

    def _args(self, trial: FrozenTrial | optuna.Trial) -> dict[str, Any]:
        return self._space.arg_dict(self._space.config(trial.params))


def entry_of(trial: FrozenTrial) -> dict[str, Any]:
    """Returns what gml keeps with a trial."""
    return trial.user_attrs.get(ATTRIBUTE, {})
