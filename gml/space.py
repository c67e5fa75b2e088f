"""The search space: what a config's `search_args` say, and how its configurations look to Optuna and to a job.

A configuration is a flat dict: {"batch-size": 512, "config(epochs)": 4, "lr+momentum": {"lr": 0.1, "momentum": 0.9}}.
The last one is Nested: one joint choice. `SearchSpace.arg_dict` dissolves it.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from gml import values
from gml.errors import ConfigError, unknown

log = logging.getLogger("gml")
MAX_GRID = 1_000_000
MAX_WHOLE = 2**53  # the study keeps parameters as doubles


class Space:
    """Base of all spaces."""

    @property
    def data(self) -> Sequence[Any]:
        """The values that a grid visits, or the bounds of a continuous range."""
        raise NotImplementedError

    def distribution(self) -> BaseDistribution:
        """Returns the Optuna distribution."""
        raise NotImplementedError

    def encode(self, value: Any) -> Any:
        """Returns the value as an Optuna parameter."""
        return value

    def decode(self, parameter: Any) -> Any:
        """Returns the value of an Optuna parameter."""
        return parameter


class Categorical(Space):
    """A choice from a list."""

    def __init__(self, data: Sequence[Any]):
        """Keeps the list.

        Raises:
            ValueError: it is empty or holds equal entries.
        """
        if not isinstance(data, (list, tuple)) or not data:
            raise ValueError(f"must be a list with at least one entry, got {data!r}")
        for index, value in enumerate(data):
            if value in data[:index]:
                raise ValueError(f"holds {value!r} twice")
        self._data = list(data)

    @property
    def data(self) -> list[Any]:
        """The choices."""
        return self._data

    def distribution(self) -> CategoricalDistribution:
        """Returns a distribution over the choices; those that are no scalars as JSON text."""
        return CategoricalDistribution([self.encode(value) for value in self._data])

    def encode(self, value: Any) -> Any:
        """Returns scalars as they are, the rest as JSON text."""
        is_scalar = value is None or isinstance(value, (bool, int, float, str))
        return value if is_scalar else json.dumps(value, sort_keys=True)

    def decode(self, parameter: Any) -> Any:
        """Returns the choice of a parameter."""
        return next(value for value in self._data if self.encode(value) == parameter)


class Nested(Categorical):
    """A choice between dicts: their keys move together."""


class _Range(Space):
    def __init__(self, low: Any, high: Any, step: Any, log: bool):
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"must be [low, high] with finite low <= high, got {[low, high]}")
        if step is not None and step <= 0:
            raise ValueError(f"step must be above 0, got {step}")
        if log and (low <= 0 or step is not None):
            raise ValueError("log needs a low above 0 and no step")
        self.low, self.high, self.step, self.log = low, high, step, log


class Real(_Range):
    """Numbers from low to high, both included; with a step only those on its grid."""

    def __init__(self, data: Sequence[Any], step: Any = None, log: bool = False):
        """Takes [low, high]."""
        low, high = _pair(data)
        grid = None if step is None else values.number(step)
        super().__init__(values.number(low), values.number(high), grid, log)
        if grid is not None and (self.high - self.low) / grid > MAX_GRID:
            raise ValueError(f"step {grid:g} gives more than {MAX_GRID} values; leave it out for a continuous range")

    @property
    def data(self) -> list[float]:
        """The grid if there is a step, else [low, high]."""
        if self.step is None:
            return [self.low, self.high]
        num = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [float(f"{self.low + index * self.step:.12g}") for index in range(num)]

    def distribution(self) -> FloatDistribution:
        """Returns the range; on a grid, up to the grid's last point."""
        high = self.high if self.step is None else self.data[-1]
        return FloatDistribution(self.low, high, step=self.step, log=self.log)


class Int(_Range):
    """Whole numbers from low to high, both included."""

    def __init__(self, data: Sequence[Any], step: Any = None, log: bool = False):
        """Takes [low, high]."""
        low, high = _pair(data)
        super().__init__(values.whole(low), values.whole(high), None if step is None else values.whole(step), log)
        if max(-self.low, self.high) > MAX_WHOLE:
            raise ValueError(f"must be within +-{MAX_WHOLE}, got {[self.low, self.high]}")

    @property
    def data(self) -> range:
        """All its numbers."""
        return range(self.low, self.high + 1, self.step or 1)

    def distribution(self) -> IntDistribution:
        """Returns the range."""
        return IntDistribution(self.low, self.data[-1], step=self.step or 1, log=self.log)


class List(Space, list):
    """Several spaces in order."""


class Dict(Space, dict):
    """Several spaces by name."""

    @property
    def kwspaces(self) -> dict[str, Space]:
        """The spaces by name."""
        return dict(self)


def _pair(data: Any) -> Sequence[Any]:
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        raise ValueError(f"must be [low, high], got {data!r}")
    return data


@dataclass(frozen=True)
class FileArg:
    """A file of the user's program that is rewritten for every job.

    Attributes:
        name: placeholder for its path, and prefix of its values: name(key).
        file: the original.
        place_holder: a second text that stands for its path, and the name of the copy; "" for none.
    """

    name: str
    file: str
    place_holder: str


