"""Searchers that ask an Optuna sampler: Random, Skopt (Bayesian) and any sampler by its name."""

import inspect
import logging
from typing import Any

import optuna

from gml.searchers.base_searcher import BaseSearcher
from gml.searchers.builder import SEARCHERS
from gml.space import Real, SearchSpace

log = logging.getLogger("gml")
SKOPT_ONLY = (
    "base_estimator",
    "acq_func",
    "acq_optimizer",
    "model_queue_size",
    "acq_func_kwargs",
    "acq_optimizer_kwargs",
)


class SampledSearcher(BaseSearcher):
    """Asks `sampler`."""

    def __init__(self, search_space: SearchSpace, reward_attribute: str, sampler: optuna.samplers.BaseSampler):
        """Keeps the sampler."""
        super().__init__(search_space, reward_attribute)
        self.sampler = sampler


@SEARCHERS.register_module()
class RandomSearcher(SampledSearcher):
    """Draws evenly from the space."""

    def __init__(self, search_space: SearchSpace, reward_attribute: str = "acc", seed: int | None = None):
        """Takes a seed."""
        super().__init__(search_space, reward_attribute, optuna.samplers.RandomSampler(seed=seed))


@SEARCHERS.register_module()
class SkoptSearcher(SampledSearcher):
    """Bayesian optimisation with a Gaussian process, on Optuna's GPSampler."""

    def __init__(
        self,
        search_space: SearchSpace,
        reward_attribute: str = "acc",
        *,
        seed: int | None = None,
        random_state: int | None = None,
        n_initial_points: int | None = None,
        n_random_starts: int | None = None,
        **skopt_only: Any,
    ):
        """Takes the settings of skopt.Optimizer; those that only skopt knows are accepted without effect.

        Args:
            search_space: the space.
            reward_attribute: name of the scalar.
            seed: seed, if `random_state` is not given.
            random_state: seed.
            n_initial_points: random configurations before the model is asked; 10 by default.
            n_random_starts: the old name of that.
            **skopt_only: one of SKOPT_ONLY.

        Raises:
            TypeError: a setting that skopt does not know either.
        """
        for name in skopt_only:
            if name not in SKOPT_ONLY:
                raise TypeError(f"unexpected setting {name!r}")
            log.warning("searcher.%s has no effect: the Bayesian search runs on Optuna's GPSampler", name)
        num_random = n_initial_points or n_random_starts or 10
        chosen = seed if random_state is None else random_state
        sampler = optuna.samplers.GPSampler(seed=chosen, n_startup_trials=num_random)
        super().__init__(search_space, reward_attribute, sampler)


@SEARCHERS.register_module()
class LamctsSearcher(SampledSearcher):
    """Latent-action Monte Carlo tree search over boxes of real numbers."""

    def __init__(
        self,
        search_space: SearchSpace,
        reward_attribute: str = "acc",
        *,
        dims: int | None = None,
        seed: int | None = None,
        **settings: Any,
    ):
        """Takes Real only.

        Args:
            search_space: the space.
            reward_attribute: name of the scalar.
            dims: how many search args there are; checked.
            seed: seed of all draws.
            **settings: of LamctsSampler.

        Raises:
            TypeError: another type of space.
            ValueError: `dims` is wrong.
        """
        from gml.searchers.lamcts import LamctsSampler  # SciPy takes a while to import

        for name, space in search_space.items():
            if not isinstance(space, Real):
                raise TypeError(f"only Real is supported, {name!r} is {type(space).__name__}")
        if dims is not None and dims != len(search_space):
            raise ValueError(f"dims is {dims}, but there are {len(search_space)} search args")
        super().__init__(search_space, reward_attribute, LamctsSampler(seed=seed, **settings))


def optuna_sampler_names() -> list[str]:
    """Returns the names of Optuna's samplers."""
    return [name for name in optuna.samplers.__all__ if name.endswith("Sampler") and name != "BaseSampler"]


def optuna_searcher(name: str, search_space: SearchSpace, reward: str, settings: dict[str, Any]) -> SampledSearcher:
    """Returns a searcher on any Optuna sampler.

    Raises:
        TypeError: the sampler does not take these settings.
    """
    cls = getattr(optuna.samplers, name)
    if "seed" not in inspect.signature(cls).parameters:
        settings.pop("seed", None)
    return SampledSearcher(search_space, reward, cls(**settings))
