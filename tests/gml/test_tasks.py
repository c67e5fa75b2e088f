"""Tasks as search-ctl manages them."""

import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from gml.benchmark.mujoco import LinearPolicyProblem
from gml.rows import read_rows
from gml.study import create_study, open_study
from gml.winners import confidence_half_width

GRID = """
task:
  template: "%s"
  search_args:
    - {type: Int, name: x, data: [1, 4]}
"""


def search(space, command, *, code=0, extra=""):
    space.write("config.yaml", GRID % command + extra)
    return space.call("run", "-t", "t", "config.yaml", code=code)


def test_rows_are_what_optuna_says(space):
    search(space, "if [ {x} = 2 ]; then exit 1; fi; echo 'acc: {x}'", code=1)
    states = {"COMPLETE": "FINISHED", "FAIL": "ERROR"}
    trials = open_study(space.task().db).trials
    assert [(row.number, row.state, row.value) for row in space.rows()] == [
        (trial.number, states[trial.state.name], trial.value) for trial in trials
    ]
    assert [row.entry["arg_dict"] for row in space.rows()] == [trial.params for trial in trials]


# Copies of the first trial as numbers 4 to 9999: Optuna itself would take a minute.
TEN_THOUSAND = """
CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) SELECT i FROM n;
INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    SELECT 1 + i, i, study_id, state, datetime_start, datetime_complete FROM n, trials WHERE number = 0;
INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT 1 + i, 0, i, 'FINITE' FROM n;
INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT 1 + i, key, replace(value_json, 'job_0000', printf('job_%04d', i)) FROM n, trial_user_attributes
    WHERE trial_id = 1;
"""


def test_show_answers_quickly_on_ten_thousand_trials(space):
    search(space, "echo 'acc: {x}'")
    with contextlib.closing(sqlite3.connect(space.task().db)) as study, study:
        study.executescript(TEN_THOUSAND)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = space.call("ctl", "show", "-t", "t")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "FINISHED 10000" in shown
    assert "best: job_9999 9999" in shown
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0  # of CPU, Python's start included


def test_clean_removes_failures_and_keeps_the_rest(space):
    search(space, "if [ {x} = 2 ] && [ ! -e mended ]; then exit 1; fi; echo 'acc: {x}'", code=1)
    assert "1 trials would go (dry run)" in space.call("ctl", "clean", "-t", "t", "--dry-run")
    assert len(space.rows()) == 4
    space.call("ctl", "clean", "-t", "t")
    assert [(row.state, row.value, row.job) for row in space.rows()] == [
        ("FINISHED", 1.0, "job_0000"),
        ("FINISHED", 3.0, "job_0002"),
        ("FINISHED", 4.0, "job_0003"),
    ]
    assert len(list(space.task().path.glob("study.*.db"))) == 1
    assert not (space.task().jobs / "job_0001").exists()
    space.write("mended", "")
    space.call("run", "-t", "t", "config.yaml", "--resume")  # the failed point of the grid is free again
    assert [(row.value, row.job) for row in space.rows()][3:] == [(2.0, "job_0004")]  # job_0003 keeps its folder
    assert sorted(row.value for row in space.rows()) == [1.0, 2.0, 3.0, 4.0]
    for row in space.rows():
        manifest = json.loads((space.task().jobs / row.job / "manifest.json").read_text())
        assert (manifest["arg_dict"], manifest["seed"]) == (row.entry["arg_dict"], row.entry["seed"])


def test_clean_makes_a_retry_the_only_try(space):
    search(space, "if [ {x} = 2 ] && [ ! -e mended ]; then exit 1; fi; echo 'acc: {x}'", code=1)
    space.write("mended", "")
    space.call("run", "-t", "t", "config.yaml", "--resume")
    assert [row.is_try for row in space.rows()] == [True, True, True, True, False]
    space.call("ctl", "clean", "-t", "t")
    assert [(row.value, row.is_try) for row in space.rows()] == [(1.0, True), (3.0, True), (4.0, True), (2.0, True)]


def test_no_finished_job_is_said_plainly(space):
    out = search(space, "exit 1", code=1)
    assert "4 jobs failed" in out
    assert "no job has finished with a score" in space.call("ctl", "best", "-t", "t", code=1)
    assert "no job with a score" in space.refused("ctl", "winners", "-t", "t")


