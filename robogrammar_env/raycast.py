"""Where rays hit capsules, cylinders, boxes and ground: the geometry behind our pictures, in plain numpy.

All functions take one origin and many directions and return distances, infinite where a ray misses.
"""

from __future__ import annotations

import numpy as np

from robogrammar_env.terrain import Heightfield

NEVER = np.float32(np.inf)


def hit_capsule(origin: np.ndarray, rays: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Distances along rays to a capsule.

    Args:
        origin: (3,) or (k, 3).
        rays: (k, 3) unit directions.
        start: (3,) one end of the axis.
        end: (3,) the other end.
        radius: of the capsule.

    Returns:
        (k,) distances.
    """
    axis, offset = end - start, origin - start
    axis_axis, axis_ray, axis_offset = axis @ axis, rays @ axis, offset @ axis
    ray_offset = np.sum(rays * offset, axis=-1)
    offset_offset = np.sum(offset * offset, axis=-1)
    a = axis_axis - axis_ray**2
    b = axis_axis * ray_offset - axis_offset * axis_ray
    c = axis_axis * offset_offset - axis_offset**2 - radius**2 * axis_axis
    with np.errstate(invalid="ignore", divide="ignore"):
        side = (-b - np.sqrt(b * b - a * c)) / a
    along = axis_offset + side * axis_ray
    on_side = (along > 0) & (along < axis_axis) & (side > 0)
    caps = np.minimum(hit_sphere(origin, rays, start, radius), hit_sphere(origin, rays, end, radius))
    return np.where(on_side, side, caps)


def hit_sphere(origin: np.ndarray, rays: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """(k,) distances along (k, 3) rays to a sphere."""
    offset = origin - centre
    b = np.sum(rays * offset, axis=-1)
    h = b * b - np.sum(offset * offset, axis=-1) + radius**2
    with np.errstate(invalid="ignore"):
        distance = -b - np.sqrt(h)
    return np.where((h > 0) & (distance > 0), distance, NEVER)


def hit_cylinder(origin: np.ndarray, rays: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """(k,) distances along (k, 3) rays to a cylinder with flat ends."""
    axis = end - start
    length = np.linalg.norm(axis)
    axis = axis / length
    offset = origin - start
    axis_ray, axis_offset = rays @ axis, offset @ axis
    a = 1 - axis_ray**2
    b = np.sum(rays * offset, axis=-1) - axis_offset * axis_ray
    c = np.sum(offset * offset, axis=-1) - axis_offset**2 - radius**2
    with np.errstate(invalid="ignore", divide="ignore"):
        side = (-b - np.sqrt(b * b - a * c)) / a
        height = axis_offset + side * axis_ray
        best = np.where((height > 0) & (height < length) & (side > 0), side, NEVER)
        for level in (0.0, length):
            flat = (level - axis_offset) / axis_ray
            apart = offset + flat[:, None] * rays - level * axis
            inside = (np.sum(apart * apart, axis=-1) < radius**2) & (flat > 0)
            best = np.where(inside, np.minimum(best, flat), best)
    return best


def hit_box(origin: np.ndarray, rays: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    """(k,) distances along (k, 3) rays to a box with sides along the axes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / rays
        first = (centre - half - origin) * inverse
        second = (centre + half - origin) * inverse
    near = np.minimum(first, second).max(axis=-1)
    far = np.maximum(first, second).min(axis=-1)
    return np.where((near <= far) & (near > 0), near, NEVER)


def hit_heightfield(origin: np.ndarray, rays: np.ndarray, field: Heightfield, steps: int = 96) -> np.ndarray:
    """(k,) distances along (k, 3) rays to a heightfield, by marching and one linear refinement."""
    distance = np.full(len(rays), NEVER)
    going = rays[:, 2] < 0.05
    reach = 0.0
    before = np.full(len(rays), np.inf)
    for reach_next in np.geomspace(0.2, 30.0, steps):
        active = np.flatnonzero(going)
        if not active.size:
            break
        points = origin + rays[active] * reach_next
        above = points[:, 2] - field.height_at(points[:, 0], points[:, 1])
        below = above <= 0
        hits = active[below]
        share = before[hits] / (before[hits] - above[below])
        distance[hits] = np.where(np.isfinite(share), reach + share * (reach_next - reach), reach_next)
        going[hits] = False
        before[active] = above
        reach = float(reach_next)
    return distance
