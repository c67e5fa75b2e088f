"""Reads config values as they are meant: 1e-3 and inf as numbers, 1h as a time; and YAML without its traps."""

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from gml.errors import ConfigError

MAX_SLOTS = 10_000
UNITS_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([dhms])")

NO_TEXT = re.compile("[\0\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the numbers and truth values of YAML 1.2 that refuses repeated keys."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Builds a value; what does not fit its tag is an error with a line, whatever PyYAML trips over."""
        try:
            value = super().construct_object(node, deep)
        except (AttributeError, KeyError, ValueError):
            raise yaml.constructor.ConstructorError(None, None, f"no value of {node.tag}", node.start_mark) from None
        if isinstance(value, str) and NO_TEXT.search(value):
            problem = "text holds a character that no command line can hold"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Builds a mapping; PyYAML itself would let the last of equal keys win."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for index, key in enumerate(keys) if key in keys[:index]]
        if repeated:
            mark = node.start_mark
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated[0]!r} occurs twice", mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    "-+0123456789.",
)


def read_yaml(file: Path) -> Any:
    """Reads a YAML file.

    Raises:
        ConfigError: it is missing or no YAML; the message names the line.
    """
    try:
        return parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where}: {getattr(error, 'problem', None) or 'not valid YAML'}") from error


def parse_yaml(text: str) -> Any:
    """Parses YAML text."""
    return yaml.load(text, Loader=_Loader)


def number(value: Any) -> float:
    """Reads a number: 3, 0.5, "1e-3", "inf".

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be a number, got {value!r}")
    try:
        found = float(value)
    except (OverflowError, ValueError):
        raise ValueError(f"must be a number, got {value!r}") from None
    if math.isnan(found):
        raise ValueError("must be a number, got nan")
    return found


def whole(value: Any) -> int:
    """Reads a whole number: 10, "10", "1e3".

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number(value)
    if not math.isfinite(found) or found != int(found):
        raise ValueError(f"must be a whole number, got {value!r}")
    return int(found)


def count(value: Any) -> int:
    """Reads a whole number of at least 1."""
    if (found := whole(value)) < 1:
        raise ValueError(f"must be at least 1, got {value!r}")
    return found


def slots(value: Any) -> int:
    """Reads how many jobs may run at a time."""
    if (found := count(value)) > MAX_SLOTS:
        raise ValueError(f"must be at most {MAX_SLOTS}, got {value!r}")
    return found


def limit(value: Any) -> int | None:
    """Reads a count, or inf for no limit."""
    return None if value is None or number(value) == math.inf else count(value)


def natural(value: Any) -> int:
    """Reads a whole number of at least 0."""
    if (found := whole(value)) < 0:
        raise ValueError(f"must be at least 0, got {value!r}")
    return found


def not_negative(value: Any) -> float:
    """Reads a finite number of at least 0."""
    if not 0 <= (found := number(value)) < math.inf:
        raise ValueError(f"must be at least 0, got {value!r}")
    return found


def hours_s(value: Any) -> float | None:
    """Reads a time limit in seconds: a number means hours; "1h", "30m", "90s", "1h30m", "1d"; inf or nothing: none.

    Raises:
        ValueError: it is no time above 0.
    """
    if value is None:
        return None
    text = str(value).strip()
    parts = DURATION.findall(text)
    if parts and not DURATION.sub("", text):
        seconds = sum(float(amount) * UNITS_S[unit] for amount, unit in parts)
    else:
        try:
            seconds = number(value) * UNITS_S["h"]
        except ValueError:
            raise ValueError(f"must be hours, or a time such as 1h, 30m or 90s; got {value!r}") from None
    if seconds <= 0:
        raise ValueError(f"must be above 0, got {value!r}")
    return None if seconds == math.inf else seconds


def flag(value: Any) -> bool:
    """Reads true/false, also on/off and yes/no."""
    words = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise ValueError(f"must be true or false, got {value!r}")
    return words[str(value).lower()]


def text(value: Any) -> str:
    """Reads text; numbers are taken as they are printed."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise ValueError(f"must be text, got {value!r}")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """Reads a list of texts; a single text is a list of one."""
    return tuple(text(item) for item in (value if isinstance(value, list) else [value]))


def wholes(value: Any) -> tuple[int, ...]:
    """Reads a list of whole numbers; a single one is a list of one."""
    return tuple(whole(item) for item in (value if isinstance(value, list) else [value]))


def mapping(value: Any) -> dict[str, Any]:
    """Reads a mapping with text keys."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping (key: value), got {value!r}")
    return {str(key): item for key, item in value.items()}


def text_mapping(value: Any) -> dict[str, str]:
    """Reads a mapping of texts; numbers and truth values are taken as they are printed.

    Raises:
        ValueError: it is none; the message starts with the key.
    """
    content = mapping(value)
    for key, item in content.items():
        if not isinstance(item, (str, int, float)):
            raise ValueError(f"{key} must be text, got {item!r}")
    return {key: str(item) for key, item in content.items()}


def one_of(*words: str):
    """Returns a reader for one of some words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}; got {value!r}")
        return value

    return read
