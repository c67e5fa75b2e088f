"""Loads the user's Python files; they find gml's registries and base classes without importing them."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from gml.assessors import ASSESSORS, AssessResult, BaseAssessor
from gml.errors import USER_MODULE, ConfigError
from gml.schedulers import criteria
from gml.searchers import SEARCHERS, BaseSearcher

NAMES = {
    "ASSESSORS": ASSESSORS,
    "AssessResult": AssessResult,
    "BaseAssessor": BaseAssessor,
    "BaseFilterCriterion": criteria.BaseFilterCriterion,
    "BaseSearcher": BaseSearcher,
    "BaseStopCriterion": criteria.BaseStopCriterion,
    "FILTER_CRITERIONS": criteria.FILTER_CRITERIONS,
    "SEARCHERS": SEARCHERS,
    "STOP_CRITERIONS": criteria.STOP_CRITERIONS,
    "get_current_time": criteria.get_current_time,
}


def import_user_files(files: Sequence[str]) -> None:
    """Runs Python files, so that the classes in them are registered.

    Raises:
        ConfigError: a file is missing or fails.
    """
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise ConfigError(f"imports: {file} does not exist")
        spec = importlib.util.spec_from_file_location(f"{USER_MODULE}{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"imports: {file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        vars(module).update(NAMES)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # whatever the user's file raises is about the user's file
            raise ConfigError(f"imports: {file}: {type(error).__name__}: {error}") from error
