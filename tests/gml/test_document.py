"""The code and config examples of the specification, run as they are printed; srun and mnist.py are stand-ins."""

import os
import subprocess
import sys

import pytest
import yaml

from gml.config import read_config
from gml.values import parse_yaml

TEMPLATE = r"""
task:
    # Required
    template: "srun -p pat_dev -n1 --gres gpu:1 python mnist.py \
            --config '{config}' --batch-size {batch-size} \
            --log-interval {log-interval} --pavi"
"""
TYPICAL = (
    TEMPLATE
    + """
    # Required
    search_args:
        # Supported type: Categorical, Nested, Int, File
        - type: Categorical
          name: batch-size
          data: [1024, 512]
        # default: 5
        - type: Categorical
          name: log-interval
          data: [10, 20]
        - type: File
          name: config
          file: config.yaml
          place_holder: 'file_art'
          search_args:
            - type: Categorical
              name: epochs
              data: [3, 4, 5]
            - type: Nested
              data:  [
                          {scheduler.step_size: 1, scheduler.gamma: 0.5},
                          {scheduler.step_size: 2, scheduler.gamma: 0.7}
                      ]

searcher:
    # Support GridSearcher, RandomSearcher, SkoptSearcher
    type: GridSearcher
    # Required
    reward_attribute: Test Acc
    # ckpt_save_path
    #ckpt_save_path: pavi:/MnistNet

scheduler:
    type: FIFO
    parallel_size: 1
    stop_criterion:
        max_tries: 2
        time_limits: 1  # hours
        max_reward: inf
        time_limits_per_job: 1

# Required
pavi:
    compare:
        name: compare_new
        # id: xxxxxxxxxxxxx
    # reward_attribute would add to scalars by default
    scalars: ['Test Acc']

use_spe: False
generate_log: True
"""
)
ARGS = """
    # Required
    search_args:
        - type: Categorical
          name: batch-size
          data: [1024, 512]
        - type: Categorical
          name: log-interval
          data: [10, 20]
        - type: Nested
          data: [
                    {lr: 0.5, batch-size: 512},
                    {lr: 1, batch-size: 1024}
                 ]
        - type: File
          name: config
          file: config.yaml
          args:
            - type: Categorical
              name: epochs
              data: [5, 10]
            - type: Nested
              data:  [
                          {scheduler.step_size: 1, scheduler.gamma: 0.5},
                          {scheduler.step_size: 2, scheduler.gamma: 0.7}
                      ]
"""
# Stand-ins: srun swallows its options; mnist.py reads its config and reports through pavi as the document prints it.
SRUN = """#!/bin/sh
while [ "$1" != python ]; do shift; done
shift
exec "$PYTHON" "$@"
"""
MNIST = """
import argparse, yaml
parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--batch-size", type=int)
parser.add_argument("--log-interval", type=int)
parser.add_argument("--pavi", action="store_true")
options = parser.parse_args()
config = yaml.safe_load(open(options.config))
from pavi import SummaryWriter
# pavi
writer = SummaryWriter('ResNet18')
for n_iter in range(config["epochs"]):
    writer.add_scalar('Test Acc', options.batch_size / 1024 * config["scheduler"]["gamma"], n_iter)
"""
CONFIG = "epochs: 1\nscheduler: {step_size: 7, gamma: 0.1}\n"
SEARCH = "searcher: {type: %s, reward_attribute: Test Acc}\n"
LIMITS = "scheduler: {parallel_size: 2, stop_criterion: {max_tries: %d}%s}\n"


