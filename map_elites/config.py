"""Settings: frozen dataclasses, filled from YAML and flags, checked as a whole before anything starts.

This file has the loading and the sections of the search. The sections of the learner and of the environment belong
to their own rooms; `trainer.TrainConfig` nests all of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from map_elites.descriptors import Descriptor, make_axes
from map_elites.errors import UserError

T = TypeVar("T")
LONGEST_CONFIG = 1_000_000  # characters
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class ConfigError(UserError):
    """Settings are wrong; `problems` holds one line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def option(default: Any, help_text: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A field with its sentence and, for numbers, its range (both ends allowed)."""
    metadata = {"help": help_text, "low": low, "high": high}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def check_ranges(settings: Any) -> None:
    """Checks every `option` of one section against its range.

    Raises:
        ConfigError: With all fields that are out of range or not finite.
    """
    problems = []
    for item in dataclasses.fields(settings):
        value, low, high = getattr(settings, item.name), item.metadata.get("low"), item.metadata.get("high")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            limits = f"in [{low}, {high}]" if high is not None else f"at least {low}"
            problems.append(f"{item.name}: must be {limits if low is not None else 'finite'}, got {value}")
    if problems:
        raise ConfigError(problems)


def default_workers() -> int:
    """75 % of the cores this process may use, rounded, at least 1; the learner shares them."""
    return max(1, round(0.75 * len(os.sched_getaffinity(0))))


# -- sections of the search --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunConfig:
    """One run: where, how long, how parallel."""

    results_dir: str = option("results", "folder that gets the run folder")
    name: str | None = option(None, "name of the run folder; by default date, mode and seed")
    seed: int = option(0, "seed of everything random", low=0, high=2**31 - 1)
    total_steps: int = option(
        10_000_000, "control steps over all workers, evaluation included, final verification not", low=1
    )
    mode: Literal["async", "sync"] = option("async", "sync is reproducible: same seed, same archive")
    shared: bool = option(True, "one policy for all bodies; false: every individual trains its own")
    multiprocess: bool = option(True, "false runs everything in this process")
    max_workers: int = option(default_workers, "worker processes", low=1, high=1024)
    checkpoint_interval_s: float = option(30.0, "seconds between checkpoints", low=0.1)
    keep_checkpoints: int = option(2, "newest checkpoints that stay on disk, beside the first", low=1)
    log_interval_s: float = option(10.0, "longest silence of training.log, seconds", low=0.1, high=10.0)
    log_file: str = option("training.log", "second copy of the log, in the working folder by default; '' for none")

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class ArchiveConfig:
    """The grid."""

    descriptors: tuple[str, ...] = option(("ground_contact_share", "body_height"), "axes of the archive, by name")
    bins: tuple[int, ...] = option((), "bins per axis; empty keeps each descriptor's own")
    ranges: Mapping[str, tuple[float, float]] = option(dict, "low and high end by descriptor, where not the default")

    def __post_init__(self) -> None:
        self.axes()

    def axes(self) -> tuple[Descriptor, ...]:
        """The descriptors with their bins and ranges."""
        return make_axes(self.descriptors, bins=self.bins, ranges=self.ranges)


@dataclass(frozen=True)
class EvolutionConfig:
    """Who trains, who is born, when."""

    num_screened: int = option(
        256,
        "shared: bodies that try random gaits at the start, random ones, then children of the fastest; "
        "0: the first population is random",
        low=0,
    )
    screening_episodes: int = option(8, "gaits that each of them tries", low=1, high=256)
    num_founders: int = option(
        4, "lines of descent, those of the fastest of them, that the first population is taken from", low=1
    )
    num_initial_random: int = option(
        16, "bodies of the warm-up, the first population: the fastest of those lines, or random", low=1
    )
    training_steps_per_individual: int = option(
        2000, "shared: control steps a newborn trains before it can lose; independent: its whole budget", low=1
    )
    warmup_steps_per_individual: int = option(
        10_000, "control steps for each of them before selection starts ...", low=1
    )
    warmup_share: float = option(0.4, "... but for all together at most this share of total_steps", high=0.9, low=0.0)
    bodies_per_worker: int = option(8, "bodies a worker rolls out at a time", low=1, high=256)
    newborn_share: float = option(
        0.5, "share of those places for newborns; elites rehearse in the others", low=0.05, high=1.0
    )
    litter_size: int = option(
        8,
        "shared: children that try the policy for one episode, for each newborn, in no more steps than it trains; "
        "who would add most to the archive trains; 1: nobody is tried",
        low=1,
        high=64,
    )
    litter_contenders: int = option(
        2,
        "shared: others of a litter, for each newborn at most, that compete at once, untrained, if they promise a gain",
        low=0,
        high=64,
    )
    harvest_share: float = option(
        0.05,
        "shared: share of the steps, at the end, in which nobody trains: litters try the last policy, and all that "
        "promise a gain compete",
        low=0.0,
        high=0.5,
    )
    random_share: float = option(0.0, "share of children drawn at random instead of bred", low=0.0, high=1.0)
    tournament: int = option(
        6, "elites drawn for each parent and each place to rehearse; the fastest of them gets it", low=1, high=64
    )
    crossover_share: float = option(0.25, "share of bred newborns with two parents", low=0.0, high=1.0)
    more_edits: float = option(0.35, "chance of each further edit of a newborn", low=0.0, high=0.9)
    max_joints: int = option(24, "largest body offered to the search", low=2, high=24)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class EvaluationConfig:
    """How bodies are scored."""

    episodes: int = option(1, "episodes behind each score, on each terrain, mean action, common seeds", low=1, high=64)
    contest_size: int = option(
        4, "grown-up newborns that are scored together, under one policy version", low=1, high=256
    )
    rescore_share: float = option(
        0.5, "elites scored again for each newborn scored, longest unscored first", low=0.0, high=8.0
    )
    max_rounds: int = option(
        4, "times a body is scored again while its opponent changes, before it gives up", low=1, high=16
    )
    verification_episodes: int = option(
        4, "episodes per elite and terrain under the final frozen weights, fresh seeds", low=1, high=256
    )
    max_strikes: int = option(2, "failures after which a body is set aside", low=1, high=10)

    def __post_init__(self) -> None:
        check_ranges(self)


# -- loading -----------------------------------------------------------------------------------------------------------


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file.

    Raises:
        ConfigError: Missing, unreadable, not YAML, or not a mapping of sections.
    """
    try:
        data = yaml.safe_load(_read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError([f"cannot read config {path}: {reason}"]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([f"{path}{where}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}"]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError([f"{path}: wants a mapping of sections, got a {type(data).__name__}"])
    return data


def _read_text(path: Path) -> str:
    """The text of a file; one that does not end, such as a device, is refused."""
    with path.open(encoding="utf-8") as file:
        text = file.read(LONGEST_CONFIG + 1)
    if len(text) > LONGEST_CONFIG:
        raise ConfigError([f"{path}: longer than {LONGEST_CONFIG} characters, so no config"])
    return text


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one; values of `top` win."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


FLAGS = {  # flag -> setting
    "results_dir": "run.results_dir",
    "run_name": "run.name",
    "seed": "run.seed",
    "max_workers": "run.max_workers",
    "total_steps": "run.total_steps",
    "terrain": "environment.terrain",
    "engine": "environment.engine",
    "training_engine": "environment.training_engine",
    "mode": "run.mode",
    "device": "ppo.device",
    "log_file": "run.log_file",
}


def nest(key: str, value: Any) -> dict[str, Any]:
    """`nest("ppo.clip", 0.1)` is `{"ppo": {"clip": 0.1}}`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def nest_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Moves settings called by their flag to their place in the config; others stay where they are."""
    nested: dict[str, Any] = {key: value for key, value in settings.items() if key not in FLAGS}
    for flag, key in FLAGS.items():
        if flag in settings:
            nested = merge(nested, nest(key, settings[flag]))
    return nested


def build(section: type[T], data: Mapping[str, Any]) -> T:
    """Makes a section, and the sections in it, from plain data.

    Raises:
        ConfigError: With every problem found: unknown keys (naming the nearest known one), wrong types, bad ranges.
    """
    problems: list[str] = []
    made = _build(section, data, "", problems)
    if problems:
        raise ConfigError(problems)
    return made


def _build(section: Any, data: Any, path: str, problems: list[str]) -> Any:
    """The section, or None with its problems added."""
    if not isinstance(data, Mapping):
        problems.append(f"{path or 'config'}: wants a mapping, got {data!r}")
        return None
    hints = typing.get_type_hints(section)
    known = {item.name: item for item in dataclasses.fields(section) if item.init}
    before = len(problems)
    values = {}
    for key, value in data.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in known:
            problems.append(_unknown(where, str(key), known, section))
        elif dataclasses.is_dataclass(hints[key]):
            values[key] = _build(hints[key], value, where, problems)
        else:
            try:
                values[key] = convert(value, hints[key])
            except ValueError as error:
                problems.append(f"{where}: {error}")
    for name in known:
        if name not in values and dataclasses.is_dataclass(hints[name]) and name not in data:
            values[name] = _build(hints[name], {}, name, problems)
    return _construct(section, values, path, problems) if len(problems) == before else None


def _construct(section: Any, values: dict[str, Any], path: str, problems: list[str]) -> Any:
    try:
        return section(**values)
    except ConfigError as error:
        problems.extend(f"{path}.{line}" if path else line for line in error.problems)
    except ValueError as error:
        problems.append(f"{path}: {error}" if path else str(error))
    return None


def _unknown(where: str, key: str, known: Mapping[str, Any], section: Any) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    parent = where.rpartition(".")[0]
    hint = f"; did you mean {f'{parent}.' if parent else ''}{near[0]}?" if near else ""
    return f"unknown key {where}{hint}"


def convert(value: Any, wanted: Any) -> Any:
    """A plain value as the type a field asks for; numbers may come as text ('1e-3'), nothing else is bent.

    Raises:
        ValueError: It is not of that type.
    """
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return convert(value, next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"wants one of {', '.join(map(str, arguments))}; got {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"wants a mapping, got {value!r}")
        return {str(key): convert(item, arguments[1]) for key, item in value.items()}
    return _convert_scalar(value, wanted)


def _convert_tuple(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"wants a list, got {value!r}")
    if arguments[-1] is Ellipsis:
        return tuple(convert(item, arguments[0]) for item in value)
    if len(value) != len(arguments):
        raise ValueError(f"wants a list of {len(arguments)}, got {value!r}")
    return tuple(convert(item, kind) for item, kind in zip(value, arguments, strict=True))


def _convert_scalar(value: Any, wanted: Any) -> Any:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if wanted in (int, float) and isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value) if wanted is float or not value.strip().lstrip("+-").isdigit() else int(value)
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"must be finite, got {value}")
        return float(value)
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted in names and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        raise ValueError(f"wants {names[wanted]}, got {value!r}")
    return value


def to_plain(settings: Any) -> Any:
    """Settings as plain data for YAML."""
    if dataclasses.is_dataclass(settings):
        return {item.name: to_plain(getattr(settings, item.name)) for item in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {key: to_plain(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [to_plain(value) for value in settings]
    return settings


def to_yaml(settings: Any) -> str:
    """Settings as YAML text that `read_yaml` and `build` take back."""
    return yaml.safe_dump(to_plain(settings), sort_keys=False, allow_unicode=True)


def flatten(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every setting."""
    for item in dataclasses.fields(settings):
        value, name = getattr(settings, item.name), f"{path}{item.name}"
        if dataclasses.is_dataclass(value):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value
