"""The tasks of RoboGrammar: ground, friction, weights of the objective, planning horizon.

Numbers and the order of random draws follow RoboGrammar's `examples/design_search/tasks.py`; with seed 0 the ground is
the same. World frame: x forward, y left, z up (m); RoboGrammar's (x, y, z) is (x, -z, y) here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.random import RandomState  # RoboGrammar's generator; another one would make other ground
from numpy.typing import ArrayLike

from robogrammar_env.errors import RobotError, unknown_name

Vector = tuple[float, float, float]

FRICTION = 0.5
"""Coulomb coefficient of all ground but ice; multiplied with the robot's 0.9."""
ICE_FRICTION = 0.05
_X_MIN_M, _X_MAX_M = -20.0, 20.0


@dataclass(frozen=True)
class Box:
    """A static box, its sides along the axes.

    Attributes:
        center_m: centre in the world.
        half_extents_m: half of its size along x, y, z.
        friction: Coulomb coefficient.
    """

    center_m: Vector
    half_extents_m: Vector
    friction: float = FRICTION

    @property
    def top_m(self) -> float:
        """Height of its upper face."""
        return self.center_m[2] + self.half_extents_m[2]


@dataclass(frozen=True, eq=False)
class Heightfield:
    """Ground given by heights on a regular grid.

    Attributes:
        center_m: middle of the grid in the world; z is half-way between the lowest and the highest possible height.
        half_extents_m: half of its size along x, y, z.
        heights_m: (nx, ny) heights in the world, x and y going up; read only.
        friction: Coulomb coefficient.
    """

    center_m: Vector
    half_extents_m: Vector
    heights_m: np.ndarray
    friction: float = FRICTION

    def height_at(self, x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
        """Returns heights by bilinear interpolation, NaN outside of the grid."""
        size = np.array(self.heights_m.shape) - 1
        u = (x_m - self.center_m[0] + self.half_extents_m[0]) / (2 * self.half_extents_m[0]) * size[0]
        v = (y_m - self.center_m[1] + self.half_extents_m[1]) / (2 * self.half_extents_m[1]) * size[1]
        i, j = (np.clip(np.floor(w), 0, n - 1).astype(int) for w, n in zip((u, v), size, strict=True))
        s, t = u - i, v - j
        low = (1 - t) * self.heights_m[i, j] + t * self.heights_m[i, j + 1]
        high = (1 - t) * self.heights_m[i + 1, j] + t * self.heights_m[i + 1, j + 1]
        inside = (u >= 0) & (u <= size[0]) & (v >= 0) & (v <= size[1])
        return np.where(inside, (1 - s) * low + s * high, np.nan)


@dataclass(frozen=True)
class Terrain:
    """One task.

    Attributes:
        name: its key in `TERRAINS`.
        seed: seed of its random numbers.
        boxes: static boxes.
        heightfield: ground on a grid, or None.
        weights: of RoboGrammar's objective: base pointing forwards, base upright, forward speed (per m/s).
        horizon: control steps that RoboGrammar's planner looks ahead.
    """

    name: str
    seed: int = field(compare=False)  # equal ground is equal terrain
    boxes: tuple[Box, ...]
    heightfield: Heightfield | None = None
    weights: Vector = (2.0, 2.0, 2.0)
    horizon: int = 16

    @property
    def is_flat(self) -> bool:
        """Whether there is nothing but one level floor."""
        return self.heightfield is None and len(self.boxes) == 1

    @property
    def friction(self) -> float:
        """Coulomb coefficient of the ground, the same everywhere."""
        return (self.heightfield or self.boxes[0]).friction

    def height_at(self, x_m: ArrayLike, y_m: ArrayLike) -> np.ndarray:
        """Returns the height of the uppermost surface.

        Args:
            x_m: (...) world coordinates.
            y_m: (...) world coordinates, broadcast against `x_m`.

        Returns:
            (...) heights in metres; where there is nothing, the underside of the lowest part.
        """
        x, y = np.broadcast_arrays(np.asarray(x_m, dtype=float), np.asarray(y_m, dtype=float))
        height = np.full(x.shape, self._bottom_m)
        if self.heightfield is not None:
            height = np.fmax(height, self.heightfield.height_at(x, y))
        if self.boxes:
            height = np.maximum(height, self._box_height(x, y))
        return height

    def _box_height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x_m, y_m, half_x_m, half_y_m, top_m = self._box_table
        inside = (np.abs(x[..., None] - x_m) <= half_x_m) & (np.abs(y[..., None] - y_m) <= half_y_m)
        return np.where(inside, top_m, -np.inf).max(axis=-1)

    @cached_property
    def _box_table(self) -> np.ndarray:
        """(5, boxes) centre x and y, half extents along x and y, height of the upper face."""
        crack_m = 1e-9  # so that nothing falls between two boxes that meet
        rows = [
            (*box.center_m[:2], box.half_extents_m[0] + crack_m, box.half_extents_m[1] + crack_m, box.top_m)
            for box in self.boxes
        ]
        return np.array(rows).T

    @cached_property
    def _bottom_m(self) -> float:
        parts: list[Box | Heightfield] = [*self.boxes, *([self.heightfield] if self.heightfield else [])]
        return min(part.center_m[2] - part.half_extents_m[2] for part in parts)


@lru_cache(maxsize=64)
def make_terrain(name: str, seed: int = 0) -> Terrain:
    """Makes the ground of a task.

    Args:
        name: a key of `TERRAINS`.
        seed: seed of the layout, where it is random; 0 is RoboGrammar's own layout.

    Raises:
        UnknownNameError: there is no such task; the message lists them all.
    """
    if name not in TERRAINS:
        raise unknown_name("terrain", name, TERRAINS)
    return TERRAINS[name](seed)


def terrain_names(text: str) -> tuple[str, ...]:
    """Reads one name, or several with commas between them: "flat" or "flat,ridged,gap".

    Raises:
        UnknownNameError: there is no such terrain; the message has the nearest name and lists them all.
        RobotError: a name stands twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in TERRAINS:
            raise unknown_name("terrain", name, TERRAINS)
        if names.count(name) > 1:
            raise RobotError(f"terrain {name!r} stands twice in {text!r}; each is to be named once")
    return names


def _generator(seed: int) -> RandomState:
    """RoboGrammar's generator, which takes seeds of 32 bits; longer ones are cut."""
    return RandomState(seed % 2**32)


def _box(x_m: float, height_m: float, half: Vector, *, z_m: float = 0.0, friction: float = FRICTION) -> Box:
    """Makes a box from RoboGrammar's centre (x, height, z) and half extents."""
    return Box(
        (float(x_m), 0.0 - float(z_m), float(height_m)), (float(half[0]), float(half[2]), float(half[1])), friction
    )


def _floor(half_length_m: float = 20.0, *, friction: float = FRICTION) -> Box:
    return _box(0.0, -1.0, (half_length_m, 1.0, 10.0), friction=friction)


def _flat(seed: int) -> Terrain:
    return Terrain("flat", seed, (_floor(40.0),))


def _frozen_lake(seed: int) -> Terrain:
    return Terrain("frozen_lake", seed, (_floor(friction=ICE_FRICTION),))


def _ridge(x_m: float, height_m: float) -> Box:
    """A bar across the way, whose top is `height_m` above the floor."""
    return _box(x_m, height_m - 0.2, (0.1, 0.2, 10.0))


def _ridged(seed: int) -> Terrain:
    rng = _generator(seed)
    ridges = [_ridge(rng.normal(0.5, 0.1) + i, 0.02 * (i + 1)) for i in range(20)]
    return Terrain("ridged", seed, (_floor(), *ridges))


def _new_ridged(seed: int) -> Terrain:
    rng = _generator(seed)
    ridges = [_ridge(rng.normal(0.5, 0.05) + i, rng.uniform(0.06, min(0.20, 0.09 * (i + 1)))) for i in range(20)]
    return Terrain("new_ridged", seed, (_floor(), *ridges), weights=(1.0, 1.0, 8.0))


def _new_ridged_2(seed: int) -> Terrain:
    rng = _generator(seed)
    ridges = [_ridge(rng.normal(0.5, 0.05) + i, 0.06 * min(i + 1, 3)) for i in range(20)]
    return Terrain("new_ridged_2", seed, (_floor(), *ridges), weights=(1.0, 1.0, 8.0))


def _platforms(
    starts_m: np.ndarray,
    ends_m: np.ndarray,
    tops_m: Iterable[float],
    *,
    half_height_m: float = 1.0,
    shift_m: float = 0.0,
) -> list[Box]:
    """Makes platforms across the way; one that the random numbers leave no room for is left out."""
    return [
        _box(0.5 * (start + end) + shift_m, top - half_height_m, (0.5 * (end - start), half_height_m, 10.0))
        for start, end, top in zip(starts_m, ends_m, tops_m, strict=True)
        if end > start
    ]


def _platforms_with_gaps(centers_m: np.ndarray, widths_m: np.ndarray, tops_m: Iterable[float]) -> tuple[Box, ...]:
    """Makes platforms between gaps, and a floor 1 m below."""
    starts = np.concatenate([[_X_MIN_M], centers_m + 0.5 * widths_m])
    ends = np.concatenate([centers_m - 0.5 * widths_m, [_X_MAX_M]])
    return (*_platforms(starts, ends, tops_m), _box(0.0, -2.0, (20.0, 1.0, 10.0)))


def _gap(seed: int) -> Terrain:
    centers = np.arange(0.5, _X_MAX_M, 1.0)
    centers += _generator(seed).normal(0.0, 0.1, size=centers.shape)
    rng = _generator(seed)  # RoboGrammar starts anew for the heights
    tops = [rng.normal(0.0, 0.01 * i) for i in range(len(centers) + 1)]
    return Terrain("gap", seed, _platforms_with_gaps(centers, np.linspace(0.1, 0.5, len(centers)), tops))


def _new_gap(seed: int) -> Terrain:
    rng = _generator(seed)
    centers = np.arange(0.5, _X_MAX_M, 0.7)
    centers += rng.normal(0.0, 0.05, size=centers.shape)
    widths = np.array([rng.uniform(min(0.06 * n, 0.2), min(0.12 * n, 0.4)) for n in range(1, len(centers) + 1)])
    boxes = _platforms_with_gaps(centers, widths, np.zeros(len(centers) + 1))
    return Terrain("new_gap", seed, boxes, weights=(1.0, 1.0, 3.0))


def _steps(
    edges_m: np.ndarray, tops_m: Iterable[float], *, half_height_m: float, shift_m: float = 0.0
) -> tuple[Box, ...]:
    """Makes platforms that meet at `edges_m`."""
    starts, ends = np.concatenate([[_X_MIN_M], edges_m]), np.concatenate([edges_m, [_X_MAX_M]])
    return tuple(_platforms(starts, ends, tops_m, half_height_m=half_height_m, shift_m=shift_m))


def _stepped(seed: int) -> Terrain:
    edges = np.arange(0.0, _X_MAX_M, 0.5)
    edges += _generator(seed).normal(0.0, 0.1, size=edges.shape)
    rng = _generator(seed)  # RoboGrammar starts anew for the heights
    rises = [rng.normal(0.0, min(0.015 * i, 0.1)) for i in range(len(edges))]
    return Terrain("stepped", seed, _steps(edges, np.cumsum([0.0, *rises]), half_height_m=1.0))


def _stairs(name: str, rise_m: float, weights: Vector = (2.0, 2.0, 2.0)) -> Callable[[int], Terrain]:
    """Returns a maker of regular stairs, treads of 0.3 m from x = 0.5 m on."""

    def make(seed: int) -> Terrain:
        edges = np.arange(0.0, _X_MAX_M, 0.3)
        tops = rise_m * np.arange(len(edges) + 1)
        return Terrain(name, seed, _steps(edges, tops, half_height_m=5.0, shift_m=0.5), weights=weights)

    return make


def _new_stepped_3(seed: int) -> Terrain:
    edges = np.arange(0.0, _X_MAX_M, 0.3)
    rng = _generator(seed)
    rises = [rng.uniform(0.0, min(0.02 * i, 0.1)) for i in range(len(edges))]
    return Terrain("new_stepped_3", seed, _steps(edges, np.cumsum([0.0, *rises]), half_height_m=5.0))


def _corridor() -> tuple[Box, ...]:
    """Makes a floor between two side walls at y = -1 m and 1 m."""
    return (_floor(), *(_box(0.0, 0.0, (20.0, 0.5, 0.05), z_m=z) for z in (1.0, -1.0)))


def _wall(seed: int) -> Terrain:
    rng = _generator(seed)
    walls = [
        _box(rng.normal(2.0 * i + 0.5, 0.1), 0.0, (0.05, 0.5, 0.25), z_m=rng.normal(i % 2 - 0.5, 0.1))
        for i in range(10)
    ]
    return Terrain("wall", seed, (*_corridor(), *walls), horizon=32)


def _new_wall(seed: int) -> Terrain:
    walls = [_box(1.5 * i + 0.5, 0.0, (0.05, 0.5, 0.45), z_m=i % 2 - 0.5) for i in range(10)]
    return Terrain("new_wall", seed, (*_corridor(), *walls), weights=(1.0, 1.0, 8.0), horizon=32)


def _hill(seed: int) -> Terrain:
    heights = np.clip(_generator(seed).normal(0.5, 0.125, size=(97, 33)), 0.0, 1.0)
    # column j lies at z = -10 ... 10 m, which is y = 10 ... -10 m; heights 0 ... 1 span the half extent of 0.25 m twice
    heights_m = np.ascontiguousarray(0.5 * heights[:, ::-1] - 0.5)
    heights_m.flags.writeable = False
    return Terrain("hill", seed, (), Heightfield((20.0, 0.0, -0.25), (30.0, 10.0, 0.25), heights_m))


TERRAINS: dict[str, Callable[[int], Terrain]] = {
    "flat": _flat,
    "ridged": _ridged,
    "gap": _gap,
    "stepped": _stepped,
    "wall": _wall,
    "frozen_lake": _frozen_lake,
    "hill": _hill,
    "new_ridged": _new_ridged,
    "new_ridged_2": _new_ridged_2,
    "new_gap": _new_gap,
    "new_stepped_1": _stairs("new_stepped_1", 0.07),
    "new_stepped_2": _stairs("new_stepped_2", 0.05),
    "new_stepped_3": _new_stepped_3,
    "new_stepped_4": _stairs("new_stepped_4", 0.10, weights=(1.0, 1.0, 8.0)),
    "new_wall": _new_wall,
}
"""Every task by name: a function from seed to ground."""
