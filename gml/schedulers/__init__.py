"""Schedulers, and the criteria that steer them."""

from gml.schedulers.criteria import (
    FILTER_CRITERIONS,
    STOP_CRITERIONS,
    BaseFilterCriterion,
    BaseStopCriterion,
    build_filter_criterion,
    build_stop_criterion,
)
from gml.schedulers.naive_scheduler import BaseScheduler, NaiveScheduler

__all__ = [
    "FILTER_CRITERIONS",
    "STOP_CRITERIONS",
    "BaseFilterCriterion",
    "BaseScheduler",
    "BaseStopCriterion",
    "NaiveScheduler",
    "build_filter_criterion",
    "build_stop_criterion",
]
