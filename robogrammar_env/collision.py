"""Overlap of capsules and cylinders, for many pairs at once."""

import numpy as np

_TOLERANCE_M = 1e-9  # parts that only touch do not overlap
_PROJECTIONS = 200


def overlapping_pairs(
    pairs: np.ndarray,
    centres_m: np.ndarray,
    directions: np.ndarray,
    lengths_m: np.ndarray,
    radii_m: np.ndarray,
    cylinders: np.ndarray,
) -> list[tuple[int, int]]:
    """Finds the pairs of bodies that overlap.

    Args:
        pairs: (P, 2) indices of bodies to compare.
        centres_m: (L, 3) centres.
        directions: (L, 3) unit vectors along the bodies.
        lengths_m: (L,) lengths of the cylinder parts.
        radii_m: (L,) radii.
        cylinders: (L,) true for a flat-ended cylinder, false for a capsule.

    Returns:
        The pairs whose distance is negative.
    """
    half = 0.5 * lengths_m[:, None] * directions
    first, second = pairs[:, 0], pairs[:, 1]
    distance = segment_distances(
        centres_m[first] - half[first], 2 * half[first], centres_m[second] - half[second], 2 * half[second]
    )
    overlap = distance < radii_m[first] + radii_m[second] - _TOLERANCE_M
    for k in np.flatnonzero(overlap & (cylinders[first] | cylinders[second])):
        i, j = pairs[k]
        bodies = [_Solid(centres_m[n], directions[n], lengths_m[n], radii_m[n], bool(cylinders[n])) for n in (i, j)]
        overlap[k] = _solids_overlap(bodies[0], bodies[1])
    return [(int(i), int(j)) for i, j in pairs[overlap]]


def segment_distances(start_a: np.ndarray, along_a: np.ndarray, start_b: np.ndarray, along_b: np.ndarray) -> np.ndarray:
    """Distances between line segments (Ericson, Real-Time Collision Detection, section 5.1.9).

    Args:
        start_a: (P, 3) starts of the first segments.
        along_a: (P, 3) from their start to their end, not zero.
        start_b: (P, 3) starts of the second segments.
        along_b: (P, 3) from their start to their end, not zero.

    Returns:
        (P,) shortest distances.
    """
    between = start_a - start_b
    aa, bb, ab = _dot(along_a, along_a), _dot(along_b, along_b), _dot(along_a, along_b)
    a0, b0 = _dot(along_a, between), _dot(along_b, between)
    denominator = aa * bb - ab * ab
    parallel = denominator <= 1e-12 * aa * bb
    s = np.where(parallel, 0.0, np.clip((ab * b0 - a0 * bb) / np.where(parallel, 1.0, denominator), 0.0, 1.0))
    t = np.clip((ab * s + b0) / bb, 0.0, 1.0)
    s = np.clip((ab * t - a0) / aa, 0.0, 1.0)  # best point on a for the t that may have been clipped
    return np.linalg.norm(between + s[:, None] * along_a - t[:, None] * along_b, axis=-1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("pi,pi->p", a, b)


class _Solid:
    """A convex set that points are projected on: a solid cylinder, or the middle line of a capsule."""

    def __init__(self, centre: np.ndarray, direction: np.ndarray, length_m: float, radius_m: float, cylinder: bool):
        self.centre, self.direction, self.half_m = centre, direction, 0.5 * length_m
        self.reach_m = radius_m if cylinder else 0.0
        self.margin_m = 0.0 if cylinder else radius_m

    def nearest(self, point: np.ndarray) -> np.ndarray:
        """Returns the point of the set that is nearest to `point`."""
        offset = point - self.centre
        along = float(offset @ self.direction)
        across = offset - along * self.direction
        distance = float(np.linalg.norm(across))
        across = across * min(1.0, self.reach_m / distance) if distance > 0 else across
        return self.centre + float(np.clip(along, -self.half_m, self.half_m)) * self.direction + across


def _solids_overlap(a: _Solid, b: _Solid) -> bool:
    """Whether two solids overlap, by alternating projections, which converge to their nearest points."""
    point = a.centre
    for _ in range(_PROJECTIONS):
        other = b.nearest(point)
        point = a.nearest(other)
        if np.linalg.norm(point - other) < a.margin_m + b.margin_m - _TOLERANCE_M:
            return True
    return bool(np.linalg.norm(point - other) < 1e-6)
