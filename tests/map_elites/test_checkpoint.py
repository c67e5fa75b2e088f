"""The search survives being written down and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from map_elites.checkpoint import read_state, restore_or_fail, search_state, write_state
from map_elites.errors import RunFailedError
from tests.map_elites.fakes import ToyWorkers, read_parted
from tests.map_elites.test_evolution import make_evolution


def after(rounds: int) -> ToyWorkers:
    toy = ToyWorkers(make_evolution(200_000))
    for _ in range(rounds):
        toy.round()
    return toy


@pytest.mark.parametrize("rounds", [0, 1, 5, 20, 60])
def test_state_read_back_is_the_same_state(tmp_path: Path, rounds: int):
    toy = after(rounds)
    state = {"search": search_state(toy.evolution)}
    write_state(tmp_path, state)
    fresh = make_evolution(200_000, seed=99)
    restore_or_fail(fresh, tmp_path, read_state(tmp_path), read_parted)
    assert json.dumps(search_state(fresh)) == json.dumps(search_state(toy.evolution))


def test_a_search_goes_on_from_its_state_to_the_end(tmp_path: Path):
    toy = after(60)
    write_state(tmp_path, {"search": search_state(toy.evolution)})
    fresh = make_evolution(200_000, workers=3)  # another number of workers is fine
    restore_or_fail(fresh, tmp_path, read_state(tmp_path), read_parted)
    again = ToyWorkers(fresh)
    again.env_steps, again.version = toy.env_steps, toy.version
    steps = {newborn.id: newborn.steps for newborn in fresh.nursery if newborn.training}
    again.round()
    assert all(fresh.nursery[n].steps >= taken for n, taken in steps.items() if n in fresh.nursery)
    while again.round():
        pass
    assert len(fresh.archive) > 0 and fresh.counters.entered > toy.evolution.counters.entered > 0


def test_bodies_being_scored_are_scored_again(tmp_path: Path):
    toy = after(3)
    while not any(hasattr(c, "seeds") for c in toy.evolution.commands(toy.env_steps)):
        toy.round()
    flying = {n for flight in toy.evolution.waits.values() for n in flight}
    write_state(tmp_path, {"search": search_state(toy.evolution)})
    fresh = make_evolution(200_000)
    restore_or_fail(fresh, tmp_path, read_state(tmp_path), read_parted)
    assert flying and flying <= set(fresh.contests.waiting)


def test_children_that_only_try_the_policy_are_not_kept(tmp_path: Path):
    evolution = make_evolution(200_000)
    toy, give, trying = ToyWorkers(evolution), evolution.contests.litter_orders, []

    def save(children):
        trying.extend(children)
        write_state(tmp_path, {"search": search_state(evolution)})
        return give(children)

    evolution.contests.litter_orders = save
    while not trying:
        assert toy.round()
    fresh = make_evolution(200_000)
    restore_or_fail(fresh, tmp_path, read_state(tmp_path), read_parted)
    assert (
        len(fresh.nursery) > 0
        and not {newborn.id for newborn in fresh.nursery} & set(trying)
        and not fresh.passing_children
    )
    orders = [order for order in fresh.commands(toy.env_steps) if getattr(order, "purpose", "") == "litter"]
    assert orders and all(min(order.bodies) > max(trying) for order in orders)


def test_a_screening_that_was_cut_short_begins_anew(tmp_path: Path):
    evolution = make_evolution(200_000, num_screened=10)
    evolution.commands(0)
    write_state(tmp_path, {"search": search_state(evolution)})
    fresh = make_evolution(200_000, num_screened=10)
    restore_or_fail(fresh, tmp_path, read_state(tmp_path), read_parted)
    assert len(fresh.nursery) == 0
    orders = fresh.commands(0)
    assert orders and all(
        order.purpose == "screening" and min(order.bodies) >= evolution.nursery.born for order in orders
    )


@pytest.mark.parametrize(
    "damage", [lambda t: t[: len(t) // 3], lambda t: "", lambda t: "[]", lambda t: '{"format": 9}']
)
def test_damaged_state_is_one_clear_error(tmp_path: Path, damage):
    write_state(tmp_path, {"search": search_state(after(10).evolution)})
    path = tmp_path / "state.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunFailedError, match="checkpoint"):
        read_state(tmp_path)


@pytest.mark.parametrize("key", ["archive", "rng", "newborns", "counters"])
def test_state_with_a_part_missing_or_wrong_is_one_clear_error(tmp_path: Path, key: str):
    state = {"format": 1, "search": search_state(after(30).evolution)}
    for value in (None, [1, 2], {"x": 1}):
        state["search"][key] = value
        with pytest.raises(RunFailedError, match="damaged"):
            restore_or_fail(make_evolution(200_000), tmp_path, state, read_parted)


def test_missing_state_is_named(tmp_path: Path):
    with pytest.raises(RunFailedError, match=r"cannot read checkpoint .*state\.json"):
        read_state(tmp_path)
