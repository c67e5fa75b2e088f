"""Choosing an elite, and drawing all of them in their cells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from map_elites.archive import Archive
from map_elites.cli import main
from map_elites.errors import UserError
from map_elites.trainer.elites import gallery_figure, pick_elite
from robogrammar_env.design import RobotDesign
from tests.map_elites.fakes import AXES, toy_elite, toy_score

WALKER = RobotDesign.from_text("body(swing, obtuse_lift) -lift- body(swing, obtuse_lift)")
CRAWLER = RobotDesign.from_text("body(swing long)")


def archive() -> Archive:
    made = Archive(AXES)
    made.add(replace(toy_elite(1, toy_score(0.3, contact=0.1, height=0.1)), design=WALKER))
    made.add(replace(toy_elite(2, toy_score(0.4, contact=0.9, height=1.9)), design=CRAWLER))
    return made


def test_the_fastest_elite_is_the_default():
    assert pick_elite(archive(), None).id == 2 and pick_elite(archive(), 1).id == 1


def test_verified_speeds_decide_who_is_the_fastest():
    made = archive()
    made.verify(1, toy_score(0.35, contact=0.1, height=0.1))
    made.verify(2, toy_score(0.2, contact=0.9, height=1.9))
    assert pick_elite(made, None).id == 1


def test_an_unknown_elite_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no elite 7; the archive has 1, 2"):
        pick_elite(archive(), 7)
    with pytest.raises(UserError, match="no elite"):
        pick_elite(Archive(AXES), None)


def test_gallery_has_a_picture_in_each_filled_cell_and_the_bounds_at_the_border():
    made = archive()
    plot = gallery_figure(made, "my run").axes[0]
    places = {(int(image.get_extent()[0]), int(image.get_extent()[2])) for image in plot.images}
    assert places == {made.cell_of_elite(1)[:2], made.cell_of_elite(2)[:2]} and len(plot.images) == 2
    assert {"0.30 m/s", "0.40 m/s", "1", "2"} == {text.get_text() for text in plot.texts}
    assert [plot.get_xlabel(), plot.get_ylabel()] == [axis.axis_label for axis in AXES[:2]]
    assert {label.get_text() for label in plot.get_xticklabels()} <= {f"{edge:.3g}" for edge in AXES[0].edges()}


def test_gallery_of_an_empty_archive_is_empty():
    assert not gallery_figure(Archive(AXES), "my run").axes[0].images


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--replay", "x"], "--out is missing"),
        (["--export", "x"], "--out is missing"),
        (["--plot", "x", "--elite", "3"], "--elite goes with"),
        (["--train-shared", "--out", "x"], "--out goes with"),
        (["--replay", "nowhere", "--out", "a.gif"], "nowhere"),
        (["--replay", "nowhere", "--out", "a.avi"], "ends in .gif or .mp4"),
    ],
)
def test_bad_command_lines_get_one_line_and_exit_code_2(flags, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1
