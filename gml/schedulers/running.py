"""A job while it runs: what it has reported, and what the assessor thinks of it."""

import math
from dataclasses import dataclass, field
from typing import Any

from gml.assessors import AssessResult
from gml.book import Assignment, TrialBook
from gml.jobs import Job, State
from gml.scores import JobScalars

MAX_CURVE_POINTS = 1000  # of one trial in the study; the whole curve is in the job's scalar file


@dataclass
class Running:
    """A started job and its configuration.

    Attributes:
        assignment: the configuration.
        job: the job.
        scalars: what it reports.
    """

    assignment: Assignment
    job: Job
    scalars: JobScalars
    _steps: set[int] = field(default_factory=set)
    _assessed: int = 0

    def watch(self, book: TrialBook, assessor: Any, *, is_final: bool = False) -> None:
        """Reads new scalars, adds them to the study, and asks the assessor."""
        for entry in self.scalars.read(is_final=is_final):
            step = entry["iteration"]
            if step >= 0 and step not in self._steps and len(self._steps) < MAX_CURVE_POINTS:
                self._steps.add(step)
                book.report(self.assignment.number, step, entry["value"])
            self._assessed += 1
            history = self.scalars.rewards[: self._assessed]
            if assessor and assessor.assess_job(self.job.name, history) == AssessResult.Bad and not is_final:
                self.job.stop(State.EARLY_STOPPED, f"{type(assessor).__name__} after {self._assessed} reports")
                return

    def outcome(self, *, needs_score: bool) -> tuple[State, float | None, str]:
        """Returns state, score and reason of the job that has ended."""
        score, job = self.scalars.score, self.job
        if job.status != State.FINISHED:
            return job.status, None, job.reason
        if score is None and needs_score:
            names = ", ".join(sorted(self.scalars.history)) or "nothing"
            return State.ERROR, None, f"no score was reported; reported: {names}"
        if score is not None and not math.isfinite(score):
            return State.ERROR, None, f"the score is {score}"
        return State.FINISHED, score, ""
