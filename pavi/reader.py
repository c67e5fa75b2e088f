"""Reads scalars back: of a finished training or of one that is still writing."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pavi.writer import SCALARS_VARIABLE

STEP_KEYS = ("iteration", "step", "epoch", "n_iter")
MAX_STEP = 2**63 - 1  # what SQLite can hold


@dataclass(frozen=True)
class Scalar:
    """One reported value.

    Attributes:
        name: what it is.
        iteration: step it belongs to; None if the program did not say.
        value: the number; NaN and inf are kept.
        created: milliseconds since 1970; 0 if unknown.
    """

    name: str
    iteration: int | None
    value: float
    created: int = 0


def parse_line(line: str) -> Iterator[Scalar]:
    """Reads a JSON object: {"name": ..., "value": ..., "iteration": ...} or {"acc": 0.9, "loss": 1.2, "step": 3}.

    Whatever is no such object yields nothing.
    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    step = step_of(content)
    created = content["created"] if isinstance(content.get("created"), int) else 0
    if isinstance(content.get("name"), str) and _is_number(content.get("value")):
        yield Scalar(content["name"], step, float(content["value"]), created)
        return
    for name, value in content.items():
        if _is_number(value) and name not in (*STEP_KEYS, "created"):
            yield Scalar(name, step, float(value), created)


def step_of(content: Mapping[str, Any]) -> int | None:
    """Returns the step that belongs to some values; None if there is none that can be one."""
    steps = [content[key] for key in STEP_KEYS if _is_number(content.get(key)) and math.isfinite(content[key])]
    return next((int(step) for step in steps if abs(step) < MAX_STEP), None)


def _is_number(value: Any) -> bool:
    """Returns whether a value is a number that a float can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)


def get_latest_scalar(file: Path | str | None = None, name: str | None = None) -> list[dict[str, Any]]:
    """Returns the values of a scalar so far, oldest first.

    Args:
        file: scalar file of a training, or its folder; default: of the job that this runs in.
        name: which scalar; default: the first one in the file.

    Returns:
        [{"iteration": 0, "value": 0.9, "created": 1640238929992}, ...], `created` in milliseconds since 1970.
    """
    path = Path(file or os.environ.get(SCALARS_VARIABLE, ""))
    path = path / "scalars.jsonl" if path.is_dir() else path
    if not path.is_file():
        return []
    found = [scalar for line in path.read_text("utf-8", "replace").splitlines() for scalar in parse_line(line)]
    wanted = name or (found[0].name if found else "")
    return [
        {"iteration": scalar.iteration, "value": scalar.value, "created": scalar.created}
        for scalar in found
        if scalar.name == wanted
    ]