@pytest.fixture
def mnist(space):
    space.write("mnist.py", MNIST)
    space.write("config.yaml", CONFIG)
    space.write("bin/srun", SRUN).chmod(0o755)
    space.env |= {"PATH": f"{space.path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable}
    return space


def test_typical_config_runs_as_printed(mnist):
    mnist.write("search_config.yaml", TYPICAL)
    out = mnist.call("run", "--task", "t", "search_config.yaml")
    rows = mnist.rows()
    assert [row.state for row in rows] == ["FINISHED", "FINISHED"]
    assert rows[0].entry["arg_dict"] == {
        "batch-size": 1024,
        "config(epochs)": 3,
        "config(scheduler.gamma)": 0.5,
        "config(scheduler.step_size)": 1,
        "log-interval": 10,
    }
    assert [row.value for row in rows] == [0.5, 0.7]
    assert "compare " in out
    rendered = yaml.safe_load((mnist.task().jobs / "job_0001" / "file_art.yaml").read_text())
    assert rendered == {"epochs": 3, "scheduler": {"step_size": 2, "gamma": 0.7}}
    shown = mnist.call("ctl", "show", "-t", "t")
    assert "http://127.0.0.1:8080/dashboard/studies/1" in shown
    assert "Test Acc" in mnist.call("ctl", "show", "-t", "t", "--scalar")


def test_search_args_with_the_other_spelling_give_their_product():
    config = read_config(parse_yaml(TEMPLATE + ARGS))
    # Nested sets batch-size in both of its choices, so the Categorical of that name is left out.
    assert config.task.search_args.size() == 2 * 2 * 2 * 2
    assert "batch-size" not in config.task.search_args


@pytest.mark.parametrize(
    ("searcher", "num"),
    [
        ("type: GridSearcher\n    optimize_mode: 'maximize' # 'maximize','minimize'", 3),
        ("type: RandomSearcher\n    optimize_mode: 'maximize' # 'maximize','minimize'", 3),
        ("type: SkoptSearcher\n    optimize_mode: 'maximize'\n    random_state: 1", 3),
        (
            "type: EvolutionSearhcer\n    optimize_mode: 'maximize'\n    population_size: 32\n    mutate_prob: 0.1\n"
            "    gen_trial_limit: 100\n    seed: 2021",
            3,
        ),
    ],
)
def test_every_searcher_config_runs_as_printed(mnist, searcher, num):
    part = f"searcher:\n    {searcher}\n    reward_attribute: Test Acc\n"
    mnist.write("search_config.yaml", TEMPLATE + ARGS + part + LIMITS % (num, ""))
    mnist.call("run", "-t", "t", "search_config.yaml")
    assert mnist.states() == ["FINISHED"] * num


def test_batch_searcher_runs_its_list_in_order(space):
    space.write(
        "c.yaml",
        "task:\n  template: \"echo 'acc: {lr}'\"\n  search_args:\n"
        "    - type: Nested\n      data: [{lr: 0.5, n: 1}, {lr: 0.25, n: 2}]\n"
        "searcher:\n    type: BatchSearcher\n    # Optional, default to `acc`\n    reward_attribute: acc\n",
    )
    space.call("run", "-t", "t", "c.yaml")
    assert [row.value for row in space.rows()] == [0.5, 0.25]


SCHEDULER = """
scheduler:
    type: FIFO # no effect
    parallel_size: 4
    stop_criterion:
        max_tries: 10
        time_limits: 1h
        max_reward: inf
        time_limits_per_job: 1
    assessor:
        type: CurveFittingAssessor
        epoch_num: 24
        optimize_mode: 'maximize'
        start_step: 4
"""


def test_scheduler_with_assessor_runs_as_printed(mnist):
    mnist.write("search_config.yaml", TEMPLATE + ARGS + SEARCH % "GridSearcher" + SCHEDULER)
    mnist.call("run", "-t", "t", "search_config.yaml")
    assert set(mnist.states()) <= {"FINISHED", "EARLY_STOPPED"}
    assert len(mnist.rows()) == 10


STOP = '''
@STOP_CRITERIONS.register_module()
class MyStopCriterion(BaseStopCriterion):

    def __init__(self, *args, **kwargs):
        pass

    def before_run(self, scheduler):
        """ run something before dispatch all jobs in naive_scheduler.py

        If want to stop dispatch jobs, please set \\
            scheduler.is_stop = True

        Args:
            scheduler: gml scheduler
        """
        self.start_task_time = get_current_time()
        scheduler.step = 0

    def after_run(self, scheduler):
        pass

    def before_iter(self, scheduler):
        scheduler.step += 1

    def after_iter(self, scheduler):
        pass
'''


def test_own_stop_criterion_runs_as_printed(mnist):
    mnist.write("custom_stop_criterion.py", STOP + "        scheduler.is_stop = scheduler.step >= 3\n")
    text = TEMPLATE + ARGS + SEARCH % "GridSearcher" + "scheduler: {stop_criterion: {type: MyStopCriterion}}\n"
    mnist.write("search_config.yaml", text + "imports: [custom_stop_criterion.py]\n")
    mnist.call("run", "-t", "t", "search_config.yaml")
    assert len(mnist.rows()) == 3


FILTER = """
@FILTER_CRITERIONS.register_module()
class MyFilterCriterion(BaseFilterCriterion):

    def __init__(self, *args, **kwargs):
        pass

    def filter(self, job):
        arg_dict = job.arg_dict
        batch_size = arg_dict['batch-size']
        epochs = arg_dict['config(epochs)']
        needFilter = batch_size >= 512 and epochs >= 4
        return needFilter
"""


def test_own_filter_leaves_out_what_it_says(mnist):
    """The printed example has curly quotes and a body outside of the function; this is it with both mended."""
    mnist.write("custom_filter_criterion.py", FILTER)
    text = TYPICAL.replace("max_tries: 2", "max_tries: inf").replace(
        "    parallel_size: 1\n", "    parallel_size: 2\n    filter_criterion: {type: MyFilterCriterion}\n"
    )
    mnist.write("search_config.yaml", text)
    mnist.call("run", "-t", "t", "search_config.yaml", "--import", "custom_filter_criterion.py")
    states = mnist.states()
    assert (states.count("FINISHED"), states.count("FILTERED")) == (8, 16)
    assert {row.entry["arg_dict"]["config(epochs)"] for row in mnist.rows() if row.state == "FINISHED"} == {3}


SEARCHER = '''
import pickle
from itertools import product
from gml.space import Categorical, Dict, Int, List, Real, Space
from gml.searchers.base_searcher import BaseSearcher
from gml.searchers.builder import SEARCHERS

@SEARCHERS.register_module()
class MySearcher(BaseSearcher):
    """
    Args:
        (required) search_space
    kwargs:
        (required) reward_attribute

    """
    def __init__(self, search_space, reward_attribute='acc'):
        for key, value in search_space.kwspaces.items():
            if not isinstance(value, Categorical) and \\
                  not isinstance(value, Int) and \\
                  not (isinstance(value, Real) and value.step is not None):
                raise TypeError(
                    'Only Categorical, Int and Real(step is not None) is \\
                        supported, but {} is {}'.format(
                        key,
                        type(value).__name__))
        super(MySearcher, self).__init__(search_space, reward_attribute)
        self._configs = self._build_configs()

    def _build_configs(self):

        def build_configs_recur(s):
            if isinstance(s, (Categorical, Int, Real)):
                return s.data
            elif isinstance(s, List):
                item_configs = map(build_configs_recur, s)
                list_combs = product(*item_configs)
                # convert tuple and generator to list
                list_combs = list(map(list, list_combs))
                return list_combs
            elif isinstance(s, Dict):
                keys = list(s)
                item_configs = [build_configs_recur(s[k]) for k in keys]
                value_combs = product(*item_configs)
                ret = [dict(zip(keys, values)) for values in value_combs]
                return ret
            elif isinstance(s, Space):
                raise ValueError(
                    'GridSearcher does not support type {}'.format(type(s)))
            else:
                return [s]

        return build_configs_recur(self.space)

    def get_config(self):
        if self._configs:
            new_config = self._configs.pop()
            new_config_s = pickle.dumps(new_config)
            if new_config_s not in self._results:
                self._results[new_config_s] = self._reward_while_pending()
            return new_config
        else:
            return None

    def __len__(self):
        return len(self._configs)
'''


def test_own_searcher_runs_as_printed(mnist):
    mnist.write("custom_searcher.py", SEARCHER)
    text = TYPICAL.replace("type: GridSearcher", "type: MySearcher").replace("max_tries: 2", "max_tries: 3")
    mnist.write("search_config.yaml", text + "imports: custom_searcher.py\n")
    mnist.call("run", "-t", "t", "search_config.yaml")
    # It takes from the end of its list, and goes on from there after a resume without repeating itself.
    assert [row.entry["arg_dict"]["config(epochs)"] for row in mnist.rows()] == [5, 5, 4]
    mnist.call("run", "-t", "t", "search_config.yaml", "--resume", "--max-tries", "inf")
    args = [tuple(row.entry["arg_dict"].items()) for row in mnist.rows()]
    assert len(args) == len(set(args)) == 24


ASSESSOR = '''
@ASSESSORS.register_module()
class MyAssessor:

    def __init__(self, optimize_mode='maximize'):
        pass

    def assess_job(self, trial_job_id, latest_trial_history):
        """Assesses whether the job should be stopped early"""
        return AssessResult.Good

    def job_end(self, trial_job_id):
        """Finish the assessing by updating rewards."""
        pass
'''


def test_own_assessor_runs_as_printed(mnist):
    mnist.write("custom_assessor.py", ASSESSOR)
    extra = ", assessor: {type: MyAssessor, optimize_mode: maximize}"
    text = TEMPLATE + ARGS + SEARCH % "GridSearcher" + LIMITS % (2, extra)
    mnist.write("search_config.yaml", text + "imports: [custom_assessor.py]\n")
    mnist.call("run", "-t", "t", "search_config.yaml")
    assert mnist.states() == ["FINISHED", "FINISHED"]


API = """
import sys, yaml
from gml.schedulers import NaiveScheduler, build_filter_criterion, build_stop_criterion
from gml.schedulers.job import SlurmJob
from gml.assessors import build_assessor

workdir, symlink_paths = "gml_tasks/api", []
config = yaml.safe_load(open("search_config.yaml"))
scheduler = NaiveScheduler(workdir, config, symlink_paths)
scheduler.run()

job = SlurmJob("srun -p x python -c 'print(1)'", "job_x", {"a": 1}, "compare", symlink_paths)
job.start()
job.wait()
print("status", job.status)
job.kill()

stop_criterion = build_stop_criterion({"max_tries": 2})
stop_criterion.before_run(scheduler)
stop_criterion.before_iter(scheduler)
stop_criterion.after_iter(scheduler)
stop_criterion.after_run(scheduler)
print("is_stop", scheduler.is_stop)

assessor = build_assessor({"type": "MedianStopAssessor", "optimize_mode": "maximize", "start_step": 4})
scalars = [{'iteration': 0, 'value': 0.9, 'created': 1640238929992}]
early_stop_flag = assessor.assess_job("job", scalars)
assessor.job_end("job")
print(early_stop_flag)
"""


def test_python_interface_runs_as_printed(mnist):
    mnist.write("search_config.yaml", TYPICAL)
    mnist.write("api.py", API)
    done = subprocess.run([sys.executable, "api.py"], cwd=mnist.path, env=mnist.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in ("status FINISHED", "is_stop True", "AssessResult.Good"):
        assert line in done.stdout


def test_commands_run_as_printed(mnist):
    mnist.call("init")
    mnist.write("search_config.yaml", TYPICAL)
    mnist.call("run", "--task", "one", "search_config.yaml", "--symlinks=bin")
    mnist.call("run", "--task", "one", "search_config.yaml", "--symlinks=bin", "--resume")
    mnist.call("ctl", "show")
    mnist.call("ctl", "show", "--task", "one")
    mnist.call("ctl", "show", "--task", "one", "--jobs", "job_0000,job_0001")
    mnist.call("ctl", "show", "--task", "one", "--out", "task.yaml")
    mnist.call("ctl", "show", "--task", "one", "--jobs", "job_0000", "--out", "task.yaml")
    assert [job["job"] for job in yaml.safe_load((mnist.path / "task.yaml").read_text())["jobs"]] == ["job_0000"]
    mnist.call("ctl", "show", "-t", "one", "--scalar")
    mnist.call("ctl", "stop", "-t", "one")
    mnist.call("ctl", "export", "--task", "one")
    (packed,) = (mnist.path / "archive").glob("one.??????????????.tar.gz")
    mnist.call("ctl", "export", "--task", "one", "--tar-path", "x.tar.gz")
    mnist.call("ctl", "import", "--tar-path", str(packed), "--force")
    mnist.call("ctl", "import", "--task", "two", "--tar-path", "x.tar.gz")
    mnist.call("ctl", "rm", "--task", "one")
    assert yaml.safe_load((mnist.path / "summary.yaml").read_text())["states"] == {"FINISHED": 2}
    assert "two" in mnist.call("ctl", "show")
    assert not mnist.task("one").path.exists()


@pytest.mark.parametrize(("mode", "states"), [("1", "FINISHED"), ("2", "FINISHED")])
def test_mock_pavi_modes(mnist, mode, states):
    mnist.write("search_config.yaml", TYPICAL)
    mnist.call("run", "-t", "t", "search_config.yaml", MOCK_PAVI=mode)
    assert mnist.states() == [states, states]
    assert [row.value is None for row in mnist.rows()] == [mode == "2"] * 2
    assert (mnist.task().jobs / "job_0000" / "scalars.jsonl").exists() == (mode == "1")
