"""Searchers: what names the next configuration."""

import inspect
from typing import Any

from gml.config import SearcherConfig
from gml.errors import ConfigError, unknown
from gml.searchers import evolution, listed, sampled  # noqa: F401 - they register themselves
from gml.searchers.base_searcher import BaseSearcher
from gml.searchers.builder import SEARCHERS
from gml.space import SearchSpace

__all__ = ["SEARCHERS", "BaseSearcher", "build_searcher"]


def build_searcher(config: SearcherConfig, space: SearchSpace, *, seed: int) -> BaseSearcher:
    """Makes the searcher of a config.

    Args:
        config: its part of the search config.
        space: the search space.
        seed: for searchers that draw, unless the config gives them one.

    Raises:
        ConfigError: unknown type, or a setting or space that it does not take.
    """
    samplers = sampled.optuna_sampler_names()
    if config.type not in SEARCHERS and config.type not in samplers:
        raise ConfigError(f"searcher.type: {unknown('searcher', config.type, [*SEARCHERS, *samplers])}")
    try:
        searcher = _make(config, space, seed)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"searcher: {config.type}: {error}") from error
    searcher.maximize = config.optimize_mode == "maximize"
    return searcher


def _make(config: SearcherConfig, space: SearchSpace, seed: int) -> BaseSearcher:
    settings: dict[str, Any] = dict(config.settings)
    if config.type not in SEARCHERS:
        return sampled.optuna_searcher(config.type, space, config.reward_attribute, {"seed": seed, **settings})
    cls = SEARCHERS.get(config.type)
    if "seed" in inspect.signature(cls).parameters:
        settings.setdefault("seed", seed)
    return cls(space, reward_attribute=config.reward_attribute, **settings)
