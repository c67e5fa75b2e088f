"""The archive: its rules, pyribs as oracle, and its file."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from map_elites.archive import Archive, ArchiveError, load_archive, to_pyribs
from map_elites.descriptors import DESCRIPTORS, find_descriptor, make_axes, mean_by_name
from tests.map_elites.fakes import AXES, ToyDesign, toy_elite, toy_score


def read_toy(rules) -> ToyDesign:
    return ToyDesign(tuple(int(rule) for rule in rules))


def place(i: int) -> dict[str, float]:
    """Descriptors in the middle of a cell of its own."""
    return {"contact": (i % 5) / 5 + 0.1, "height": (i % 4) / 2 + 0.25}


def filled(count: int = 6) -> Archive:
    archive = Archive(AXES)
    for i in range(count):
        archive.add(toy_elite(i, toy_score(i / 10, **place(i)), parents=(i - 1,) if i else ()))
    return archive


def test_add_takes_an_empty_cell():
    archive = Archive(AXES)
    result = archive.add(toy_elite(1, toy_score(-0.2)))
    assert (result.status, result.cell, result.evicted) == ("new", (2, 1), None)
    assert archive.coverage == 1 / 20 and archive.qd_score == -0.2


def test_add_replaces_only_when_strictly_better():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.5)))
    assert archive.add(toy_elite(2, toy_score(0.5))).status == "rejected"
    result = archive.add(toy_elite(3, toy_score(0.6)))
    assert result.status == "improved" and result.evicted.id == 1
    assert [elite.id for elite in archive] == [3] and 1 not in archive


def test_gain_is_what_the_qd_score_would_gain():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.5, 0.1)))
    assert archive.gain(toy_score(0.7, 0.1)) == pytest.approx(0.2) and archive.gain(toy_score(0.4, 0.1)) < 0
    assert archive.gain(toy_score(0.4, 0.9)) == 0.4


def test_a_design_is_in_the_archive_at_most_once():
    archive = Archive(AXES)
    archive.add(toy_elite(1, toy_score(0.5)))
    twin = toy_elite(2, toy_score(0.9, contact=0.9))
    twin = type(twin)(2, ToyDesign((0, 1)), twin.score, 3, "flat", "toy")
    assert archive.add(twin).status == "duplicate" and len(archive) == 1


def test_rescore_lowers_and_remembers():
    archive = filled()
    archive.rescore(3, toy_score(-1.0, **place(3), version=9))
    elite = archive.get(3)
    assert elite.fitness == -1.0 and elite.history == ((1, 0.3),)
    assert archive.qd_score == pytest.approx(sum(i / 10 for i in range(6)) - 1.3)


def test_rescore_moves_to_a_free_cell():
    archive = filled()
    result = archive.rescore(3, toy_score(0.3, contact=0.99, height=0.99))
    assert result.status == "new" and archive.at((4, 1)).id == 3 and archive.at((3, 3)) is None


@pytest.mark.parametrize(("fitness", "winner"), [(0.4, 4), (0.41, 3), (0.1, 4)])
def test_rescore_into_an_occupied_cell_keeps_the_strictly_fitter(fitness: float, winner: int):
    archive = filled()
    cell = archive.cell_of_elite(4)
    archive.rescore(3, toy_score(fitness, **place(4)))
    assert archive.at(cell).id == winner and len(archive) == 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_change_nothing(bad: float):
    archive = filled()
    before = archive.to_json()
    with pytest.raises(ArchiveError, match="finite"):
        archive.add(toy_elite(99, toy_score(bad)))
    with pytest.raises(ArchiveError, match="finite"):
        archive.rescore(2, toy_score(bad))
    with pytest.raises(ArchiveError, match="finite"):
        archive.rescore(2, toy_score(0.1, contact=bad))
    assert archive.to_json() == before


def test_missing_descriptor_is_named():
    with pytest.raises(ArchiveError, match="'contact'"):
        Archive(AXES).cell_of({"height": 1.0})


def test_remove_frees_cell_id_and_design():
    archive = filled()
    gone = archive.remove(2)
    assert 2 not in archive and not archive.has_design(gone.design) and len(archive) == 5
    assert archive.add(gone).status == "new"


def test_best_is_the_older_of_equals():
    archive = Archive(AXES)
    archive.add(toy_elite(5, toy_score(0.5, contact=0.1)))
    archive.add(toy_elite(2, toy_score(0.5, contact=0.9)))
    assert archive.best.id == 2 and Archive(AXES).best is None


measured = st.tuples(st.floats(-2, 2, width=32), st.floats(-0.5, 1.5, width=32), st.floats(-0.5, 2.5, width=32))


@settings(max_examples=60, deadline=None)
@given(st.lists(measured, max_size=60))
def test_same_adds_give_the_same_cells_scores_and_coverage_as_pyribs(rows):
    import numpy as np
    from ribs.archives import GridArchive

    ours = Archive(AXES)
    theirs = GridArchive(
        solution_dim=1, dims=[5, 4], ranges=[(0, 1), (0, 2)], dtype=np.float64, extra_fields={"id": ((), np.int64)}
    )
    for i, (fitness, contact, height) in enumerate(rows):
        result = ours.add(toy_elite(i, toy_score(fitness, contact, height)))
        info = theirs.add(np.array([[float(i)]]), np.array([fitness]), np.array([[contact, height]]), id=np.array([i]))
        assert int(info["status"][0]) == {"rejected": 0, "improved": 1, "new": 2}[result.status]
        assert theirs.index_of_single([contact, height]) == result.cell[0] * 4 + result.cell[1]
    assert sorted(theirs.data("id")) == sorted(elite.id for elite in ours)
    assert float(theirs.stats.qd_score) == pytest.approx(ours.qd_score, abs=1e-9)
    assert float(theirs.stats.coverage) == ours.coverage


def test_export_to_pyribs_keeps_cells_and_score():
    ours = filled()
    theirs = to_pyribs(ours)
    assert sorted(theirs.data("index")) == sorted(c[0] * 4 + c[1] for c in (ours.cell_of_elite(e.id) for e in ours))
    assert float(theirs.stats.qd_score) == pytest.approx(ours.qd_score)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "rescore", "remove"]), st.integers(0, 12), measured), max_size=80))
def test_indices_stay_consistent_under_any_history(steps):
    archive, seen = Archive(AXES), 0
    for kind, number, (fitness, contact, height) in steps:
        ids = [elite.id for elite in archive]
        score = toy_score(fitness, contact, height)
        if kind == "add":
            seen += 1
            archive.add(toy_elite(100 + seen, score))
        elif ids and kind == "rescore":
            archive.rescore(ids[number % len(ids)], score)
        elif ids:
            archive.remove(ids[number % len(ids)])
    for elite in archive:
        assert archive.get(elite.id) is elite and archive.has_design(elite.design)
        assert archive.cell_of(elite.score.descriptors) == archive.cell_of_elite(elite.id)
    assert len(list(archive)) == len(archive._id_by_rules) == len(archive._cell_by_id)


def test_save_and_load_give_the_same_archive(tmp_path: Path):
    archive = filled()
    archive.verify(2, toy_score(0.15))
    archive.save(tmp_path / "archive.json")
    again = load_archive(tmp_path / "archive.json", axes=AXES, read_design=read_toy)
    assert again.to_json() == archive.to_json() and again.get(2).verified.fitness == 0.15


def test_file_does_not_depend_on_the_order_of_arrival(tmp_path: Path):
    elites = list(filled())
    texts = set()
    for _ in range(5):
        random.shuffle(elites)
        archive = Archive(AXES)
        for elite in elites:
            archive.add(elite)
        archive.save(tmp_path / "archive.json")
        texts.add((tmp_path / "archive.json").read_bytes())
    assert len(texts) == 1


def test_file_has_the_published_keys(tmp_path: Path):
    filled(1).save(tmp_path / "archive.json")
    assert list(json.loads((tmp_path / "archive.json").read_text())[0]) == [
        "id", "parent_ids", "cell", "rules", "design", "fitness", "descriptors", "policy_version", "episodes",
        "verified_fitness", "robogrammar_objective", "verified_robogrammar_objective",
        "terrain", "terrain_speeds", "verified_terrain_speeds", "engine", "joints",
    ]  # fmt: skip


def test_speeds_on_each_terrain_are_kept_and_older_archives_have_none(tmp_path: Path):
    archive, path = filled(1), tmp_path / "archive.json"
    elite = archive.remove(next(iter(archive)).id)
    archive.add(replace(elite, score=replace(elite.score, terrain_speeds={"flat": 0.3, "gap": -0.1})))
    archive.verify(elite.id, replace(elite.score, terrain_speeds={"flat": 0.2, "gap": 0.1}))
    archive.save(path)
    [loaded] = load_archive(path, axes=AXES, read_design=read_toy)
    assert loaded.score.terrain_speeds == {"flat": 0.3, "gap": -0.1}
    assert loaded.verified.terrain_speeds == {"flat": 0.2, "gap": 0.1}
    [entry] = json.loads(path.read_text())
    for key in ("terrain_speeds", "verified_terrain_speeds"):
        del entry[key]
    path.write_text(json.dumps([entry]))
    [older] = load_archive(path, axes=AXES, read_design=read_toy)
    assert older.score.terrain_speeds == {} and older.fitness == elite.fitness


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "{}",
        lambda text: "[1]",
        lambda text: text.replace('"rules"', '"rulez"'),
        lambda text: text.replace('"fitness": 0.1', '"fitness": "fast"'),
        lambda text: text.replace('"fitness": 0.1', '"fitness": NaN'),
        lambda text: json.dumps(json.loads(text) * 2),
        lambda text: text.replace('"cell": [0,', '"cell": [1,', 1),
    ],
)
def test_damaged_file_is_one_clear_error(tmp_path: Path, damage):
    path = tmp_path / "archive.json"
    filled().save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ArchiveError, match="is damaged"):
        load_archive(path, axes=AXES, read_design=read_toy)


def test_bytes_that_are_not_text_are_one_clear_error(tmp_path: Path):
    (tmp_path / "archive.json").write_bytes(os.urandom(200))
    with pytest.raises(ArchiveError, match="is damaged"):
        load_archive(tmp_path / "archive.json", axes=AXES, read_design=read_toy)


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "archive.json"
    filled(2).save(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        filled(5).save(path)
    assert path.read_bytes() == before


def _save_for_ever(path: Path) -> None:
    small, large = filled(2), filled(6)
    while True:
        small.save(path)
        large.save(path)


def test_archive_is_readable_after_kills_at_random_moments(tmp_path: Path):
    path = tmp_path / "archive.json"
    context = multiprocessing.get_context("fork")
    for _ in range(100):
        writer = context.Process(target=_save_for_ever, args=(path,))
        writer.start()
        deadline = time.monotonic() + 5
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(random.uniform(0.0, 0.008))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert len(load_archive(path, axes=AXES, read_design=read_toy)) in (2, 6)
    assert len(list(tmp_path.iterdir())) <= 2


def test_unknown_descriptor_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'body_height'"):
        find_descriptor("body_heigth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "at least one"),
        ({"names": ["joints", "joints"]}, "each once"),
        ({"names": ["joints"], "bins": [3, 4]}, "one number per descriptor"),
        ({"names": ["joints"], "bins": [0]}, "bins must be at least 1"),
        ({"names": ["joints"], "ranges": {"legs": (0, 1)}}, "ranges.legs"),
        ({"names": ["joints"], "ranges": {"joints": (3, 1)}}, "range must rise"),
    ],
)
def test_bad_axes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_axes(**arguments)


def test_counts_have_one_bin_per_value():
    joints = DESCRIPTORS["joints"]
    assert [joints.bin_of(n) for n in (1, 2, 24)] == [0, 1, 23] and len(joints.edges()) == joints.bins + 1


def test_mean_keeps_what_every_row_has():
    assert mean_by_name([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0}
