"""Configs: numbers as meant, every kind of bad input as one clear message with its path."""

import math

import pytest

from gml import values
from gml.config import read_config
from gml.errors import ConfigError
from gml.schedulers import NaiveScheduler
from gml.values import parse_yaml, read_yaml

GOOD = "task: {template: 'echo {x}', search_args: [{type: Real, name: x, data: [0, 1], step: 0.5}]}\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 3600), ("1.5", 5400), ("1h", 3600), ("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1d", 86400)],
)
def test_times_are_read_as_meant(text, seconds):
    assert values.hours_s(parse_yaml(text)) == seconds
    assert values.hours_s(text) == seconds


def test_numbers_are_read_as_meant():
    read = parse_yaml("[1e-3, 1.0e-3, 5e6, off, yes, true, inf, 1, '1e-3', 2021-01-01]")
    assert read == [0.001, 0.001, 5e6, "off", "yes", True, "inf", 1, "1e-3", "2021-01-01"]
    assert values.number("inf") == math.inf
    assert values.limit("inf") is None
    assert values.hours_s("inf") is None
    assert (values.count("1e3"), values.flag("off"), values.flag(True)) == (1000, False, True)


@pytest.mark.parametrize("bad", ["0", "-1h", "1x", "h", "nan"])
def test_bad_times_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        values.hours_s(bad)


SEARCH = "task: {template: x, search_args: [%s]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tsk: 1", "did you mean 'task'"),
        ("[]", "must be a mapping"),
        ("searcher: {}", "task: is required"),
        ("task: {template: x}", "task.search_args: is required"),
        ("task: {template: x, search_args: []}", "task.search_args: must list at least one"),
        (SEARCH % "{type: Realy, name: a, data: [0, 1]}", "task.search_args[0].type: unknown type 'Realy'"),
        (SEARCH % "{type: Real, name: a, data: [2, 1]}", "search_args[0].data: must be [low, high] with finite"),
        (SEARCH % "{type: Real, name: a, data: [0, inf]}", "search_args[0].data: must be [low, high] with finite"),
        (SEARCH % "{type: Real, name: a, data: [0, 1], log: true}", "log needs a low above 0"),
        (SEARCH % "{type: Real, name: a, data: [0, 1], step: 0}", "step must be above 0"),
        (SEARCH % "{type: Real, name: a, data: [0, 1], step: 1e-9}", "[0].data: step 1e-09 gives more than 1000000"),
        (SEARCH % "{type: Int, name: a, data: [0, 1e20]}", "[0].data: must be within +-9007199254740992"),
        (SEARCH % "{type: Int, name: a, data: [0.5, 1]}", "must be a whole number"),
        (SEARCH % "{type: Int, name: a}", "search_args[0].data: is required"),
        (SEARCH % "{type: Int, nam: a, data: [0, 1]}", "search_args[0].nam: unknown key 'nam'"),
        (SEARCH % "{type: Categorical, name: a, data: []}", "must be a list with at least one entry"),
        (SEARCH % "{type: Categorical, name: a, data: [1, 1]}", "holds 1 twice"),
        (SEARCH % "{type: Nested, data: [1]}", "every entry of Nested must be a mapping"),
        (SEARCH % "{type: File, name: f, file: x, args: [{type: Int, name: q, data: [1]}]}", "[0].args[0].data: must"),
        (SEARCH % "{type: File, name: f, file: x}", "needs either `search_args` or `args`"),
        (SEARCH % "{type: Int, name: a, data: [0, 1]}, {type: Int, name: a, data: [0, 1]}", "'a' is searched twice"),
        (GOOD + "scheduler: {parallel_siz: 2}", "scheduler.parallel_siz: unknown key 'parallel_siz'; did you mean"),
        (GOOD + "scheduler: {parallel_size: 0}", "scheduler.parallel_size: must be at least 1"),
        (GOOD + "scheduler: {gpus: '0,,1'}", "scheduler.gpus: GPUs must be different ids"),
        (GOOD + "scheduler: {parallel_size: 1000000000}", "scheduler.parallel_size: must be at most 10000"),
        (GOOD + f"scheduler: {{grace_s: {10**400}}}", "scheduler.grace_s: must be a number"),
        (GOOD + "scheduler: {retry: {exit_codes: {a: 1}}}", "scheduler.retry.exit_codes: must be a number"),
        (GOOD + "pavi: &loop {compare: *loop}", "cannot be kept as JSON"),
        (GOOD + "pavi: !!set {a, b}", "cannot be kept as JSON"),
        (GOOD + "scheduler: {grace_s: -1}", "scheduler.grace_s: must be at least 0"),
        (GOOD.replace("echo {x}'", "echo {x}', env: {A: [1]}"), "task.env: A must be text, got [1]"),
        (
            SEARCH % "{type: File, name: f, file: nothere.yaml, args: [{type: Int, name: q, data: [0, 1]}]}",
            "nothere.yaml",
        ),
        (SEARCH % "{type: File, name: f, file: t.py, args: [{type: Int, name: q, data: [0, 1]}]}", "t.py line 1: "),
        (GOOD + "scheduler: {retry: {times: 1, on: [typo]}}", "scheduler.retry: unknown kind of failure"),
        (GOOD + "scheduler: {stop_criterion: {max_tris: 2}}", "scheduler.stop_criterion: DefaultStopCriterion"),
        (GOOD + "scheduler: {stop_criterion: {max_tries: 0}}", "max_tries must be at least 1"),
        (GOOD + "scheduler: {stop_criterion: {time_limits: soon}}", "time_limits must be hours"),
        (GOOD + "scheduler: {stop_criterion: {max_reward: much}}", "max_reward must be a number"),
        (GOOD + "scheduler: {stop_criterion: {type: Nope}}", "unknown stop_criterion 'Nope'"),
        (GOOD + "scheduler: {filter_criterion: {type: Nope}}", "unknown filter_criterion 'Nope'"),
        (GOOD + "scheduler: {assessor: {type: MedianStop}}", "did you mean 'MedianStopAssessor'"),
        (GOOD + "scheduler: {assessor: {type: CurveFittingAssessor}}", "scheduler.assessor: CurveFittingAssessor"),
        (
            GOOD + "scheduler: {assessor: {type: CurveFittingAssessor, epoch_num: 4, optimize_mode: minimize}}",
            "can only maximize",
        ),
        (GOOD + "searcher: {type: GridSearch}", "searcher.type: unknown searcher 'GridSearch'; did you mean"),
        (GOOD + "searcher: {optimize_mode: max}", "searcher.optimize_mode: must be one of maximize, minimize"),
        (GOOD + "searcher: {type: RandomSearcher, sed: 1}", "searcher: RandomSearcher"),
        (GOOD + "searcher: {type: TPESampler, n_start: 1}", "searcher: TPESampler"),
        (GOOD + "searcher: {type: BatchSearcher}", "only Nested is searched in batches"),
        (GOOD + "searcher: {type: EvolutionSearcher, population_size: 1}", "population_size >= 2"),
        (GOOD + "searcher: {type: LamctsSearcher, dims: 2}", "dims is 2, but there are 1 search args"),
        (GOOD + "searcher: {type: LamctsSearcher, enable_cuda: true}", "no CUDA|sees none"),
        (GOOD + "job: {type: SlurmJobb}", "job.type: unknown job type 'SlurmJobb'; did you mean 'SlurmJob'"),
        (GOOD + "job: {type: ContainerJob}", "job: ContainerJob"),
        (GOOD + "job: {type: ContainerJob, image: x, engine: rkt}", "engine must be one of docker"),
        (GOOD + "job: {type: LocalJob, image: x}", "job: LocalJob: unexpected setting 'image'"),
        (GOOD + "pavi: {compare: {nam: x}}", "pavi.compare.nam: unknown key"),
        (GOOD + "use_spe: true", "use_spe: must be false"),
        (GOOD + "generate_log: perhaps", "generate_log: must be true or false"),
        (GOOD + "imports: leaves.py", "imports: leaves.py: SystemExit"),
        (GOOD + "imports: nothere.py", "imports: nothere.py does not exist"),
        (GOOD.replace("step: 0.5", "log: false") + "searcher: {type: GridSearcher}", "a grid needs a step"),
    ],
)
def test_bad_config_is_one_message_with_its_path(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text("def (")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    with pytest.raises(ConfigError) as caught:
        NaiveScheduler(tmp_path / "t", parse_yaml(text))
    assert any(part in str(caught.value) for part in message.split("|")), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "line 2: expected"), ("a: 1\na: 2", "key 'a' occurs twice"), ("\tx", "line 1"), (None, "No such file")]
    + [(f"a: 1\nb: {text}", "line 2: no value of") for text in ("!!int x", "!!bool x", "!!timestamp x", "1" * 5000)]
    + [('a: "\\0"', "line 1: text holds a character"), ('"\\ud800": 1', "line 1: text"), ("[" * 9999, "too deeply")],
)
def test_bad_yaml_names_file_and_line(tmp_path, text, message):
    file = tmp_path / "c.yaml"
    if text is not None:
        file.write_text(text + "\n")
    with pytest.raises(ConfigError, match=r"c\.yaml") as caught:
        read_yaml(file)
    assert message in str(caught.value)


