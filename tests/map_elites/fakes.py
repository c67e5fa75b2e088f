"""Stand-ins for the other rooms: designs as small values, a supervisor without processes."""

from __future__ import annotations

from dataclasses import dataclass

from map_elites.archive import Elite, Score
from map_elites.descriptors import Descriptor

AXES = (Descriptor("contact", "contact", "", 0.0, 1.0, 5), Descriptor("height", "height", "m", 0.0, 2.0, 4))


@dataclass(frozen=True)
class ToyDesign:
    """A design that is nothing but its rules."""

    rules: tuple[int, ...]

    def __str__(self) -> str:
        return "toy-" + "-".join(map(str, self.rules))


def toy_score(fitness: float, contact: float = 0.5, height: float = 0.5, version: int = 1) -> Score:
    return Score(fitness, {"contact": contact, "height": height, "joints": 3.0}, version, 2, fitness + 4.0)


def toy_elite(number: int, score: Score, parents: tuple[int, ...] = ()) -> Elite:
    return Elite(number, ToyDesign((0, number)), score, 3, "flat", "toy", parents)
