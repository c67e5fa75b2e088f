"""Figures of curves, Markdown tables, and pictures. Speeds are m/s with the mean action."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.references import planner_speeds

Line = tuple[Sequence[float], Sequence[float]]
"""x and y values of one line of a picture."""


def mean_speed(speeds: Sequence[float | None]) -> float:
    """Mean of the bodies that have a speed; NaN if none has."""
    known = [speed for speed in speeds if speed is not None]
    return float(np.mean(known)) if known else float("nan")


def average(shares: Iterable[float | None]) -> float | None:
    """Mean of what is known; None if nothing is."""
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def means(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean speed at each point of a curve."""
    return [mean_speed(point["speeds_m_s"]) for point in curve]


def column(curve: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """`steps`, `seconds` or `cpu_seconds` at each point of a curve."""
    return [point[name] for point in curve]


def summarise(curve: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean, worst quartile and best at the end, mean over the whole curve (area), and training steps a second."""
    final = np.sort([speed for speed in curve[-1]["speeds_m_s"] if speed is not None])
    steps = np.array(column(curve, "steps"))
    return {
        "mean": float(final.mean()),
        "worst_quartile": float(final[: max(1, len(final) // 4)].mean()),
        "best": float(final[-1]),
        "area": float(np.trapezoid(means(curve), steps) / steps[-1]),
        "steps_per_s": float(steps[-1] / curve[-1]["seconds"]),
    }


def reached(xs: Sequence[float], ys: Sequence[float], level: float) -> float | None:
    """The x at which a curve first reaches a level, between two points on the straight line; None if it never does."""
    for index, y in enumerate(ys):
        if y >= level:
            if index == 0:
                return xs[0]
            share = (level - ys[index - 1]) / (y - ys[index - 1])
            return xs[index - 1] + share * (xs[index] - xs[index - 1])
    return None


def planner_share(speeds: Sequence[float | None], designs: Sequence[str]) -> float | None:
    """Mean speed over the planner's, on the bodies that both have driven; None if there is none.

    The planner's speeds are those in MuJoCo on flat ground.
    """
    pairs = zip(speeds, planner_speeds(designs), strict=True)
    known = [(speed, planned) for speed, planned in pairs if speed is not None and planned is not None]
    if not known:
        return None
    mine, planned = np.mean(known, axis=0)
    return float(mine / planned)


def said(point: Mapping[str, Any]) -> str:
    """A point of a curve as text."""
    speeds = [speed for speed in point["speeds_m_s"] if speed is not None]
    fastest = max(speeds, default=float("nan"))
    return f"mean {mean_speed(speeds):.3f} best {fastest:.3f} m/s after {point['seconds']:.0f} s of training"


def percent(share: float | None) -> str:
    """A share as text; "-" for None."""
    return "-" if share is None else f"{100 * share:.0f} %"


def number(value: float | None, digits: int = 3) -> str:
    """A number as text; "-" for None."""
    return "-" if value is None else f"{value:,.{digits}f}"


def spread(values: Iterable[float | None], digits: int = 3) -> str:
    """Mean and range of what is known, as text."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{np.mean(known):.{digits}f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def machines(parts: Iterable[Mapping[str, Any]]) -> str:
    """A line that says where results were made, and how busy these machines were."""
    known = [part for part in parts if "machine" in part]
    if not known:
        return "Made on: not recorded"
    loads = [part["load"] for part in known]
    names = "; ".join(sorted({part["machine"] for part in known}))
    return f"Made on: {names}; load average over 15 minutes {min(loads)} to {max(loads)}"


PANELS_IN_A_ROW = 3


def draw(path: Path, panels: Sequence[tuple[str, str, Mapping[str, Sequence[Line]]]]) -> None:
    """Draws panels side by side, up to three in a row.

    Args:
        path: of the picture.
        panels: of each, the labels of x and y, and its lines by name; lines of one name (seeds) share a colour.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(panels), PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(5.2 * columns, 3.8 * rows), squeeze=False, layout="constrained"
    )
    axes = grid.flatten()
    for axis, (x_label, y_label, groups) in zip(axes, panels, strict=False):
        colours = pyplot.get_cmap("tab10" if len(groups) <= 10 else "tab20")
        for index, (name, lines) in enumerate(groups.items()):
            _plot(axis, name, lines, colours(index % colours.N))
        axis.set(xlabel=x_label, ylabel=y_label)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    print(f"picture: {path}")


def _plot(axis: Any, name: str, lines: Sequence[Line], colour: Any) -> None:
    """The seeds of one name: their mean and range where they were measured at the same points, else each by itself."""
    (first, _), *others = lines
    if others and all(list(xs) == list(first) for xs, _ in others):
        values = np.array([ys for _, ys in lines])
        axis.plot(first, values.mean(axis=0), color=colour, label=name)
        axis.fill_between(first, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        return
    for index, (xs, ys) in enumerate(lines):
        axis.plot(xs, ys, color=colour, alpha=0.8, label=None if index else name)
