"""Heatmaps show the right numbers, over any axes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from map_elites.archive import Archive
from map_elites.descriptors import DESCRIPTORS, Descriptor
from map_elites.plots import best_by_cell, colour_range, draw_heatmap, save_heatmap
from tests.map_elites.fakes import AXES, toy_elite, toy_score


def small() -> Archive:
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.3, contact=0.1, height=0.1)))
    archive.add(toy_elite(2, toy_score(-0.1, contact=0.9, height=1.9)))
    return archive


def test_grid_has_x_as_columns_and_y_as_rows():
    grid = best_by_cell(list(small()), AXES)
    assert grid.shape == (4, 5) and grid[0, 0] == 0.3 and grid[3, 4] == -0.1 and np.isnan(grid).sum() == 18


def test_other_axes_show_the_best_of_those_who_meet():
    grid = best_by_cell(list(small()), (DESCRIPTORS["joints"], AXES[0]))
    assert grid[0, 2] == 0.3 and grid[4, 2] == -0.1
    assert (
        np.nanmax(best_by_cell(list(small()), (DESCRIPTORS["joints"], Descriptor("contact", "", "", 0, 1, 1)))) == 0.3
    )


def test_verified_scores_can_be_shown():
    archive = small()
    archive.verify(1, toy_score(0.25))
    assert np.nansum(best_by_cell(list(archive), AXES, verified=True)) == 0.25


@pytest.mark.parametrize("axes", [AXES, AXES[:1], (DESCRIPTORS["joints"], DESCRIPTORS["mass_kg"])])
@pytest.mark.parametrize("archive", [Archive(AXES), small()], ids=["empty", "small"])
def test_any_archive_can_be_drawn(archive, axes, tmp_path: Path):
    path = tmp_path / "plots" / "heatmap.png"
    png = save_heatmap(archive, path, axes, title="a run")
    assert png[:4] == b"\x89PNG" and path.read_bytes() == png


def test_figure_names_axes_units_and_figures():
    figure = draw_heatmap(small(), title="my run")
    plot, bar = figure.axes
    assert plot.get_xlabel() == "contact" and plot.get_ylabel() == "height (m)" and "(m/s)" in bar.get_ylabel()
    title = plot.get_title(loc="left")
    assert all(part in title for part in ("my run", "2 of 20 cells", "QD score 0.20 m/s", "best 0.30 m/s"))
    assert math.isclose(bar.get_ylim()[1], 0.3)


@pytest.mark.parametrize(
    ("speeds", "wanted"),
    [([], (0.0, 1.0)), ([0.2, 0.5], (0.0, 0.5)), ([-0.1, 0.5], (-0.1, 0.5)), ([-3.0, 0.5], (-0.5, 0.5))],
)
def test_colours_reach_from_the_slowest_to_the_fastest(speeds: list[float], wanted: tuple[float, float]):
    assert colour_range(speeds) == wanted