class SearchSpace(Dict):
    """All search args, flat; those of a file as file(key)."""

    def __init__(self, spaces: Mapping[str, Space], files: Sequence[FileArg] = ()):
        """Keeps spaces by name and the files."""
        super().__init__(spaces)
        self.files = tuple(files)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Returns the space for Optuna."""
        return {name: space.distribution() for name, space in self.items()}

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a configuration as Optuna parameters."""
        return {name: space.encode(config[name]) for name, space in self.items()}

    @staticmethod
    def inside(arg: FileArg, arg_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Returns key -> value of what is searched in one file; in `arg_dict` the keys are name(key)."""
        prefix = f"{arg.name}("
        return {key[len(prefix) : -1]: value for key, value in arg_dict.items() if key.startswith(prefix)}

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the configuration of Optuna parameters."""
        return {name: space.decode(params[name]) for name, space in self.items()}

    def arg_dict(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a job sees: Nested dissolved; where names meet, Nested wins."""
        plain = {name: value for name, value in config.items() if not isinstance(self.get(name), Nested)}
        for name, value in config.items():
            if isinstance(self.get(name), Nested):
                file = name.partition("(")[0] if name.endswith(")") else ""
                plain |= {_in_file(file, key): item for key, item in value.items()}
        return dict(sorted(plain.items()))

    def size(self) -> float:
        """Returns how many configurations there are; inf if one range is continuous."""
        counts = [math.inf if isinstance(s, Real) and s.step is None else len(s.data) for s in self.values()]
        return math.prod(counts)


def _in_file(file: str, key: str) -> str:
    return f"{file}({key})" if file else key


KEYS = {
    "Categorical": {"name", "data"},
    "Real": {"name", "data", "step", "log"},
    "Int": {"name", "data", "step", "log"},
    "Nested": {"data"},
    "File": {"name", "file", "place_holder", "search_args", "args"},
}
CLASSES: dict[str, type[Space]] = {"Categorical": Categorical, "Real": Real, "Int": Int}


def read_search_args(content: Any) -> SearchSpace:
    """Reads `search_args`.

    Raises:
        ConfigError: a bad entry; the message starts with its place in the list.
    """
    spaces: dict[str, Space] = {}
    files: list[FileArg] = []
    for name, space in _read_list(content, "", files):
        if name in spaces:
            raise ConfigError(f": {name!r} is searched twice")
        spaces[name] = space
    if not spaces:
        raise ConfigError(": must list at least one search arg")
    return SearchSpace(_without_overridden(spaces), files)


def _read_list(content: Any, file: str, files: list[FileArg]) -> Iterator[tuple[str, Space]]:
    if not isinstance(content, list):
        raise ConfigError(f": must be a list of search args, got {content!r}")
    for index, entry in enumerate(content):
        try:
            yield from _read_entry(entry, file, files)
        except ConfigError as error:
            raise ConfigError(f"[{index}]{error}") from None
        except ValueError as error:
            raise ConfigError(f"[{index}].data: {error}") from None


def _read_entry(entry: Any, file: str, files: list[FileArg]) -> Iterator[tuple[str, Space]]:
    if not isinstance(entry, dict):
        raise ConfigError(f": must be a mapping with a `type`, got {entry!r}")
    kind = entry.get("type")
    if kind not in KEYS:
        raise ConfigError(f".type: {unknown('type', kind, KEYS)}")
    for key in entry:
        if key != "type" and key not in KEYS[kind]:
            raise ConfigError(f".{key}: {unknown('key', key, KEYS[kind])}")
    for key in KEYS[kind] & {"name", "data", "file"}:
        if key not in entry:
            raise ConfigError(f".{key}: is required")
    if kind == "File":
        yield from _read_file(entry, file, files)
    elif kind == "Nested":
        yield _read_nested(entry["data"], file)
    else:
        settings = {key: entry[key] for key in ("data", "step", "log") if key in entry}
        yield _in_file(file, str(entry["name"])), CLASSES[kind](**settings)


def _read_file(entry: dict, outer: str, files: list[FileArg]) -> Iterator[tuple[str, Space]]:
    if outer:
        raise ConfigError(": a File cannot be inside a File")
    if ("search_args" in entry) == ("args" in entry):
        raise ConfigError(": a File needs either `search_args` or `args`")
    spelling = "search_args" if "search_args" in entry else "args"
    name = str(entry["name"])
    files.append(FileArg(name, str(entry["file"]), str(entry.get("place_holder", ""))))
    try:
        yield from _read_list(entry[spelling], name, files)
    except ConfigError as error:
        raise ConfigError(f".{spelling}{error}") from None


def _read_nested(data: Any, file: str) -> tuple[str, Nested]:
    space = Nested(data)
    for choice in space.data:
        if not isinstance(choice, dict) or not choice:
            raise ValueError(f"every entry of Nested must be a mapping, got {choice!r}")
    keys = dict.fromkeys(str(key) for choice in space.data for key in choice)
    return _in_file(file, "+".join(keys)), space


def _without_overridden(spaces: dict[str, Space]) -> dict[str, Space]:
    """Leaves out args that a Nested always sets: they would only multiply equal configurations."""
    kept = dict(spaces)
    for name, space in spaces.items():
        if isinstance(space, Nested):
            file = name.partition("(")[0] if name.endswith(")") else ""
            always = set.intersection(*(set(choice) for choice in space.data))
            for key in always:
                if kept.pop(_in_file(file, key), None):
                    log.warning("search arg %s is left out: Nested %s sets it in every choice", key, name)
    return kept
