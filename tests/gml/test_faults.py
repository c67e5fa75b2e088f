"""States after failures: of jobs, of schedulers, of both."""

import json
import random
import signal
import subprocess
import sys

import optuna
import pytest
from conftest import Workspace, processes_with

GRID = """
task:
  template: "{command}"
  search_args:
    - {{type: Int, name: x, data: [1, {num}]}}
scheduler:
  parallel_size: {slots}
"""


def grid(space: Workspace, command: str, *, num: int = 4, slots: int = 2, extra: str = "") -> None:
    space.write("config.yaml", GRID.format(command=command, num=num, slots=slots) + extra)


def test_failures_of_one_job_touch_no_other(space):
    cases = "1) kill -SEGV $$;; 2) echo 'acc: nan';; 3) kill -9 $$;; 4) exit 3;; 5) echo nothing;; *) echo 'acc: 1';;"
    grid(space, f"case {{x}} in {cases} esac", num=7)
    out = space.call("run", "-t", "t", "config.yaml", code=1)
    reasons = {row.entry["arg_dict"]["x"]: (row.state, row.entry["reason"]) for row in space.rows()}
    assert reasons[1] == ("ERROR", "exit code 139 (SIGSEGV)")
    assert reasons[2] == ("ERROR", "the score is nan")
    assert reasons[3] == ("ERROR", "exit code 137 (SIGKILL)")
    assert reasons[4] == ("ERROR", "exit code 3")
    assert reasons[5] == ("ERROR", "no score was reported; reported: nothing")
    assert reasons[6] == reasons[7] == ("FINISHED", "")
    assert "5 jobs failed" in out
    assert "training.log" in out


def test_job_whose_command_is_too_long_touches_no_other(space):
    values = f"[a, {'y' * 200_000}, b]"
    args = f"search_args: [{{type: Categorical, name: x, data: {values}}}]"
    space.write("config.yaml", f"task: {{template: \"echo 'acc: 1'; : {{x}}\", {args}}}\n")
    space.call("run", "-t", "t", "config.yaml", code=1)
    assert space.states() == ["FINISHED", "ERROR", "FINISHED"]
    assert space.rows()[1].entry["reason"] == "its command or environment is too long"


def test_search_under_nohup_outlives_its_terminal(space, until):
    grid(space, "sleep 1; echo 'acc: 1'", num=2)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, for its program
    try:
        process = space.start("run", "-t", "t", "config.yaml")
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: "RUNNING" in space.states())
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert space.states() == ["FINISHED", "FINISHED"]


def test_hanging_job_is_killed_by_its_time_limit(space):
    grid(
        space,
        "if [ {x} = 1 ]; then sleep 300 & wait; fi; echo 'acc: 1'",
        num=2,
        extra="  stop_criterion: {time_limits_per_job: 1s}\n  grace_s: 0.5\n",
    )
    space.call("run", "-t", "t", "config.yaml")
    assert space.states() == ["KILLED", "FINISHED"]
    assert space.rows()[0].entry["reason"] == "time limit of 1 s"
    assert not processes_with(str(space.path))


def test_retry_stays_within_its_trial(space):
    grid(
        space,
        "if [ -e {job_dir}/seen ]; then echo 'acc: 7'; else touch {job_dir}/seen; echo 'acc: 1'; exit 1; fi",
        num=2,
        extra="  retry: {times: 1}\n",
    )
    space.call("run", "-t", "t", "config.yaml")
    assert space.states() == ["FINISHED", "FINISHED"]
    assert [(row.value, row.entry["attempts"]) for row in space.rows()] == [(7.0, 2), (7.0, 2)]
    assert "--- attempt 2 ---" in (space.task().jobs / "job_0000" / "training.log").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_states_are_true_after_the_scheduler_ends(space, until, number, code):
    grid(space, "if [ {x} -gt 2 ]; then sleep 300; fi; echo 'acc: {x}'", num=8)
    scheduler = space.start("run", "-t", "t", "config.yaml")
    until(lambda: space.states() == ["FINISHED", "FINISHED", "RUNNING", "RUNNING"])
    scheduler.send_signal(number)
    scheduler.communicate(timeout=30)
    assert scheduler.returncode == code
    ended = ["FINISHED", "FINISHED", "ERROR", "ERROR"]
    if number == signal.SIGKILL:  # a job that was about to start has the scheduler's lock until its command begins
        until(lambda: space.states() == ended)
    assert space.states() == ended
    until(lambda: not processes_with(str(space.path)))
    assert "2 ERROR, 2 FINISHED" in space.call("ctl", "show")


