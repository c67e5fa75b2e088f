"""Searchers: what they promise about their configurations."""

import itertools

import numpy as np
import optuna
import pytest

from gml.book import TrialBook
from gml.config import read_searcher
from gml.jobs import State
from gml.searchers import build_searcher
from gml.searchers.lamcts import LamctsSampler
from gml.space import read_search_args
from gml.study import create_study

optuna.logging.set_verbosity(optuna.logging.ERROR)
SMALL = [
    {"type": "Categorical", "name": "a", "data": [1, 2, 3]},
    {"type": "Int", "name": "b", "data": [1, 4]},
    {"type": "Nested", "data": [{"lr": 0.1, "m": 0}, {"lr": 0.2, "m": 1}]},
]
BOX = [{"type": "Real", "name": name, "data": [-1, 2]} for name in "xyz"]


def run(tmp_path, searcher, args, num, value=lambda args: 0.0, *, seed=0, fresh=True):
    """Runs a search without processes; returns the values of every configuration that was given out."""
    space = read_search_args(args)
    config = read_searcher(searcher)
    if fresh:
        create_study(tmp_path / "s.db", "s", maximize=config.optimize_mode == "maximize")
    made = build_searcher(config, space, seed=seed)
    book = TrialBook(tmp_path / "s.db", space, made, scheduler="x", seed=0)
    given = []
    for _ in range(num):
        book.sync()
        assignment = book.next()
        if assignment is None:
            break
        given.append(dict(assignment.arg_dict))
        book.finish(assignment.number, State.FINISHED, value(assignment.arg_dict), {})
    return given


def key(args):
    return tuple(sorted(args.items()))


def test_grid_gives_every_combination_once_in_order(tmp_path):
    given = run(tmp_path, {"type": "GridSearcher"}, SMALL, 100)
    expected = itertools.product([1, 2, 3], [1, 2, 3, 4], [(0.1, 0), (0.2, 1)])
    assert [(args["a"], args["b"], (args["lr"], args["m"])) for args in given] == list(expected)


def test_grid_goes_on_where_it_was(tmp_path):
    first = run(tmp_path, {"type": "GridSearcher"}, SMALL, 10)
    rest = run(tmp_path, {"type": "GridSearcher"}, SMALL, 100, fresh=False)
    assert len({key(args) for args in first + rest}) == len(first + rest) == 24


def test_grid_goes_on_after_more_known_configurations_than_may_repeat(tmp_path, monkeypatch):
    monkeypatch.setattr("gml.book.MAX_REPEATS", 5)
    assert len(run(tmp_path, {"type": "GridSearcher"}, SMALL, 10)) == 10
    assert len(run(tmp_path, {"type": "GridSearcher"}, SMALL, 100, fresh=False)) == 14


def test_grid_over_a_range_that_no_memory_holds(tmp_path):
    seeds = [{"type": "Int", "name": "seed", "data": [0, 2**53]}]
    assert [args["seed"] for args in run(tmp_path, {"type": "GridSearcher"}, seeds, 3)] == [0, 1, 2]


def test_evolution_gives_each_individual_once_and_then_ends(tmp_path):
    searcher = {"type": "EvolutionSearcher", "population_size": 6, "mutate_prob": 0.3, "gen_trial_limit": 300}
    given = run(tmp_path, searcher, SMALL, 100, lambda args: args["a"] * args["b"])
    assert len({key(args) for args in given}) == len(given) > 18  # of 24
    again = run(tmp_path, searcher, SMALL, 100, seed=5, fresh=False)
    assert not {key(args) for args in given} & {key(args) for args in again}


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_evolution_gets_better_than_its_founders(tmp_path, mode):
    sign = 1 if mode == "maximize" else -1

    def value(args):
        return -sign * sum((args[name] - 1.0) ** 2 for name in "xyz")

    searcher = {"type": "EvolutionSearcher", "optimize_mode": mode, "population_size": 10, "mutate_prob": 0.3}
    values = [sign * value(args) for args in run(tmp_path, searcher, BOX, 100, value)]
    assert np.mean(values[-20:]) > np.mean(values[:10])


@pytest.mark.parametrize(
    "searcher",
    [
        {"type": "RandomSearcher"},
        {"type": "TPESampler", "n_startup_trials": 3},
        {"type": "CmaEsSampler"},
        {"type": "NSGAIISampler", "population_size": 50},
        {"type": "QMCSampler"},
        {"type": "LamctsSearcher", "dims": 3, "ninits": 4, "leaf_size": 4},
        {"type": "SkoptSearcher", "random_state": 1, "n_initial_points": 3, "base_estimator": "GP"},
    ],
)
def test_sampled_searchers_stay_in_the_box_and_go_on_differently(tmp_path, searcher):
    def value(args):
        return -(args["x"] ** 2)

    given = run(tmp_path, searcher, BOX, 8, value)
    given += run(tmp_path, searcher, BOX, 4, value, seed=8000, fresh=False)
    assert len(given) == len({key(args) for args in given}) == 12
    assert all(-1 <= args[name] <= 2 for args in given for name in "xyz")


def lamcts_best(seed, num, direction="maximize", **settings):
    study = optuna.create_study(direction=direction, sampler=LamctsSampler(seed=seed, **settings))
    sign = 1 if direction == "maximize" else -1
    box = {name: optuna.distributions.FloatDistribution(-1, 1) for name in "abcd"}
    for _ in range(num):
        trial = study.ask(box)
        study.tell(trial, -sign * sum((value - 0.5) ** 2 for value in trial.params.values()))
    return study


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_lamcts_finds_the_bottom_of_a_bowl(kernel, direction):
    study = lamcts_best(0, 60, direction, kernel_type=kernel, ninits=15, leaf_size=10, Cp=0.1)
    assert abs(study.best_value) < 0.02


def test_lamcts_is_the_same_for_the_same_seed_and_needs_no_memory():
    def fresh_sampler():
        return LamctsSampler(seed=3, ninits=8, leaf_size=6)

    through = lamcts_best(3, 20, ninits=8, leaf_size=6)
    broken = optuna.create_study(direction="maximize", sampler=fresh_sampler())
    box = {name: optuna.distributions.FloatDistribution(-1, 1) for name in "abcd"}
    for _ in range(20):
        broken.sampler = fresh_sampler()
        trial = broken.ask(box)
        broken.tell(trial, -sum((value - 0.5) ** 2 for value in trial.params.values()))
    assert [t.params for t in broken.trials][1:] == [t.params for t in through.trials][1:]


def test_lamcts_survives_equal_values_and_running_trials():
    study = optuna.create_study(direction="maximize", sampler=LamctsSampler(seed=0, ninits=4, leaf_size=4))
    box = {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.FloatDistribution(1e-3, 1, log=True),
    }
    running = [study.ask(box) for _ in range(3)]
    for _ in range(20):
        study.tell(study.ask(box), 1.0)
    assert len({tuple(trial.params.values()) for trial in running}) == 3