def test_winners_are_run_again_on_fresh_seeds(space):
    # Luck decides in the search; on fresh seeds x = 2 is better.
    program = "if [ $GML_SEED -lt 1000 ]; then s={x}; else s=$(( ({x} == 2) * 100 + GML_SEED % 2 )); fi; echo acc: $s"
    search(space, program, extra="winner_check: {top: 3, seeds: 4}\n")
    found = yaml.safe_load((space.task().path / "winners.yaml").read_text())
    assert found[0]["job"] == "job_0001"
    assert (found[0]["first"], found[0]["mean"]) == (2.0, 100.5)
    assert sorted(found[0]["scores"]) == [1_000_000, 1_000_001, 1_000_002, 1_000_003]
    assert found[0]["high"] - found[0]["mean"] == pytest.approx(confidence_half_width([100, 101, 100, 101]))


def test_confidence_interval_is_that_of_student():
    """Mean of 1, 2, 3: standard error 1/sqrt(3), t(2, 97.5 %) = 4.3027."""
    assert confidence_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-5)


def test_lucky_run_does_not_end_a_search(space):
    program = "if [ $GML_SEED -gt 1000 ] && [ {x} = 1 ]; then echo acc: 0; else echo acc: 50; fi"
    extra = "scheduler: {stop_criterion: {max_reward: 50}}\nwinner_check: {top: 1, seeds: 2}\n"
    search(space, program, extra=extra)
    assert len(space.rows()) == 2  # the first one was luck, the second one holds


def test_max_reward_ends_a_search_at_once(space):
    search(space, "echo 'acc: {x}'", extra="scheduler: {stop_criterion: {max_reward: 2}}\n")
    assert [row.value for row in space.rows() if row.value is not None] == [1.0, 2.0]


def test_time_limit_ends_a_search_and_kills(space):
    search(space, "sleep 100", code=1, extra="scheduler: {grace_s: 0.5, stop_criterion: {time_limits: 1s}}\n")
    assert space.states() == ["KILLED"]


def test_job_is_run_again_from_its_manifest(space):
    search(space, "echo 'acc: {x}'; echo seed $GML_SEED")
    out = space.call("ctl", "rerun", "-t", "t", "--job", "2")
    assert "acc: 3 (before: 3.0)" in out
    (again,) = space.task().jobs.glob("job_0002_again_*")
    assert "seed 2" in (again / "training.log").read_text()
    assert len(space.rows()) == 4


def test_job_that_writes_files_is_run_again_in_a_folder_of_its_own(space):
    program = "mkdir {job_dir}/run && echo '{\\\"acc\\\": {x}}' > {job_dir}/run/score.json"
    search(space, program, extra='pavi: {files: ["{job_dir}/run/score.json"]}\n')
    assert "acc: 2 (before: 2.0)" in space.call("ctl", "rerun", "-t", "t", "--job", "1")
    assert "one job is run again at a time" in space.refused("ctl", "rerun", "-t", "t", "--job", "1,2")


def test_job_that_is_run_again_does_not_get_its_old_score(space):
    program = "test -e once{x} || echo '{\\\"acc\\\": {x}}' > {job_dir}/score.json; touch once{x}"
    search(space, program, extra='pavi: {files: ["{job_dir}/score.json"]}\n')
    assert "acc: none (before: 2.0)" in space.call("ctl", "rerun", "-t", "t", "--job", "1")


def test_compares_are_made_and_joined(space):
    search(space, "echo 'acc: {x}'")
    compare = space.task().compare_id()
    space.write("joined.yaml", GRID % "echo 'acc: {x}'" + f"pavi: {{compare: {{id: {compare}}}}}\n")
    space.call("run", "-t", "other", "joined.yaml")
    assert space.task("other").compare_id() == compare
    space.write("wrong.yaml", GRID % "echo" + "pavi: {compare: {id: nothere}}\n")
    assert "pavi.compare.id: unknown Compare" in space.refused("run", "-t", "third", "wrong.yaml")