def test_defaults_are_those_of_the_document():
    config = read_config(parse_yaml(GOOD))
    assert (config.searcher.type, config.searcher.reward_attribute) == ("GridSearcher", "acc")
    assert (config.searcher.optimize_mode, config.scheduler.retry.times) == ("maximize", 0)
    assert (config.use_spe, config.generate_log, config.scheduler.assessor) == (False, True, None)


def test_bad_commands_are_refused_with_exit_code_2(space):
    space.write("c.yaml", GOOD)
    space.write("empty.yaml", GOOD.replace("echo {x}", ""))
    assert "No such file" in space.refused("run", "-t", "t", "nothere.yaml")
    assert "128 letters" in space.refused("run", "-t", "a/b", "c.yaml")
    assert "does not exist" in space.refused("run", "-t", "t", "c.yaml", "--resume")
    assert "--max-tries" in space.refused("run", "-t", "t", "c.yaml", "--max-tries", "few")
    assert "only --benchmark" in space.refused("run", "-t", "t", "empty.yaml")
    assert "--symlinks: path to be linked, 'nothere'" in space.refused(
        "run", "-t", "t", "c.yaml", "--symlinks", "nothere"
    )
    assert "MOCK_PAVI must be" in space.refused("run", "-t", "t", "c.yaml", MOCK_PAVI="3")
    assert "unknown task 'x'" in space.refused("ctl", "show", "-t", "x")
    assert not (space.path / "gml_tasks").exists()
