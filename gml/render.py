"""Writes copies of the searched program's own config files with some keys set."""

import ast
import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gml.errors import ConfigError
from gml.space import FileArg
from gml.values import read_yaml


def render_file(arg: FileArg, values: Mapping[str, Any], source: Path, folder: Path) -> Path:
    """Writes a copy of a config file with some keys set; dots in a key lead into nested parts.

    Args:
        arg: the search arg.
        values: key -> value.
        source: the original: YAML, JSON or Python.
        folder: where the copy goes.

    Returns:
        The copy.

    Raises:
        ConfigError: the original is missing, or a key leads through something that is no mapping.
    """
    target = folder / f"{arg.place_holder or source.stem}{source.suffix}"
    if source.suffix == ".py":
        target.write_text(_set_in_python(source, values), encoding="utf-8")
        return target
    content = read_yaml(source)  # JSON is YAML too
    for key, value in values.items():
        _set_in_mapping(content, key, value, source)
    is_json = source.suffix == ".json"
    text = json.dumps(content, indent=2) if is_json else yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    target.write_text(text, encoding="utf-8")
    return target


def _set_in_mapping(content: Any, key: str, value: Any, source: Path) -> None:
    while isinstance(content, dict) and key not in content and "." in key:
        first, key = key.split(".", 1)
        content = content.setdefault(first, {})
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: {key!r} cannot be set: what is above it is no mapping")
    content[key] = value


def _set_in_python(source: Path, values: Mapping[str, Any]) -> str:
    """Replaces the values of top-level assignments where they stand, so that what is derived from them follows."""
    try:
        content = source.read_text(encoding="utf-8").rstrip("\n")
        found = _assignments(ast.parse(content))
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from error
    except SyntaxError as error:
        raise ConfigError(f"{source} line {error.lineno}: {error.msg}") from error
    except ValueError as error:  # not UTF-8, or a NUL byte
        raise ConfigError(f"{source}: {error}") from error
    data = content.encode()  # ast counts lines by their ends, columns in bytes of UTF-8
    ends = [match.start() for match in re.finditer(rb"\n|$", data)]

    def place(line: int, column: int) -> int:
        return (ends[line - 2] + 1 if line > 1 else 0) + column

    changes: list[tuple[int, int, str]] = []  # from, to, new text
    for key, value in values.items():
        first, *rest = key.split(".")
        if not first.isidentifier() or keyword.iskeyword(first):
            raise ConfigError(f"{source}: {key!r} cannot be set: {first!r} is no Python name")
        node = found.get(first)
        if not rest and node is not None:
            old = node.value
            span = place(old.lineno, old.col_offset), place(old.end_lineno or 0, old.end_col_offset or 0)
            changes.append((*span, repr(value)))
            continue
        is_mapping = node is None or isinstance(node.value, (ast.Dict, ast.Call))
        path = "".join(f"[{part!r}]" for part in rest) if is_mapping else "." + ".".join(rest)
        after = len(data) if node is None else ends[(node.end_lineno or node.lineno) - 1]
        changes.append((after, after, f"\n{first}{path} = {value!r}"))
    for begin, end, new in sorted(changes, reverse=True):
        data = data[:begin] + new.encode() + data[end:]
    return data.decode() + "\n"


@dataclass(frozen=True)
class _Assignment:
    value: ast.expr
    lineno: int
    end_lineno: int | None


def _assignments(module: ast.Module) -> dict[str, _Assignment]:
    """Returns the last top-level `name = value` or `name: type = value` of every name."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and node.value is not None:
            found[targets[0].id] = _Assignment(node.value, node.lineno, node.end_lineno)
    return found
