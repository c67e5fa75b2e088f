"""Stops jobs that are worse than the median of the finished ones."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from gml.assessors.base import ASSESSORS, AssessResult, BaseAssessor


@ASSESSORS.register_module()
class MedianStopAssessor(BaseAssessor):
    """Bad if the best value so far is worse than the median of the finished jobs' running averages at this report."""

    def __init__(self, optimize_mode: str = "maximize", start_step: int = 0):
        """Takes the rule's settings.

        Args:
            optimize_mode: maximize or minimize.
            start_step: reports before the first judgement.

        Raises:
            ValueError: a setting out of range.
        """
        if optimize_mode not in ("maximize", "minimize") or start_step < 0:
            raise ValueError("needs optimize_mode maximize or minimize and start_step of at least 0")
        self._maximize, self._start_step = optimize_mode == "maximize", start_step
        self._running: dict[str, list[float]] = {}
        self._finished: list[list[float]] = []

    def assess_job(self, trial_job_id: str, latest_trial_history: Sequence[dict[str, Any]]) -> AssessResult:
        """Applies the rule."""
        values = [entry["value"] for entry in latest_trial_history]
        self._running[trial_job_id] = values
        step = len(values)
        averages = sorted(average[step - 1] for average in self._finished if len(average) >= step)
        if step == 0 or step < self._start_step or not averages:
            return AssessResult.Good
        if self._maximize:  # of an even number the lower one, for minimising the upper one: in doubt, go on
            return AssessResult(max(values) >= averages[(len(averages) - 1) // 2])
        return AssessResult(min(values) <= averages[len(averages) // 2])

    def job_end(self, trial_job_id: str) -> None:
        """Adds the job to the finished ones."""
        values = self._running.pop(trial_job_id, [])
        self._finished.append([total / count for count, total in enumerate(accumulate(values), start=1)])
