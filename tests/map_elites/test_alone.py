"""The baseline search on toy bodies."""

from __future__ import annotations

import json
import random

import pytest

from map_elites.alone import AloneSearch
from map_elites.archive import Archive
from map_elites.checkpoint import restore_search, search_state
from map_elites.config import EvaluationConfig, EvolutionConfig
from map_elites.schedule import make_plan
from map_elites.search import World
from map_elites.variation import Variation
from tests.map_elites.fakes import AXES, read_parted, toy_space


def make_search(total_steps: int, workers: int = 3, *, lockstep: bool = False) -> AloneSearch:
    evolution, evaluation = EvolutionConfig(num_initial_random=5), EvaluationConfig()
    return AloneSearch(
        lockstep=lockstep,
        plan=make_plan(total_steps, workers, evolution, evaluation, episode_steps=128, shared=False),
        evolution=evolution,
        evaluation=evaluation,
        archive=Archive(AXES),
        variation=Variation(toy_space()),
        world=World("flat", "toy", lambda design: {"joints": float(design.num_joints)}),
        run_seed=1,
    )


def run(search: AloneSearch, *, seed: int = 0, fail: frozenset[int] = frozenset()) -> int:
    """Carries commands out, finishing them in random order; returns the control steps."""
    rng, steps, running = random.Random(seed), 0, []
    for _ in range(3000):
        if search.finished(steps):
            return steps
        running += search.commands(steps)
        assert len(running) <= search.plan.workers
        command = running.pop(rng.randrange(len(running)))
        steps += command.steps + len(command.seeds) * 128
        search.episode_finished(command.body, 128, {})
        joints = search.design_of(command.body).num_joints
        rows = [
            {
                "speed_m_s": joints / 50,
                "robogrammar_objective": 4.0,
                "contact": (command.body * 37 % 50) / 50,
                "height": 1.0,
            }
            for _ in command.seeds
        ]
        failed = {command.body: "fell apart"} if command.body in fail else {}
        results = {} if failed else {command.body: rows}
        search.evaluation_finished(command.body, 3, results, failed)
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("total", [3_000, 12_000, 50_000])
def test_budget_is_used_up_and_not_overdrawn(total: int):
    search = make_search(total)
    steps = run(search)
    assert total * 0.95 <= steps <= total and len(search.archive) >= 1


def test_lockstep_does_not_depend_on_who_is_faster():
    texts = set()
    for seed in range(4):
        search = make_search(50_000, lockstep=True)
        run(search, seed=seed)
        texts.add(json.dumps(search.archive.to_json()))
    assert len(texts) == 1


def test_failing_individuals_are_tried_twice_and_set_aside():
    search = make_search(50_000)
    run(search, fail=frozenset({1}))
    assert [len(reasons) for reasons in search.failures.values()] == [2] and 1 not in search.archive
    assert search.counters.failed_evaluations == 2


def test_a_search_goes_on_from_its_state():
    search = make_search(50_000)
    search.commands(0)
    again = make_search(50_000)
    restore_search(again, json.loads(json.dumps(search_state(search))), read_parted)
    assert search_state(again) == search_state(search)
    assert [command.body for command in again.commands(0)] == [0, 1, 2]
