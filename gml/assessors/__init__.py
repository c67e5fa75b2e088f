"""Assessors: which running jobs are stopped early."""

import inspect
from collections.abc import Mapping
from typing import Any

from gml.assessors import curve_fitting, median_stop  # noqa: F401 - they register themselves
from gml.assessors.base import ASSESSORS, AssessResult, BaseAssessor
from gml.assessors.pruner import PrunerAssessor, optuna_pruner_names
from gml.errors import ConfigError, unknown

__all__ = ["ASSESSORS", "AssessResult", "BaseAssessor", "build_assessor"]


def build_assessor(assessor_cfg: Mapping[str, Any], *, optimize_mode: str | None = None) -> Any:
    """Makes an assessor from {"type": ..., settings}.

    Args:
        assessor_cfg: its part of the config.
        optimize_mode: for assessors that know one, unless the config gives it.

    Raises:
        ConfigError: unknown type, or settings that it does not take.
    """
    settings = dict(assessor_cfg)
    name = settings.pop("type", None)
    pruners = optuna_pruner_names()
    if name not in ASSESSORS and name not in pruners:
        raise ConfigError(f"scheduler.assessor.type: {unknown('assessor', name, [*ASSESSORS, *pruners])}")
    if name in ASSESSORS:
        if optimize_mode and "optimize_mode" in inspect.signature(ASSESSORS.get(name)).parameters:
            settings.setdefault("optimize_mode", optimize_mode)
        return ASSESSORS.build(name, path="scheduler.assessor", **settings)
    settings.pop("optimize_mode", None)  # a pruner takes the direction from the study
    try:
        return PrunerAssessor(name, settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"scheduler.assessor: {name}: {error}") from error