def test_damaged_study_is_exit_code_1(space):
    search(space, "echo 'acc: {x}'")
    for side in space.task().path.glob("study.db-*"):
        side.unlink()
    space.task().db.write_bytes(b"no study")
    for verb in ("show", "export", "clean", "best"):
        assert "is no readable study" in space.call("ctl", verb, "-t", "t", code=1)
    space.write("x.tar.gz", "no tar")
    assert "cannot be unpacked: file could not be opened successfully\n" in space.call(
        "ctl", "import", "--tar-path", "x.tar.gz", code=1
    )


def test_damaged_task_hides_no_other_and_can_be_removed(space):
    search(space, "echo 'acc: {x}'")
    space.write("gml_tasks/broken/config.json", "{")
    shown = space.call("ctl", "show", code=1)
    assert "4 FINISHED" in shown
    assert "broken  DAMAGED" in shown
    space.call("ctl", "rm", "-t", "broken")
    assert "study.db is missing" in yaml.safe_load((space.path / "summary.yaml").read_text())["damaged"]
    assert "broken" not in space.call("ctl", "show")
    space.call("ctl", "rm", "-t", "t")
    summaries = yaml.safe_load_all((space.path / "summary.yaml").read_text())
    assert [summary["task"] for summary in summaries] == ["broken", "t"]


def test_lost_study_is_not_replaced_by_an_empty_one(space):
    search(space, "echo 'acc: {x}'")
    for file in space.task().path.glob("study.db*"):
        file.unlink()
    assert "study.db is missing" in space.call("run", "-t", "t", "config.yaml", "--resume", code=1)
    assert not space.task().db.exists()


