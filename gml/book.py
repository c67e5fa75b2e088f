"""The book of a search: its trials in the Optuna study, as the scheduler reads and writes them.

A state is a trial state of Optuna; where that is FAIL, the attribute `gml` of the trial says which: ERROR, KILLED,
FILTERED (left out, never run), or FINISHED (ran well, but there is no score with MOCK_PAVI=2). RUNNING trials of a dead
scheduler are ERROR.
"""

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from gml.errors import DamagedError
from gml.jobs import State
from gml.searchers import BaseSearcher
from gml.space import SearchSpace

ATTRIBUTE = "gml"
FILTERED = "FILTERED"
MAX_REPEATS = 10_000  # known configurations in a row after which a searcher counts as exhausted
LOCK_TIMEOUT_S = 60


@dataclass(frozen=True)
class Assignment:
    """A configuration that is to be run.

    Attributes:
        number: of the trial; also in the name of the job.
        arg_dict: values by name.
        seed: seed of the job.
        retry_of: trial that failed and is run again, None for a new configuration.
    """

    number: int
    arg_dict: Mapping[str, Any]
    seed: int
    retry_of: int | None = None

    @property
    def job_name(self) -> str:
        """Name and folder of the job."""
        return f"job_{self.number:04d}"


def open_storage(db: Path) -> optuna.storages.RDBStorage:
    """Opens a study file so that reading and writing do not block each other and kill -9 loses nothing.

    Raises:
        DamagedError: it is no study.
    """
    settings = {"connect_args": {"timeout": LOCK_TIMEOUT_S}}
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{db}", engine_kwargs=settings)
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        raise DamagedError(f"{db} is no readable study: {error.__cause__ or error}") from error

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()
    return storage


def open_study(db: Path) -> optuna.Study:
    """Opens the only study of a file.

    Raises:
        DamagedError: there is none.
    """
    storage = open_storage(db)
    names = optuna.get_all_study_names(storage)
    if len(names) != 1:
        raise DamagedError(f"{db} must hold one study, it holds {len(names)}")
    return optuna.load_study(study_name=names[0], storage=storage, sampler=optuna.samplers.RandomSampler())


def create_study(db: Path, name: str, *, maximize: bool) -> None:
    """Creates the study."""
    direction = optuna.study.StudyDirection.MAXIMIZE if maximize else optuna.study.StudyDirection.MINIMIZE
    optuna.create_study(storage=open_storage(db), study_name=name, direction=direction, load_if_exists=True)


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
        self.study = open_study(db)
        self.queue = optuna.load_study(
            study_name=self.study.study_name,
            storage=self.study._storage,
            sampler=optuna.samplers.RandomSampler(),
        )
        if searcher.sampler is not None:
            self.study.sampler = searcher.sampler
        self._space, self._searcher, self.scheduler, self._seed = space, searcher, scheduler, seed
        self._distributions = space.distributions()
        self._seen: set[str] = set()
        self._num_read, self._open = 0, set[int]()
        self.maximize = searcher.maximize

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials; finished ones come from memory."""
        return self.study.get_trials(deepcopy=False)

    def num_tries(self) -> int:
        """Returns how many configurations were run: without retries and without those that were filtered."""
        entries = (entry_of(trial) for trial in self.trials())
        return sum("retry_of" not in entry and entry.get("state") != FILTERED for entry in entries)

    def best(self) -> FrozenTrial | None:
        """Returns the finished trial with the best value."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        key = (lambda trial: trial.value) if self.maximize else (lambda trial: -trial.value)
        return max(done, key=key, default=None)

    # Work.
    def next(self) -> Assignment | None:
        """Returns the next configuration: first those that wait to be run again; None when there are no more."""
        if any(trial.state == TrialState.WAITING for trial in self.trials()):
            waiting = self.queue.ask(self._distributions)
            return self._begin(waiting.number, waiting._trial_id, waiting.params, waiting.user_attrs.get(ATTRIBUTE, {}))
        if self._searcher.sampler is not None:
            trial = self.study.ask(self._distributions)
            return self._begin(trial.number, trial._trial_id, trial.params, {})
        return self._next_of_searcher()

    def _begin(self, number: int, trial_id: int, params: Mapping[str, Any], entry: Mapping[str, Any]) -> Assignment:
        assignment = self._assignment(number, params, entry)
        self._write(trial_id, {**entry, **self._first_entry(assignment)})
        return assignment

    def _assignment(self, number: int, params: Mapping[str, Any], entry: Mapping[str, Any]) -> Assignment:
        arg_dict = self._space.arg_dict(self._space.config(params))
        return Assignment(number, arg_dict, entry.get("seed", self._seed + number), entry.get("retry_of"))

    def _first_entry(self, assignment: Assignment) -> dict[str, Any]:
        entry = {"job": assignment.job_name, "scheduler": self.scheduler, "seed": assignment.seed}
        entry |= {"arg_dict": dict(assignment.arg_dict)}
        return entry if assignment.retry_of is None else {**entry, "retry_of": assignment.retry_of}

    def _next_of_searcher(self) -> Assignment | None:
        self._refresh()
        for _ in range(MAX_REPEATS):
            config = self._searcher.get_config()
            if config is None:
                return None
            if self._key(self._space.arg_dict(config)) not in self._seen:
                return self._add(self._space.params(config))
        return None

    def _add(self, params: Mapping[str, Any]) -> Assignment:
        number = len(self.trials())
        assignment = self._assignment(number, params, {})
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params=dict(params),
            distributions=self._distributions,
            user_attrs={ATTRIBUTE: self._first_entry(assignment)},
            system_attrs={},
            intermediate_values={},
        )
        self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
        return assignment

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
        self.study._storage.set_trial_intermediate_value(self._trial_id(number), step, value)

    def finish(self, number: int, state: State | str, value: float | None, details: Mapping[str, Any]) -> None:
        """Closes a trial.

        Args:
            number: of the trial.
            state: how its job ended.
            value: its score, for FINISHED.
            details: what else is kept: reason, returncode, wall_s, ...
        """
        trial_id = self._trial_id(number)
        entry = {**entry_of(self.study._storage.get_trial(trial_id)), **details}
        if state == State.FINISHED and value is not None:
            self._write(trial_id, entry)
            self.study.tell(number, value)
            return
        if state == State.EARLY_STOPPED:
            self._write(trial_id, entry)
            self.study.tell(number, state=TrialState.PRUNED)
            return
        self._write(trial_id, {**entry, "state": str(state)})
        self.study.tell(number, state=TrialState.FAIL)

    def _trial_id(self, number: int) -> int:
        return self.study._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

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
