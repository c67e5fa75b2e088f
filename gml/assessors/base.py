"""What an assessor is: something that says of a running job whether it is worth going on."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from gml.registry import Registry

ASSESSORS = Registry("assessor")


class AssessResult(Enum):
    """Good: the job goes on. Bad: it is stopped early."""

    Good = True
    Bad = False


class BaseAssessor:
    """Base of all assessors. History entries are {"iteration", "value", "created"}, oldest first."""

    def assess_job(self, trial_job_id: str, latest_trial_history: Sequence[dict[str, Any]]) -> AssessResult:
        """Returns whether the job should go on; called after every report."""
        raise NotImplementedError

    def job_end(self, trial_job_id: str) -> None:
        """Hears that a job has finished; not called for jobs that failed or were stopped."""
