"""What a searcher is: something that names the next configuration."""

from collections.abc import Mapping
from typing import Any

import optuna

from gml.space import SearchSpace


class BaseSearcher:
    """Base of all searchers.

    A searcher either overrides `get_config`, or has an Optuna `sampler`, which is then asked instead.

    Attributes:
        space: the search space, also as `space.kwspaces`.
        reward_attribute: name of the scalar that is optimised.
        maximize: whether more is better.
        sampler: an Optuna sampler, or None.
    """

    sampler: optuna.samplers.BaseSampler | None = None
    maximize = True

    def __init__(self, search_space: SearchSpace, reward_attribute: str = "acc"):
        """Keeps the space; `_results` maps pickled configurations to rewards, None while there is none."""
        self.space = search_space
        self.reward_attribute = reward_attribute
        self._results: dict[bytes, float | None] = {}

    def get_config(self) -> Mapping[str, Any] | None:
        """Returns the next configuration, or None when there are no more.

        A configuration that the task has had before is skipped: return the next one then.
        """
        raise NotImplementedError

    def _reward_while_pending(self) -> float | None:
        """Returns the reward of a configuration that has been given out but has no result."""
        return None
