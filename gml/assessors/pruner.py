"""Any Optuna pruner as an assessor."""

from collections.abc import Sequence
from typing import Any

import optuna

from gml.assessors.base import AssessResult, BaseAssessor


class PrunerAssessor(BaseAssessor):
    """Asks an Optuna pruner; what the jobs report is in the study already.

    Attributes:
        pruner: the pruner; the study needs it too.
        study: set by the scheduler.
        numbers: job id -> trial number; set by the scheduler.
    """

    def __init__(self, name: str, settings: dict[str, Any]):
        """Makes the pruner.

        Raises:
            TypeError, ValueError: it does not take these settings.
        """
        self.pruner = getattr(optuna.pruners, name)(**settings)
        self.study: optuna.Study | None = None
        self.numbers: dict[str, int] = {}

    def assess_job(self, trial_job_id: str, latest_trial_history: Sequence[dict[str, Any]]) -> AssessResult:
        """Asks the pruner about the trial as it is in the study."""
        if self.study is None or trial_job_id not in self.numbers:
            return AssessResult.Good
        trial = self.study.get_trials(deepcopy=False)[self.numbers[trial_job_id]]
        return AssessResult(not self.pruner.prune(self.study, trial))


def optuna_pruner_names() -> list[str]:
    """Returns the names of Optuna's pruners."""
    return [name for name in optuna.pruners.__all__ if name.endswith("Pruner") and name != "BasePruner"]