def test_resume_reruns_errors_first_then_goes_on(space):
    command = "if [ {x} = 2 ] && [ ! -e ok ]; then exit 1; fi; echo {x} >> order; echo 'acc: {x}'"
    grid(space, command, num=4, slots=1, extra="  stop_criterion: {max_tries: 3}\n")
    space.call("run", "-t", "t", "config.yaml", code=1)
    space.write("ok", "")
    space.call("run", "-t", "t", "config.yaml", "--resume", "--max-tries", "+1")
    assert (space.path / "order").read_text().split() == ["1", "3", "2", "4"]
    rows = space.rows()
    assert [row.state for row in rows] == ["FINISHED", "ERROR", "FINISHED", "FINISHED", "FINISHED"]
    assert rows[3].entry["retry_of"] == 1
    assert rows[3].entry["seed"] == rows[1].entry["seed"]
    space.call("run", "-t", "t", "config.yaml", "--resume", "--max-tries", "4")
    assert len(space.rows()) == 5


def test_stop_kills_and_resume_does_not_rerun_killed(space, until):
    grid(space, "if [ {x} = 1 ]; then sleep 300; fi; echo 'acc: {x}'", num=3, slots=1)
    scheduler = space.start("run", "-t", "t", "config.yaml")
    until(lambda: space.states() == ["RUNNING"])
    assert "1 KILLED" in space.call("ctl", "stop", "-t", "t")
    scheduler.communicate(timeout=30)
    assert space.states() == ["KILLED"]
    space.call("run", "-t", "t", "config.yaml", "--resume")
    assert space.states() == ["KILLED", "FINISHED", "FINISHED"]


def test_stop_gives_states_to_a_dead_task(space, until):
    grid(space, "sleep 300", num=3)
    scheduler = space.start("run", "-t", "t", "config.yaml")
    until(lambda: space.states() == ["RUNNING", "RUNNING"])
    scheduler.kill()
    scheduler.communicate()
    space.call("ctl", "stop", "-t", "t")
    assert space.states() == ["KILLED", "KILLED"]


TWO_GPUS = """
task:
  template: "sh job.sh {x}"
  search_args:
    - {type: Int, name: x, data: [1, 24]}
scheduler: {}
"""
# Notes when a job is on a GPU that another job has not left. The first ones wait until both schedulers are there.
GPU_JOB = """
while [ ! -e go ]; do sleep 0.05; done
mkdir on_$CUDA_VISIBLE_DEVICES || echo "$1 on $CUDA_VISIBLE_DEVICES" >> collisions
echo $1 >> ran
sleep 0.1
rmdir on_$CUDA_VISIBLE_DEVICES
echo "acc: $1"
"""


@pytest.mark.parametrize("gpus", [("81,82", "83,84"), ("85,86", "85,86")])
def test_two_schedulers_share_a_study_and_no_gpu(space, until, gpus):
    space.write("config.yaml", TWO_GPUS)
    space.write("job.sh", GPU_JOB)
    first = space.start("run", "-t", "t", "config.yaml", "--gpus", gpus[0])
    until(lambda: len(space.rows()) > 1)
    second = space.start("run", "-t", "t", "config.yaml", "--gpus", gpus[1])
    num_running = 4 if gpus[0] != gpus[1] else 2
    until(lambda: len(space.task().live_schedulers()) == 2 and len(space.rows()) == num_running, limit_s=200)
    space.write("go", "")
    for scheduler in (first, second):
        _, error = scheduler.communicate(timeout=120)
        assert scheduler.returncode == 0, error
    assert sorted(map(int, (space.path / "ran").read_text().split())) == list(range(1, 25))
    assert not (space.path / "collisions").exists()
    assert space.states() == ["FINISHED"] * 24
    if gpus[0] != gpus[1]:
        assert len({row.entry["scheduler"] for row in space.rows()}) == 2


def test_only_jobs_of_a_dead_scheduler_become_errors(space, until):
    grid(space, "until test -e go; do sleep 0.1; done; echo 'acc: {x}'", num=4, slots=1)
    first = space.start("run", "-t", "t", "config.yaml")
    until(lambda: len(space.rows()) == 1)
    second = space.start("run", "-t", "t", "config.yaml")
    until(lambda: len(space.rows()) == 2)
    first.kill()
    first.communicate()
    assert space.states()[:2] == ["ERROR", "RUNNING"]
    space.write("go", "")
    third = space.start("run", "-t", "t", "config.yaml", "--resume")
    for scheduler in (second, third):
        scheduler.communicate(timeout=60)
    done = [row.entry["arg_dict"]["x"] for row in space.rows() if row.state == "FINISHED"]
    assert sorted(done) == [1, 2, 3, 4]
    assert space.states().count("ERROR") == 1


def test_joining_with_another_config_is_refused(space, until):
    grid(space, "sleep 30; echo 'acc: {x}'", num=2)
    first = space.start("run", "-t", "t", "config.yaml")
    until(lambda: len(space.rows()) == 2)
    grid(space, "echo 'acc: {x}'", num=2)
    assert "cannot be joined" in space.refused("run", "-t", "t", "config.yaml")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert "cannot be resumed" in space.refused("run", "-t", "t", "config.yaml", "--resume")


