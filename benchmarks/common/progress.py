"""Lines that say how far a benchmark is, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from common.tables import said


class Progress:
    """How far one part of a benchmark is.

    Args:
        name: of the part.
        total: amount of the whole part.
        unit: of this amount; of a trial, "steps" or "seconds" of training.
    """

    def __init__(self, name: str, total: float, unit: str = "steps") -> None:
        self._name, self._total, self._unit, self._start = name, total, unit, time.monotonic()

    def __call__(self, done: float, text: str) -> None:
        """Prints that `done` of the total are behind us, and what came out so far."""
        spent = time.monotonic() - self._start
        left = spent * max(0.0, self._total / done - 1.0) if done else float("nan")
        amount = f"{done:.0f}/{self._total:.0f} {self._unit}"
        print(f"# {self._name}: {amount}, {text}, {spent:.0f} s, ETA {left:.0f} s", flush=True)

    def point(self, point: Mapping[str, Any]) -> None:
        """Prints a new point of a trial's curve."""
        self(point[self._unit], said(point))
