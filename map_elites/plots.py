"""Pictures of an archive. Any two recorded descriptors can be the axes, whatever the archive was built over."""

from __future__ import annotations

import gc
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from map_elites.archive import Archive, Elite
from map_elites.descriptors import Descriptor
from map_elites.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, EMPTY = "#22303c", "#8a97a3", "#f1f3f5"
LARGEST_GRID_WITH_NUMBERS = 12  # bins on the longer side; above it the numbers would not be readable


def best_by_cell(elites: Sequence[Elite], axes: Sequence[Descriptor], *, verified: bool = False) -> np.ndarray:
    """Highest fitness in each cell of a grid over two descriptors.

    Args:
        elites: Elites of any archive; those without a value for an axis are left out.
        axes: The two descriptors, x first.
        verified: Take the score under the final frozen weights instead of the running one.

    Returns:
        (bins of y, bins of x) fitness in m/s, NaN for empty cells.
    """
    grid = np.full((axes[1].bins, axes[0].bins), np.nan)
    for elite in elites:
        values = elite.score.descriptors
        score = elite.verified if verified else elite.score
        if score is None or any(axis.name not in values for axis in axes):
            continue
        column, row = (axis.bin_of(values[axis.name]) for axis in axes)
        grid[row, column] = np.nanmax([grid[row, column], score.fitness])
    return grid


def draw_heatmap(
    archive: Archive, axes: Sequence[Descriptor] | None = None, *, title: str = "", verified: bool = False
) -> Figure:
    """The archive as a map: position is behaviour or body, colour is speed.

    Args:
        archive: What to draw.
        axes: Two descriptors, x first; by default the archive's first two (one, if it has only one).
        title: Name of the run.
        verified: Draw the scores under the final frozen weights.

    Returns:
        A figure without a window; save it, or hand it to `figure_png`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y = _two(axes or archive.axes)
    elites = list(archive)
    grid = best_by_cell(elites, (x, y), verified=verified)
    figure = Figure(figsize=(9.2, 6.4), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    low, limit = colour_range(grid[np.isfinite(grid)])
    mesh = plot.pcolormesh(x.edges(), y.edges(), grid, cmap="viridis", vmin=low, vmax=limit, edgecolor="white", lw=1.5)
    bar = figure.colorbar(mesh, ax=plot, pad=0.02, aspect=28)
    bar.set_label(f"{'verified ' if verified else ''}fitness: net forward speed (m/s)", color=INK)
    bar.outline.set_visible(False)
    _dress(plot, x, y)
    _write_numbers(plot, grid, x, y, low, limit)
    plot.set_title(_headline(archive, grid, title), loc="left", color=INK, fontsize=11, pad=12)
    return figure


def colour_range(speeds: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The speeds, m/s, at both ends of the colours: of the slowest robot, no more than 0, and of the fastest."""
    if not len(speeds):
        return 0.0, 1.0
    high = max(float(max(speeds)), 1e-3)
    return max(min(float(min(speeds)), 0.0), -high), high


def _two(axes: Sequence[Descriptor]) -> tuple[Descriptor, Descriptor]:
    """The first two axes; an archive over one descriptor gets a blank second one."""
    if len(axes) >= 2:
        return axes[0], axes[1]
    return axes[0], Descriptor("", "", "", 0.0, 1.0, 1)


def _dress(plot: Axes, x: Descriptor, y: Descriptor) -> None:
    plot.set_facecolor(EMPTY)
    plot.set_xlabel(x.axis_label, color=INK, fontsize=11)
    plot.set_ylabel(y.axis_label, color=INK, fontsize=11)
    plot.tick_params(colors=FAINT, labelcolor=INK, length=3)
    if not y.name:
        plot.set_yticks([])
    for spine in plot.spines.values():
        spine.set_visible(False)


def _write_numbers(plot: Axes, grid: np.ndarray, x: Descriptor, y: Descriptor, low: float, high: float) -> None:
    """Writes each cell's value into it, where there is room."""
    if max(grid.shape) > LARGEST_GRID_WITH_NUMBERS:
        return
    x_edges, y_edges = x.edges(), y.edges()
    digits = 2 if high >= 0.1 else 3
    for row, column in zip(*np.nonzero(np.isfinite(grid)), strict=True):
        value = grid[row, column]
        dark = (value - low) / (high - low) < 0.65
        plot.text(
            (x_edges[column] + x_edges[column + 1]) / 2,
            (y_edges[row] + y_edges[row + 1]) / 2,
            f"{round(value, digits) + 0.0:.{digits}f}",  # + 0.0: no minus sign before zero
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else INK,
        )


def _headline(archive: Archive, grid: np.ndarray, title: str) -> str:
    count = int(np.isfinite(grid).sum())
    facts = f"{count} of {grid.size} cells filled ({count / grid.size:.0%})  ·  QD score {np.nansum(grid):.2f} m/s"
    if count:
        facts += f"  ·  best {np.nanmax(grid):.2f} m/s"
    hidden = len(archive) - count
    if hidden:
        facts += f"  ·  {hidden} elites behind better ones"
    return f"{title}\n{facts}" if title else facts


def figure_png(figure: Figure) -> bytes:
    """A figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_heatmap(
    archive: Archive,
    path: Path,
    axes: Sequence[Descriptor] | None = None,
    *,
    title: str = "",
    verified: bool = False,
) -> bytes:
    """Draws the archive into a PNG file, atomically, in a folder made for it if need be, and returns its bytes.

    A figure holds megabytes in a web of references to itself, and the more a process keeps, the more rarely Python
    looks for such webs: without the collection here a long run would grow with every picture.
    """
    data = figure_png(draw_heatmap(archive, axes, title=title, verified=verified))
    gc.collect()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    return data
