"""Pictures: that they are made, and that what is in them is where it should be."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Polygon

from robogrammar_env.design import as_design
from robogrammar_env.drawing import VIEWS, draw_robot, robot_figure, save_figure, sheet_figure
from robogrammar_env.errors import UnknownNameError
from robogrammar_env.robot import build_robot
from robogrammar_env.terrain import TERRAINS, make_terrain
from robogrammar_env.terrain_drawing import terrain_figure, terrain_sheet_figure

ROBOT = build_robot(as_design("ridged"))


def _outlines(robot, **options):
    axes = Figure().subplots()
    draw_robot(axes, robot, **options)
    return [patch.get_xy() for patch in axes.patches if isinstance(patch, Polygon)]


@pytest.mark.parametrize("view", VIEWS)
def test_every_link_is_drawn_once(view):
    assert len(_outlines(ROBOT, view=view)) == len(ROBOT.links)


def test_side_view_shows_the_robot_as_it_stands_at_the_start():
    """Nose at 0, lowest point on the ground, as tall and as long as its bounding box."""
    points = np.concatenate(_outlines(ROBOT, view="side"))
    low, high = np.array(ROBOT.bounding_box_m) + ROBOT.spawn_position_m
    np.testing.assert_allclose([*points.min(axis=0), *points.max(axis=0)], [low[0], 0, 0, high[2]], atol=2e-3)


def test_top_view_has_the_left_side_up():
    design = as_design("apr30_asym: 0 7 2 16 17 9 8 5 5 6")  # the left leg is longer
    points = np.concatenate(_outlines(build_robot(design), view="top"))
    assert points[:, 1].max() > -points[:, 1].min() + 0.04


def test_pose_changes_the_picture():
    angles = np.full(ROBOT.num_joints, 0.5)
    assert not np.allclose(_outlines(ROBOT)[0], _outlines(ROBOT, joint_angles_rad=angles)[0])


@pytest.mark.parametrize("text", ["body", "flat", "apr30_wheel: 0 7 2 16 8 20 6"])
def test_robot_figure_becomes_a_picture(tmp_path, text):
    path = tmp_path / "robot.png"
    save_figure(robot_figure(build_robot(as_design(text)), text), path)
    picture = imread(path)
    assert picture.shape[0] > 300 and picture.std() > 0.02


def test_sheet_has_one_picture_per_robot(tmp_path):
    figure = sheet_figure([ROBOT] * 5, list("abcde"))
    assert [axes.get_title() for axes in figure.axes if axes.patches] == list("abcde")
    save_figure(figure, tmp_path / "sheet.svg")
    assert (tmp_path / "sheet.svg").stat().st_size > 1000


@pytest.mark.parametrize("name", ["gap", "hill"])
def test_terrain_figure_becomes_a_picture(tmp_path, name):
    save_figure(terrain_figure(make_terrain(name)), tmp_path / "terrain.png")
    assert imread(tmp_path / "terrain.png").std() > 0.02


def test_terrain_sheet_has_a_title_for_each():
    figure = terrain_sheet_figure([make_terrain(name) for name in TERRAINS])
    assert [axes.get_title().split(" ")[0] for axes in figure.axes if axes.get_title()] != []
    assert {axes.get_title().split(" ")[0] for axes in figure.axes} == {*TERRAINS, ""}


def test_unknown_view_and_format_are_errors_that_name_the_known_ones(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown view 'sid', did you mean 'side'"):
        _outlines(ROBOT, view="sid")
    with pytest.raises(UnknownNameError, match=r"unknown picture format 'pgn', did you mean 'png'"):
        save_figure(Figure(), tmp_path / "a.pgn")
