"""Searchers that go through a list: Batch and Grid."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gml.searchers.base_searcher import BaseSearcher
from gml.searchers.builder import SEARCHERS
from gml.space import Nested, Real, SearchSpace


@SEARCHERS.register_module()
class GridSearcher(BaseSearcher):
    """Every combination once, in the order of the config; the last search arg moves fastest."""

    def __init__(self, search_space: SearchSpace, reward_attribute: str = "acc"):
        """Takes any space whose ranges are on grids.

        Raises:
            TypeError: a Real without step.
        """
        for name, space in search_space.items():
            if isinstance(space, Real) and space.step is None:
                raise TypeError(f"a grid needs a step for the Real {name!r}")
        super().__init__(search_space, reward_attribute)
        self._configs = self._all()

    def _all(self) -> Iterator[Mapping[str, Any]]:
        for combination in _product([space.data for space in self.space.values()]):
            yield dict(zip(self.space, combination, strict=True))

    def get_config(self) -> Mapping[str, Any] | None:
        """Returns the next point of the grid."""
        return next(self._configs, None)


def _product(choices: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yields what itertools.product does, which would make a list of every range: all memory for seeds up to 2**32."""
    if not choices:
        yield ()
        return
    for first in choices[0]:
        yield from ((first, *rest) for rest in _product(choices[1:]))


@SEARCHERS.register_module()
class BatchSearcher(GridSearcher):
    """The entries of a Nested in their order."""

    def __init__(self, search_space: SearchSpace, reward_attribute: str = "acc"):
        """Takes Nested only.

        Raises:
            TypeError: another type, or a value that is no plain one.
        """
        for name, space in search_space.items():
            if not isinstance(space, Nested):
                raise TypeError(f"only Nested is searched in batches, {name!r} is {type(space).__name__}")
            for choice in space.data:
                for key, value in choice.items():
                    if not isinstance(value, (str, int, float, bool)):
                        raise TypeError(
                            f"only plain values (int, str, ...) are allowed in batches, {key!r} is {value!r}"
                        )
        super().__init__(search_space, reward_attribute)
