"""When a search ends, and which configurations are left out."""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gml import values
from gml.jobs import Job
from gml.registry import Registry

if TYPE_CHECKING:
    from gml.schedulers.naive_scheduler import BaseScheduler

STOP_CRITERIONS = Registry("stop_criterion")
FILTER_CRITERIONS = Registry("filter_criterion")


def get_current_time() -> float:
    """Returns the time in seconds since 1970."""
    return time.time()


class BaseStopCriterion:
    """Base of all stop criteria. Setting `scheduler.is_stop = True` ends the dispatch of jobs.

    Attributes:
        job_time_limit_s: after so many seconds a job is killed; None for no limit.
    """

    job_time_limit_s: float | None = None

    def before_run(self, scheduler: "BaseScheduler") -> None:
        """Called before the first job."""

    def before_iter(self, scheduler: "BaseScheduler") -> None:
        """Called before a job is added."""

    def after_iter(self, scheduler: "BaseScheduler") -> None:
        """Called after a job was added."""

    def after_run(self, scheduler: "BaseScheduler") -> None:
        """Called when the last job has ended."""

    def watch(self, scheduler: "BaseScheduler") -> None:
        """Called again and again while jobs run, and after each that ends."""


@STOP_CRITERIONS.register_module()
class DefaultStopCriterion(BaseStopCriterion):
    """Number of tries, time, and a reward that is good enough."""

    def __init__(
        self, max_tries: Any = None, time_limits: Any = None, max_reward: Any = None, time_limits_per_job: Any = None
    ):
        """Takes the limits; each may be missing or inf.

        Args:
            max_tries: configurations that are run, over all schedulers and resumes; without retries and filtered ones.
            time_limits: of the search since its start or resume, in hours, or as 1h, 30m, 90s.
            max_reward: at this reward the search ends; when minimising, at or below it.
            time_limits_per_job: the same units.

        Raises:
            ValueError: a limit out of range; the message names it.
        """
        self._max_tries = _named("max_tries", values.limit, max_tries)
        self._time_limit_s = _named("time_limits", values.hours_s, time_limits)
        self._max_reward = None if max_reward is None else _named("max_reward", values.number, max_reward)
        self.job_time_limit_s = _named("time_limits_per_job", values.hours_s, time_limits_per_job)

    def before_run(self, scheduler: "BaseScheduler") -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def before_iter(self, scheduler: "BaseScheduler") -> None:
        """Ends the dispatch when all tries are used."""
        if self._max_tries is not None and scheduler.num_tries >= self._max_tries:
            scheduler.is_stop = True

    def watch(self, scheduler: "BaseScheduler") -> None:
        """Ends the search when time is up or the reward is reached."""
        if self._time_limit_s is not None and time.monotonic() - self._started > self._time_limit_s:
            scheduler.end(f"time_limits of {self._time_limit_s:g} s is over")
        if self._max_reward is None or math.isinf(self._max_reward):
            return
        best = scheduler.best_reward
        if best is not None and (best >= self._max_reward if scheduler.maximize else best <= self._max_reward):
            scheduler.reward_reached(self._max_reward)


def _named(name: str, read: Any, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


class BaseFilterCriterion:
    """Base of all filters."""

    def filter(self, job: Job) -> bool:
        """Returns True if the job is to be left out; `job.arg_dict` holds its values."""
        raise NotImplementedError


def build_stop_criterion(stop_criterion_cfg: Mapping[str, Any]) -> Any:
    """Makes a stop criterion from {"type": ..., settings}; without a type the default one."""
    settings = dict(stop_criterion_cfg)
    name = settings.pop("type", "DefaultStopCriterion")
    return STOP_CRITERIONS.build(name, path="scheduler.stop_criterion", **settings)


def build_filter_criterion(filter_criterion_cfg: Mapping[str, Any]) -> Any:
    """Makes a filter from {"type": ..., settings}."""
    settings = dict(filter_criterion_cfg)
    name = settings.pop("type", "")
    return FILTER_CRITERIONS.build(name, path="scheduler.filter_criterion", **settings)
