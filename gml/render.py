"""Writes copies of the searched program's own config files with some keys set."""

import ast
import json
from collections.abc import Mapping
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
    """Replaces top-level assignments where they stand, so that what is derived from them follows."""
    try:
        text = source.read_text(encoding="utf-8")
        found = _assignments(ast.parse(text))
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from error
    except SyntaxError as error:
        raise ConfigError(f"{source} line {error.lineno}: {error.msg}") from error
    lines = text.splitlines()
    changes: list[tuple[int, int, str]] = []  # first line, last line (0-based, exclusive), new text
    for key, value in values.items():
        first, *rest = key.split(".")
        node = found.get(first)
        if not rest:
            begin, end = (node.lineno - 1, node.end_lineno or node.lineno) if node else (len(lines), len(lines))
            changes.append((begin, end, f"{first} = {value!r}"))
        else:
            after = (node.end_lineno or node.lineno) if node else len(lines)
            is_mapping = node is None or isinstance(node.value, (ast.Dict, ast.Call))
            path = "".join(f"[{part!r}]" for part in rest) if is_mapping else "." + ".".join(rest)
            changes.append((after, after, f"{first}{path} = {value!r}"))
    for begin, end, line in sorted(changes, reverse=True):
        lines[begin:end] = [line]
    return "\n".join(lines) + "\n"


def _assignments(module: ast.Module) -> dict[str, ast.Assign]:
    """Returns the last top-level `name = value` of every name."""
    return {
        node.targets[0].id: node
        for node in module.body
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
