"""Merging costs in proportion to the rounds, and what is merged comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.rounds import merging
from tools.rounds.errors import ResultError
from tools.rounds.final import Source, write_final
from tools.rounds.layout import Layout, row_dtype
from tools.rounds.parts import Parts
from tools.rounds.quota import Quota
from tools.rounds.settings import make_settings


class Notes:
    """A journal that keeps its lines."""

    def __init__(self):
        self.lines = []

    def append(self, line, *, sync=False):
        self.lines.append(dict(line))


def make_merger(target: int):
    values = {"exp_name": "e", "object_code_list": ["box"], "target_count_per_object": target, "round_batch_size": 4}
    quota = Quota(make_settings(values), 0)
    return quota, merging.Merger(quota, Notes())


def merge_rounds(quota, merger, first: int, num: int) -> None:
    for round_id in range(first, first + num):
        record = quota.begin(round_id)
        quota.finish(record, {"samples": 4, "wall_s": 0.0, "bytes": 0})
        merger.merge(record, {"samples": np.full((4, 2), float(round_id)), "energies.total": np.arange(4.0)})
        merger.write(always=False)


def test_bytes_written_grow_in_proportion_to_the_rounds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []

    def counted(path, *arguments):
        write_final(path, *arguments)
        written.append(path.stat().st_size)

    monkeypatch.setattr(merging, "write_final", counted)
    quota, merger = make_merger(10**6)
    merge_rounds(quota, merger, 0, 500)
    assert len(written) < 20
    assert sum(written) < 4 * written[-1]


def test_round_that_does_not_fit_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quota, merger = make_merger(100)
    merge_rounds(quota, merger, 0, 2)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.raw")}
    record = quota.begin(2)
    quota.finish(record, {"samples": 4, "wall_s": 0.0, "bytes": 0})
    for wrong in (np.zeros((4, 2), dtype="f4"), np.zeros((4, 3)), np.zeros((4, 2), dtype=int)):
        with pytest.raises(ResultError, match="the rounds before had"):
            merger.merge(record, {"samples": wrong})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.raw")} == before
    assert quota.count == 8


FIELDS = {"samples": np.float32, "rules": np.int16, "text": "U3", "energies.total": np.float64, "when": "M8[s]"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from(sorted(FIELDS)))), min_size=1, max_size=6))
def test_what_is_appended_comes_back_and_gaps_are_marked(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("parts")
    parts, layout, expected = Parts(folder / "parts"), Layout(), []
    for number, (num_rows, names) in enumerate(batches):
        fields = {name: np.full((num_rows, 2), number + 1).astype(FIELDS[name]) for name in {*names, "samples"}}
        fields["meta.round_id"] = np.full(num_rows, number, dtype="<i4")
        layout.check(fields)
        new = {name: row_dtype(array) for name, array in fields.items() if name not in layout.dtypes}
        parts.append(layout, fields, new)
        layout.add(new, sorted(set(layout.dtypes) - set(fields)), num_rows)
        parts.cut(layout)
        expected += [(number, set(fields))] * num_rows
    if not expected:
        return
    write_final(folder / "final.npz", parts, layout, layout.count, Source("e__box__r", 7, len(batches) - 1))
    with np.load(folder / "final.npz") as final:
        check(final, layout, expected)


def check(final, layout: Layout, expected) -> None:
    assert final["meta"]["seed"].tolist() == [7 + number for number, _ in expected]
    assert final["meta"]["name"].tolist() == [f"e__box__r{number}" for number, _ in expected]
    for name in set(layout.dtypes) - {"meta.round_id"}:
        rows = final["energies"]["total"] if name == "energies.total" else final[name]
        there = np.array([name in names for _, names in expected])
        wanted = np.array([[number + 1] * 2 for number, _ in expected]).astype(FIELDS[name])
        np.testing.assert_array_equal(rows[there], wanted[there])
        if there.all():
            assert f"missing.{name}" not in final
        else:
            np.testing.assert_array_equal(final[f"missing.{name}"], ~there)


def test_text_may_be_shorter_than_before_but_not_longer():
    layout = Layout({"text": np.dtype("<U3")})
    layout.check({"text": np.array(["ab"])})
    with pytest.raises(ResultError, match=r"text has rows of <U4, the rounds before had <U3"):
        layout.check({"text": np.array(["abcd"])})