def kill_again_and_again(space: Workspace, *, num: int, kills: int, seed: int) -> None:
    """Runs a grid whose scheduler is killed with SIGKILL at random moments, then resumed, until it ends."""
    grid(space, "sleep 0.02; echo {x} >> ran; echo 'acc: {x}'", num=num, slots=2)
    rng, words = random.Random(seed), ["run", "-t", "t", "config.yaml"]
    for _ in range(kills):
        scheduler = space.start(*words)
        try:
            scheduler.communicate(timeout=rng.uniform(0.3, 3.0))
        except subprocess.TimeoutExpired:
            scheduler.kill()
            scheduler.communicate()
        words = ["run", "-t", "t", "config.yaml", *(["--resume"] if space.task().exists() else [])]
    space.call(*words)
    rows = space.rows()
    finished = [row.entry["arg_dict"]["x"] for row in rows if row.state == "FINISHED"]
    assert sorted(finished) == list(range(1, num + 1))
    assert {row.state for row in rows} <= {"FINISHED", "ERROR"}
    assert not processes_with(str(space.path))
    study = optuna.load_study(study_name="t", storage=f"sqlite:///{space.task().db}")
    assert study.best_value == num
    assert len([trial for trial in study.trials if trial.state.name == "COMPLETE"]) == num
    assert not [trial for trial in study.trials if trial.state.name in ("RUNNING", "WAITING")]


def test_every_configuration_ends_once_as_finished_after_kills(space):
    kill_again_and_again(space, num=30, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_configuration_ends_once_as_finished_after_twenty_kills(space):
    kill_again_and_again(space, num=200, kills=20, seed=2)


def test_program_without_terminal_sees_its_output_at_once(space, until):
    program = "import time; print('first line'); time.sleep(60)"
    space.write("p.py", program)
    grid(space, f"{sys.executable} p.py", num=1)
    scheduler = space.start("run", "-t", "t", "config.yaml")
    log = space.task().jobs / "job_0000" / "training.log"
    until(lambda: log.exists() and "first line" in log.read_text())
    scheduler.send_signal(signal.SIGTERM)
    scheduler.communicate(timeout=30)


def test_manifest_tells_what_ran(space):
    grid(space, "echo 'acc: {x}'", num=1)
    space.call("run", "-t", "t", "config.yaml")
    manifest = json.loads((space.task().jobs / "job_0000" / "manifest.json").read_text())
    assert manifest["command"] == "echo 'acc: 1'"
    assert (manifest["seed"], manifest["arg_dict"], manifest["cwd"]) == (0, {"x": 1}, str(space.path))


def test_missing_program_is_called_so(space):
    grid(space, "no_such_program {x}", num=1)
    space.call("run", "-t", "t", "config.yaml", code=1)
    assert space.rows()[0].entry["reason"] == "exit code 127 (command not found)"


OWN = """
@FILTER_CRITERIONS.register_module()
class F(BaseFilterCriterion):
    def filter(self, job):
        return job.arg_dict["nothere"] > 1

@FILTER_CRITERIONS.register_module()
class I(BaseFilterCriterion):
    def __init__(self):
        self.limit = {}["nothere"]

    def filter(self, job):
        return False

@STOP_CRITERIONS.register_module()
class S(BaseStopCriterion):
    def after_iter(self, scheduler):
        if scheduler.num_tries == 2:
            raise RuntimeError("nothere")

@ASSESSORS.register_module()
class A(BaseAssessor):
    def __init__(self, optimize_mode):
        pass

    def assess_job(self, trial_job_id, latest_trial_history):
        return latest_trial_history[0]["nothere"]
"""


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("filter_criterion: {type: F}", "line 5, in filter: KeyError"),
        ("filter_criterion: {type: I}", "line 10, in __init__: KeyError"),
        ("stop_criterion: {type: S}", "line 19, in after_iter: RuntimeError"),
        ("assessor: {type: A}", "line 27, in assess_job: KeyError"),
    ],
)
def test_error_in_a_user_file_is_one_line_and_loses_nothing(space, setting, place):
    space.write("own.py", OWN)
    grid(space, "echo 'acc: {x}'; sleep 0.5", extra=f"  {setting}\nimports: own.py\n")
    message = space.refused("run", "-t", "t", "config.yaml")
    assert f"own.py, {place}: " in message and "nothere" in message
    assert not processes_with(str(space.path))
    mended = OWN.replace('["nothere"] > 1', '["x"] < 0').replace('{}["nothere"]', "0").replace("== 2", "< 0")
    space.write("own.py", mended.replace('latest_trial_history[0]["nothere"]', "AssessResult.Good"))
    space.call("run", "-t", "t", "config.yaml", *(["--resume"] if space.rows() else []))
    assert sorted(row.value for row in space.rows() if row.state == "FINISHED") == [1, 2, 3, 4]