def test_other_damaged_files_are_exit_code_1(space):
    search(space, "echo 'acc: {x}'")
    (space.task().jobs / "job_0001" / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in space.call("ctl", "rerun", "-t", "t", "--job", "1", code=1)
    compare = space.task().compare_id()
    space.write(f"gml_tasks/compares/{compare}.json", "{")
    space.write("joined.yaml", GRID % "echo 'acc: {x}'" + f"pavi: {{compare: {{id: {compare}}}}}\n")
    assert "cannot be read" in space.call("run", "-t", "other", "joined.yaml", code=1)
    (space.task().jobs / "job_0002" / "manifest.json").write_text("{}")
    assert "manifest.json cannot be read" in space.call("ctl", "rerun", "-t", "t", "--job", "2", code=1)
    space.write("gml_tasks/t/config.json", '{"config": {"searcher": {}}}')
    assert "config.json cannot be read: task: is" in space.call("ctl", "stop", "-t", "t", code=1)
    for text in ("[]", '{"config": 3}', '{"config": {"searcher": 3}}'):
        space.write("gml_tasks/t/config.json", text)
        assert "config.json cannot be read" in space.call("ctl", "show", "-t", "t", code=1)


@pytest.mark.parametrize("entry", ["{", "[]"])
def test_damaged_trial_is_exit_code_1(space, entry):
    search(space, "echo 'acc: {x}'")
    with contextlib.closing(sqlite3.connect(space.task().db)) as connection, connection:
        connection.execute("UPDATE trial_user_attributes SET value_json = ?", (entry,))
    for verb in ("show", "stop", "best"):
        assert "is no readable study" in space.call("ctl", verb, "-t", "t", code=1)
    assert "is no readable study" in space.call("run", "-t", "t", "config.yaml", "--resume", code=1)


def test_study_damaged_in_the_middle_is_one_line(space):
    search(space, "echo 'acc: {x}'")
    with contextlib.closing(sqlite3.connect(space.task().db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trial_params'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with space.task().db.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    message = space.call("run", "-t", "t", "config.yaml", "--resume", code=1)
    assert "error: the study cannot be read or written: database disk image is malformed" in message


def test_export_does_not_replace_what_is_no_file(space):
    search(space, "echo 'acc: {x}'")
    assert "is no file" in space.refused("ctl", "export", "-t", "t", "--tar-path", "gml_tasks")
    os.mkfifo(space.path / "pipe")
    assert "is no file" in space.refused("ctl", "export", "-t", "t", "--tar-path", "pipe")
    assert not list(space.path.glob("*.part"))


def test_export_keeps_what_jobs_have_written(space):
    search(space, "mkdir -p {job_dir}/out/project && touch {job_dir}/out/project/weights && echo 'acc: {x}'")
    space.call("ctl", "export", "-t", "t", "--tar-path", "t.tar.gz")
    with tarfile.open(space.path / "t.tar.gz") as tar:
        assert sum(name.endswith("/out/project/weights") for name in tar.getnames()) == 4
        assert "t/shim" not in tar.getnames()


def test_task_cannot_take_the_folder_of_the_compares(space):
    space.write("config.yaml", GRID % "echo 'acc: {x}'")
    assert "'compares'" in space.refused("run", "-t", "compares", "config.yaml")
    assert "'aaa" in space.refused("run", "-t", "a" * 300, "config.yaml")


def test_output_that_cannot_be_written_is_one_line(space):
    search(space, "echo 'acc: {x}'")
    command = [sys.executable, "-m", "gml.cli", "ctl", "show"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=space.path, env=space.env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "error: No space left on device; free some space (a search then goes on with --resume)\n",
    )


def test_folder_that_cannot_be_used_is_refused(space):
    space.write("gml_tasks", "a file")
    space.write("config.yaml", GRID % "echo 'acc: {x}'")
    assert "gml_tasks" in space.refused("run", "-t", "t", "config.yaml")
    assert "gml_tasks" in space.refused("init")
    assert "nothere" in space.refused("ctl", "show", "--out", "nothere/x.yaml")


def test_init_prepares_a_folder_that_runs(space):
    assert "search-run -t first search_config.yaml" in space.call("init")
    space.call("run", "-t", "first", "search_config.yaml")
    assert "everything is there" in space.call("init")


def test_verify_runs_two_jobs(space):
    assert "this machine can run searches" in space.call("ctl", "verify")


def test_ckpt_save_path_reaches_the_jobs(space):
    program = "test {ckpt_save_path}$GML_CKPT_SAVE_PATH = pavi:/Mpavi:/M && echo 'acc: {x}'"
    search(space, program, extra='searcher: {ckpt_save_path: "pavi:/M"}\n')
    assert [row.value for row in space.rows()] == [1.0, 2.0, 3.0, 4.0]


def test_log_is_not_kept_when_not_wanted(space):
    search(space, "echo 'acc: {x}'", extra="generate_log: off\n")
    assert [row.value for row in space.rows()] == [1.0, 2.0, 3.0, 4.0]
    assert not list(space.task().jobs.rglob("training.log"))


BENCHMARK = """
task:
    template: ""
    search_args:
%s
searcher:
    type: %s
    reward_attribute: default
scheduler:
    type: FIFO
    parallel_size: 1
    func_type: swimmer
    normalizer: online
    rollouts: 1
    stop_criterion:
        max_tries: 3
        time_limits: 100  # hours
        max_reward: 325
        time_limits_per_job: 100
"""
ARGS = "\n".join(f"        - type: Real\n          name: a{n}\n          data: [-1, 1]" for n in range(16))


@pytest.mark.parametrize("searcher", ["RandomSearcher", "LamctsSearcher\n    dims: 16\n    ninits: 2"])
def test_benchmark_runs_and_resumes(space, searcher):
    space.write("search_config.yaml", BENCHMARK % (ARGS, searcher))
    space.call("run", "-t", "taskname", "search_config.yaml", "--benchmark")
    space.call("run", "-t", "taskname", "search_config.yaml", "--benchmark", "--resume", "--max-tries", "4")
    values = [row.value for row in space.rows("taskname")]
    assert len(values) == len(set(values)) == 4
    message = space.refused("run", "-t", "x", "short.yaml", "--benchmark") if short(space) else ""
    assert "swimmer needs 16" in message


def test_bonus_for_not_falling_is_left_out_of_what_is_searched_only():
    measured = [
        LinearPolicyProblem("hopper", rollouts=1, survival_bonus=counts).measure(np.zeros(33))
        for counts in (True, False)
    ]
    assert measured[0].value == measured[0].mean_return == measured[1].mean_return
    bonus = measured[1].mean_return - measured[1].value
    assert bonus == round(bonus)  # 1 for every step but the one that fell
    assert 100 < bonus < 200


def short(space):
    return space.write("short.yaml", BENCHMARK % ("        - {type: Real, name: a0, data: [-1, 1]}", "RandomSearcher"))


def test_empty_study_has_no_rows(tmp_path):
    create_study(tmp_path / "study.db", "s", maximize=True)
    assert read_rows(tmp_path / "study.db") == []
