"""Evolution: a random first population, then crossover and mutation of two random parents."""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from gml.searchers.base_searcher import BaseSearcher
from gml.searchers.builder import SEARCHERS
from gml.space import Real, SearchSpace, Space

STEP_SHARE = 0.2  # standard deviation of a mutation, as a share of the range


@SEARCHERS.register_module(alias="EvolutionSearhcer")  # the misspelt name is in old configs
class EvolutionSearcher(BaseSearcher):
    """Breeds configurations; each is made once and given out once.

    Parents come from the best `population_size` configurations with a reward.
    """

    def __init__(
        self,
        search_space: SearchSpace,
        reward_attribute: str = "acc",
        *,
        population_size: int = 32,
        mutate_prob: float = 0.1,
        gen_trial_limit: int = 100,
        seed: int | None = 2021,
    ):
        """Takes the settings.

        Args:
            search_space: the space.
            reward_attribute: name of the scalar.
            population_size: founders, and most parents.
            mutate_prob: probability that a value is changed at random.
            gen_trial_limit: attempts at a new configuration before the search counts as exhausted.
            seed: seed of all draws.

        Raises:
            ValueError: a setting out of range.
        """
        if population_size < 2 or gen_trial_limit < 1 or not 0 <= mutate_prob <= 1:
            raise ValueError("needs population_size >= 2, gen_trial_limit >= 1 and mutate_prob in [0, 1]")
        super().__init__(search_space, reward_attribute)
        self._population_size, self._mutate_prob, self._limit = population_size, mutate_prob, gen_trial_limit
        self._rng = np.random.default_rng(seed)

    def get_config(self) -> Mapping[str, Any] | None:
        """Returns a founder while there are fewer than `population_size`, then a child; None if all attempts fail."""
        for _ in range(self._limit):
            config = self._founder() if len(self._results) < self._population_size else self._child()
            key = pickle.dumps(config)
            if key not in self._results:
                self._results[key] = self._reward_while_pending()
                return config
        return None

    def _founder(self) -> dict[str, Any]:
        return {name: self._draw(space) for name, space in self.space.items()}

    def _child(self) -> dict[str, Any]:
        scored = [(reward, key) for key, reward in self._results.items() if reward is not None]
        if len(scored) < 2:
            return self._founder()
        scored.sort(key=lambda pair: pair[0], reverse=self.maximize)
        parents = scored[: self._population_size]
        one, two = (pickle.loads(parents[index][1]) for index in self._rng.choice(len(parents), 2, replace=False))
        names = list(self.space)
        begin, end = sorted(self._rng.integers(0, len(names) + 1, 2))
        child = {name: (two if begin <= index < end else one)[name] for index, name in enumerate(names)}
        return {name: self._mutated(self.space[name], value) for name, value in child.items()}

    def _mutated(self, space: Space, value: Any) -> Any:
        if self._rng.random() >= self._mutate_prob:
            return value
        if isinstance(space, Real) and space.step is None:
            low, high = _scaled(space, space.low), _scaled(space, space.high)
            moved = self._rng.normal(_scaled(space, value), STEP_SHARE * (high - low))
            return _unscaled(space, min(max(moved, low), high))
        return self._draw(space)

    def _draw(self, space: Space) -> Any:
        if isinstance(space, Real) and space.step is None:
            return _unscaled(space, self._rng.uniform(_scaled(space, space.low), _scaled(space, space.high)))
        return space.data[int(self._rng.integers(len(space.data)))]


def _scaled(space: Real, value: float) -> float:
    return float(np.log(value)) if space.log else value


def _unscaled(space: Real, value: float) -> float:
    return float(min(max(np.exp(value) if space.log else value, space.low), space.high))
