"""Named descriptors: what an archive can be spread over. Each has a range, a unit and a number of bins.

Behaviour descriptors are measured in evaluation episodes; body descriptors follow from the design alone. All of
them are recorded for every elite, so that an archive can be drawn over other axes afterwards.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

EPSILON = 1e-6  # as in pyribs: a value computed as 0.1 * 3 still falls into the bin that starts at 0.3


@dataclass(frozen=True)
class Descriptor:
    """One axis of an archive.

    Attributes:
        name: Key in measured values and in `archive.json`.
        label: What people read on a plot.
        unit: SI unit, or "" for a plain ratio or count.
        low: Lower end of the first bin; smaller values fall into the first bin.
        high: Upper end of the last bin; larger values fall into the last bin.
        bins: Number of equal bins.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    bins: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"descriptor {self.name}: range must rise, got {self.low} to {self.high}")
        if self.bins < 1:
            raise ValueError(f"descriptor {self.name}: bins must be at least 1, got {self.bins}")

    @property
    def axis_label(self) -> str:
        """Label with unit, for plots."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def bin_of(self, value: float) -> int:
        """Bin of a value; out-of-range values fall into the border bins.

        Raises:
            ValueError: The value is NaN or infinite.
        """
        if not math.isfinite(value):
            raise ValueError(f"descriptor {self.name} must be finite, got {value}")
        index = math.floor((self.bins * (value - self.low) + EPSILON) / (self.high - self.low))
        return min(max(index, 0), self.bins - 1)

    def edges(self) -> list[float]:
        """The `bins + 1` borders between bins."""
        return [self.low + (self.high - self.low) * i / self.bins for i in range(self.bins + 1)]


def _counted(name: str, label: str, highest: int, lowest: int = 1) -> Descriptor:
    """A count with one bin per value."""
    return Descriptor(name, label, "", lowest - 0.5, highest + 0.5, highest - lowest + 1)


BEHAVIOUR = (
    Descriptor("ground_contact_share", "share of feet on the ground, mean", "", 0.0, 1.0, 10),
    Descriptor("body_height", "height of the body's centre, mean", "m", 0.0, 0.3, 10),
    Descriptor("body_height_ratio", "height of the body's centre / height at rest", "", 0.0, 1.5, 10),
    Descriptor("pitch_rms_rad", "pitch, root mean square", "rad", 0.0, 1.0, 10),
    Descriptor("roll_rms_rad", "roll, root mean square", "rad", 0.0, 1.0, 10),
    Descriptor("lateral_drift_m", "sideways drift over an episode", "m", 0.0, 2.0, 10),
    Descriptor("heading_change_rad", "turn away from +x over an episode", "rad", 0.0, math.pi, 10),
    Descriptor("energy_w", "mechanical power of all motors, mean", "W", 0.0, 10.0, 10),
    Descriptor("joint_speed_rad_s", "joint speed, mean", "rad/s", 0.0, 5.0, 10),
    Descriptor("step_rate_hz", "how often a foot comes down", "1/s", 0.0, 5.0, 10),
)
BODY = (
    _counted("joints", "joints", 24),
    _counted("legs", "legs", 12, lowest=0),
    _counted("segments", "torso segments", 8),
    Descriptor("leg_links", "links per leg, mean", "", 0.0, 4.0, 8),
    Descriptor("long_links", "share of long leg links", "", 0.0, 1.0, 10),
    Descriptor("mass_kg", "mass", "kg", 0.0, 4.0, 10),
    Descriptor("length_m", "length at rest", "m", 0.0, 1.5, 10),
    Descriptor("width_m", "width at rest", "m", 0.0, 1.5, 10),
    Descriptor("height_m", "height at rest", "m", 0.0, 1.0, 10),
)
DESCRIPTORS: Mapping[str, Descriptor] = {d.name: d for d in (*BEHAVIOUR, *BODY)}


def find_descriptor(name: str) -> Descriptor:
    """Descriptor of that name.

    Raises:
        ValueError: No such descriptor; the message has the nearest name and all known ones.
    """
    if name in DESCRIPTORS:
        return DESCRIPTORS[name]
    near = difflib.get_close_matches(name, DESCRIPTORS, n=1, cutoff=0.0)[0]
    raise ValueError(f"no descriptor {name!r}; did you mean {near!r}? known: {', '.join(DESCRIPTORS)}")


def make_axes(
    names: Sequence[str], *, bins: Sequence[int] = (), ranges: Mapping[str, Sequence[float]] | None = None
) -> tuple[Descriptor, ...]:
    """Axes of an archive, from the registry, with other bins or ranges where wanted.

    Args:
        names: At least one known name, each once.
        bins: Bins per axis, in the order of `names`; empty keeps the defaults.
        ranges: (low, high) by name.

    Raises:
        ValueError: Unknown or repeated name, wrong number of bins, range for a name that is no axis.
    """
    axes = [find_descriptor(name) for name in names]
    ranges = ranges or {}
    if not axes or len(set(names)) != len(names):
        raise ValueError(f"an archive needs at least one descriptor, each once; got {list(names)}")
    if bins and len(bins) != len(axes):
        raise ValueError(f"bins must have one number per descriptor ({len(axes)}), got {list(bins)}")
    for name, limits in ranges.items():
        if name not in names or len(limits) != 2:
            raise ValueError(f"ranges.{name}: wants [low, high] for one of the descriptors {list(names)}, got {limits}")
    limits_of = {axis.name: ranges.get(axis.name, (axis.low, axis.high)) for axis in axes}
    return tuple(
        replace(axis, low=float(limits_of[axis.name][0]), high=float(limits_of[axis.name][1]), bins=count)
        for axis, count in zip(axes, bins or [axis.bins for axis in axes], strict=True)
    )


def mean_by_name(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each value that every row has.

    Raises:
        ValueError: No row.
    """
    table = list(rows)
    if not table:
        raise ValueError("nothing to average")
    shared = [name for name in table[0] if all(name in row for row in table)]
    return {name: math.fsum(row[name] for row in table) / len(table) for name in shared}
