"""Pictures of terrains with matplotlib, without physics or a display."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from robogrammar_env.terrain import Terrain

_BEHIND_M = 1.0
_WIDTH_M = 3.0


def draw_terrain(axes: Axes, terrain: Terrain, *, length_m: float = 10.0) -> AxesImage:
    """Draws heights seen from above, from 1 m behind the start to `length_m` ahead of it, 3 m wide."""
    x, y = np.linspace(-_BEHIND_M, length_m, 1100), np.linspace(-_WIDTH_M / 2, _WIDTH_M / 2, 75)
    heights = terrain.height_at(*np.meshgrid(x, y))
    spread = max(float(np.abs(heights).max()), 0.1)
    extent = (x[0], x[-1], y[0], y[-1])
    return axes.imshow(heights, extent=extent, origin="lower", cmap="BrBG_r", aspect="auto", vmin=-spread, vmax=spread)


def draw_profile(axes: Axes, terrain: Terrain, *, length_m: float = 10.0) -> None:
    """Draws heights along the line that robots start on."""
    x = np.linspace(-_BEHIND_M, length_m, 4400)
    heights = terrain.height_at(x, 0.0)
    axes.fill_between(x, heights, min(heights.min(), 0.0) - 0.1, color="#b0a090")
    axes.plot(x, heights, color="#303030", linewidth=0.8)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(min(axes.get_ylim()[0], -0.25), max(axes.get_ylim()[1], 0.25))


def terrain_figure(terrain: Terrain) -> Figure:
    """Makes a figure of one terrain: from above, and in profile."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    above, along = figure.subplots(2, 1, sharex=True)
    figure.colorbar(draw_terrain(above, terrain), ax=above, label="height (m)")
    above.set(ylabel="left (m)", title=f"{terrain.name}, seed {terrain.seed}")
    draw_profile(along, terrain)
    along.set(xlabel="ahead of the start (m)", ylabel="height at y = 0 (m)")
    return figure


def terrain_sheet_figure(terrains: Sequence[Terrain]) -> Figure:
    """Makes a figure of many terrains, each from above and in profile."""
    columns = 3
    rows = -(-len(terrains) // columns)
    figure = Figure(figsize=(4.6 * columns, 2.7 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat[2 * len(terrains) :]:
        axes.set_axis_off()
    for index, terrain in enumerate(terrains):
        row, column = divmod(index, columns)
        above, along = grid[2 * row, column], grid[2 * row + 1, column]
        draw_terrain(above, terrain)
        above.set_title(f"{terrain.name} (friction {terrain.friction:g})", fontsize=9)
        draw_profile(along, terrain)
        above.set_ylabel("left (m)", fontsize=7)
        along.set_xlabel("ahead of the start (m)", fontsize=7)
        along.set_ylabel("height (m)", fontsize=7)
        for axes in (above, along):
            axes.tick_params(labelsize=6)
    return figure
