"""Scores: through pavi, on standard output, as JSON lines, in files, as TensorBoard events."""

import json
import math
import subprocess
import sys
import time

import pytest

from gml.scores import CsvSource, JobScalars, JsonLinesSource, JsonSource, OutputSource, TensorBoardSource, file_source
from pavi import SummaryWriter, get_latest_scalar


def read(source, reward="acc", is_final=True):
    scalars = JobScalars([source], reward)
    scalars.read(is_final=is_final)
    return scalars


def output(tmp_path, text, names=("acc",)):
    source = OutputSource(tmp_path / "log", names)
    (tmp_path / "log").write_text(text)
    return source


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("acc: 0.5\n", 0.5),
        ("noise\n  acc: 5e-1, loss: 3\n", 0.5),
        ("acc: 0.1\nacc: 0.5", 0.5),
        ("\x1b progress\racc: 0.5\r\n", 0.5),
        ("OPTUNA_SCORE: 0.5\nacc: 0.9\n", 0.5),
        ('{"acc": 0.5, "step": 3}\n', 0.5),
        ('{"name": "acc", "value": 0.5, "iteration": 3}\n', 0.5),
        ("ACC: 0.5\n", 0.5),
        ("the acc: 0.5\n", None),
        ("acc: 0.5.1\n", None),
        ("acc 0.5\n{broken\n[1]\n", None),
        ("acc: inf\n", math.inf),
        (f'{{"acc": {10**400}}}\n{{"acc": 0.5, "step": {10**400}}}\n', 0.5),
        ('{"a":' * 100_000 + '\n{"acc": 0.5, "step": 1e300}\n', 0.5),
    ],
)
def test_score_on_standard_output(tmp_path, text, score):
    assert read(output(tmp_path, text)).score == score


def test_names_with_spaces_are_found(tmp_path):
    assert read(output(tmp_path, "Test Acc: 0.25\n", ["Test Acc"]), "Test Acc").score == 0.25


def test_line_that_is_still_being_written_is_read_once_whole(tmp_path):
    scalars = JobScalars([OutputSource(tmp_path / "log", ["acc"])], "acc")
    with (tmp_path / "log").open("w") as log:
        log.write("acc: 0.1\nacc: 0.")
        log.flush()
        assert [entry["value"] for entry in scalars.read()] == [0.1]
        log.write("75\n")
        log.flush()
        assert [(e["iteration"], e["value"]) for e in scalars.read()] == [(1, 0.75)]


def test_earlier_try_in_the_same_log_does_not_count(tmp_path):
    (tmp_path / "log").write_text("acc: 9\n")
    assert read(OutputSource(tmp_path / "log", ["acc"])).score is None


def test_json_and_csv_files(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"status": "done", "acc": 0.5, "none": None, "flag": True}))
    assert read(JsonSource(tmp_path / "s.json")).history.keys() == {"acc"}
    assert read(JsonSource(tmp_path / "s.json"), is_final=False).score is None
    source = CsvSource(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text("step,acc,text\n1,0.1,a\n2,,b\n3,0.3,c\n")
    assert [(entry["iteration"], entry["value"]) for entry in read(source).rewards] == [(1, 0.1), (3, 0.3)]


@pytest.mark.parametrize("mode", ["a", "w"])
def test_rows_of_an_earlier_try_in_the_same_table_do_not_count(tmp_path, mode):
    table = tmp_path / "m.csv"
    table.write_text("step,acc\n1,0.1\n2,0.9\n3,0.9\n")
    source = CsvSource(table)
    with table.open(mode) as stream:
        stream.write(("step,acc\n" if mode == "w" else "") + "1,0.2\n")
    assert [(entry["iteration"], entry["value"]) for entry in read(source).rewards] == [(1, 0.2)]


def test_line_without_end_takes_neither_time_nor_memory(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        source = OutputSource(tmp_path / "log", ["acc"])
        for _ in range(200):
            log.write(b"x" * 1_000_000)
        log.write(b"\nacc: 0.5\n")
    begin = time.process_time()
    assert read(source).score == 0.5
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", b"step,acc\nnan,1\ninf,2\n"),
        ("r.csv", b"step,acc\n1," + b"9" * 200_000 + b"\n"),
        ("r.json", b"\xff\xfe{"),
    ],
)
def test_odd_file_of_a_job_does_not_stop_the_reading(tmp_path, name, content):
    log = output(tmp_path, "acc: 0.5\n")
    scalars = JobScalars([file_source(str(tmp_path / name)), log], "acc")
    (tmp_path / name).write_bytes(content)
    scalars.read()
    scalars.read(is_final=True)
    assert scalars.score == 0.5


def test_scalar_file_that_is_no_text_is_read_as_far_as_it_goes(tmp_path):
    (tmp_path / "scalars.jsonl").write_bytes(b'\xff\xfe\n{"acc": 3}\n')
    assert [entry["value"] for entry in get_latest_scalar(tmp_path, "acc")] == [3.0]


@pytest.fixture
def writer(tmp_path, monkeypatch):
    monkeypatch.setenv("GML_SCALARS", str(tmp_path / "job" / "scalars.jsonl"))
    monkeypatch.delenv("MOCK_PAVI", raising=False)
    return SummaryWriter("ResNet18", session_text="lr: 0.1")


def test_pavi_scalars_are_read_back(tmp_path, writer):
    source = JsonLinesSource(tmp_path / "job" / "scalars.jsonl")
    for step in range(3):
        writer.add_scalar("acc", 0.25 * step, step)
        writer.add_scalar("loss", 1e300, step)
    history = get_latest_scalar(name="acc")
    assert [(entry["iteration"], entry["value"]) for entry in history] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert history[0]["created"] > 1_600_000_000_000
    assert read(source).score == 0.5
    late = JsonLinesSource(tmp_path / "job" / "scalars.jsonl")
    assert read(late).score is None  # what was there before belongs to an earlier try
    assert json.loads((tmp_path / "job" / "training.json").read_text())["session_text"] == "lr: 0.1"


def test_pavi_writes_events_that_tensorboard_reads(tmp_path, writer):
    for step in range(3):
        writer.add_scalar("acc", 0.25 * step, step)
        writer.add_scalar("large", 1e300, step)
    scalars = read(TensorBoardSource(tmp_path / "job"))
    assert [(entry["iteration"], entry["value"]) for entry in scalars.rewards] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert scalars.history["large"][0]["value"] == math.inf


def test_pavi_takes_tensors_and_writes_nothing_when_mocked(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCK_PAVI", "2")
    monkeypatch.chdir(tmp_path)
    with SummaryWriter("x") as writer:
        writer.add_scalar("acc", object(), 0)
    assert list(tmp_path.iterdir()) == []


def test_pavi_needs_the_standard_library_only():

    code = (
        "import sys, pavi; print([m for m in ('numpy', 'torch', 'yaml', 'optuna', 'tensorboard') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
