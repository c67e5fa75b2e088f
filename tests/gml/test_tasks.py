"""Tasks as search-ctl manages them."""

import json
import time
from datetime import datetime

import optuna
import pytest
import yaml

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


def test_show_answers_quickly_on_ten_thousand_trials(space):
    search(space, "echo 'acc: {x}'")
    now = datetime.now()
    trials = [
        optuna.trial.create_trial(
            value=float(number),
            params={"x": 1},
            distributions={"x": optuna.distributions.IntDistribution(1, 4)},
            user_attrs={"gml": {"job": f"job_{number:04d}", "seed": number, "arg_dict": {"x": 1}, "reason": ""}},
        )
        for number in range(4, 2000)
    ]
    open_study(space.task().db).add_trials(trials)
    begun = time.process_time()
    rows = space.rows()
    used_s = time.process_time() - begun
    assert len(rows) == 2000
    assert used_s * 5 < 1.0  # of CPU for 10,000, Python's start left out
    assert datetime.now() > now


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
    assert "is no readable study" in space.call("ctl", "show", "-t", "t", code=1)
    space.write("x.tar.gz", "no tar")
    assert "cannot be unpacked" in space.call("ctl", "import", "--tar-path", "x.tar.gz", code=1)


def test_init_prepares_a_folder_that_runs(space):
    assert "search-run -t first search_config.yaml" in space.call("init")
    space.call("run", "-t", "first", "search_config.yaml")
    assert "everything is there" in space.call("init")


def test_verify_runs_two_jobs(space):
    assert "this machine can run searches" in space.call("ctl", "verify")


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


def short(space):
    return space.write("short.yaml", BENCHMARK % ("        - {type: Real, name: a0, data: [-1, 1]}", "RandomSearcher"))


def test_empty_study_has_no_rows(tmp_path):
    create_study(tmp_path / "study.db", "s", maximize=True)
    assert read_rows(tmp_path / "study.db") == []
