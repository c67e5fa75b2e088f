"""The search on toy bodies: phases, budget, protection of newborns, failures, reproducibility."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain

import pytest

from map_elites.archive import Archive
from map_elites.checkpoint import restore_search, search_state
from map_elites.config import EvaluationConfig, EvolutionConfig
from map_elites.errors import RunFailedError
from map_elites.evolution import Evolution, TrainCommand
from map_elites.litter import LEAST_GAIN
from map_elites.reserve import MOST_RESERVES
from map_elites.schedule import make_plan, update_size
from map_elites.search import World
from map_elites.variation import Variation
from tests.map_elites.fakes import AXES, ToyWorkers, read_parted, toy_space


def make_evolution(
    total_steps: int = 60_000, workers: int = 2, seed: int = 0, *, episodes: int = 2, **settings
) -> Evolution:
    """A search over toy bodies. Of two episodes one is on the reference seed, one on a seed of the order."""
    evolution = EvolutionConfig(**{"num_screened": 0, **settings})
    evaluation = EvaluationConfig(episodes=episodes)
    return Evolution(
        plan=make_plan(total_steps, workers, evolution, evaluation, episode_steps=128),
        evolution=evolution,
        evaluation=evaluation,
        archive=Archive(AXES),
        variation=Variation(toy_space()),
        world=World("flat", "toy", lambda design: {"joints": float(design.num_joints)}),
        run_seed=seed,
    )


def run(evolution: Evolution, **settings) -> ToyWorkers:
    workers = ToyWorkers(evolution, **settings)
    for _ in range(5000):
        if not workers.round():
            return workers
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("episodes", [1, 2])
@pytest.mark.parametrize(("total", "workers"), [(3_000, 1), (3_000, 2), (3_000, 8), (40_000, 2), (200_000, 4)])
def test_any_length_ends_near_its_budget_with_elites(total: int, workers: int, episodes: int):
    evolution = make_evolution(total, workers, episodes=episodes)
    toy = run(evolution)
    round_steps = evolution.plan.workers * evolution.plan.places * 128
    assert total * 0.98 <= toy.env_steps <= total + round_steps + 1
    assert len(evolution.archive) >= 1 and not evolution.contests.flights
    assert all(elite.score.episodes in (episodes, 4) for elite in evolution.archive)  # 4 in the closing


def test_same_seed_gives_the_same_archive_and_another_seed_another():
    texts = []
    for seed in (1, 1, 2):
        evolution = make_evolution(seed=seed)
        run(evolution)
        texts.append(json.dumps(evolution.archive.to_json()))
    assert texts[0] == texts[1] != texts[2]


def test_the_warmup_is_no_longer_than_its_bodies_need_nor_than_its_share_of_the_run():
    settings = {"num_initial_random": 4, "warmup_steps_per_individual": 1000, "warmup_share": 0.5}
    assert make_evolution(60_000, **settings).plan.warmup_steps == 4_000
    assert make_evolution(6_000, **settings).plan.warmup_steps == 3_000


def screen(evolution: Evolution, **settings) -> tuple[ToyWorkers, dict[int, float], dict[int, tuple[int, ...]]]:
    """Plays a screening to its end; also returns the best speed and the parents of the bodies in it, by id."""
    toy, speeds, parents = ToyWorkers(evolution, **settings), {}, {}
    while not evolution.initial:
        before = len(toy.seen)
        assert toy.round()
        toy.version -= 1  # when they were screened
        for order in toy.seen[before:]:
            good = set(order.bodies) - toy.fail
            speeds |= {n: max(toy.play(n, seed)["speed_m_s"] for seed in order.seeds) for n in good}
        toy.version += 1
        parents |= {newborn.id: newborn.parent_ids for newborn in evolution.nursery}
    return toy, speeds, parents


def test_the_screening_goes_on_with_children_of_the_fastest():
    evolution = make_evolution(400_000, num_screened=40, screening_episodes=3, num_founders=2)
    toy, speeds, parents = screen(evolution)
    assert [evolution.plan.screening_round(done) for done in (0, 20, 28, 36)] == [20, 8, 8, 4]
    assert len(speeds) == 40 and sum(order.purpose == "screening" for order in toy.seen) == len(toy.seen)
    assert evolution.plan.screening_steps == sum(len(o.bodies) * len(o.seeds) * 128 for o in toy.seen) == 40 * 3 * 128
    assert not any(parents[n] for n in range(20)) and all(len(parents[n]) == 1 for n in range(20, 40))
    assert {parents[n][0] for n in range(20, 28)} == set(sorted(range(20), key=lambda n: -speeds[n])[:2])
    assert not evolution.archive and evolution.counters.evaluations == 0


def test_the_first_population_is_the_fastest_of_the_fastest_lines():
    evolution = make_evolution(400_000, num_screened=64, screening_episodes=3, num_founders=2, num_initial_random=8)
    _, speeds, parents = screen(evolution)
    lines = {}
    for number in sorted(speeds, key=lambda n: (-speeds[n], n)):
        founder = number
        while parents[founder]:
            founder = parents[founder][0]
        lines.setdefault(founder, []).append(number)
    first, second = list(lines.values())[:2]
    assert evolution.initial == [*first[:4], *second[:4]]
    assert {newborn.id for newborn in evolution.nursery} == set(evolution.initial)


def test_a_first_population_that_its_lines_do_not_share_evenly_has_only_tried_bodies():
    evolution = make_evolution(400_000, num_screened=64, screening_episodes=3, num_founders=3, num_initial_random=8)
    _, speeds, _ = screen(evolution)
    assert len(evolution.initial) == len(set(evolution.initial)) == 8 and set(evolution.initial) <= set(speeds)


def test_a_screening_that_was_cut_short_does_not_shorten_the_warmup():
    evolution = make_evolution(400_000, num_screened=64, screening_episodes=3)
    toy = ToyWorkers(evolution)
    for _ in range(3):
        assert toy.round()
    again = make_evolution(400_000, num_screened=64, screening_episodes=3)
    restore_search(again, json.loads(json.dumps(search_state(evolution))), read_parted)
    repeated = ToyWorkers(again)
    repeated.env_steps = started = toy.env_steps
    while not again.initial:
        assert repeated.round()
    assert again.warmup_end == started + again.plan.screening_steps + again.plan.warmup_steps
    later = make_evolution(400_000, num_screened=64, screening_episodes=3)
    restore_search(later, json.loads(json.dumps(search_state(again))), read_parted)
    assert later.warmup_end == again.warmup_end and later.initial == again.initial


def test_bodies_that_fail_in_the_screening_are_not_chosen():
    evolution = make_evolution(400_000, num_screened=20)
    toy, speeds, _ = screen(evolution, fail=frozenset(range(1, 10)))
    assert toy.seen and set(evolution.initial[: len(speeds)]) <= set(speeds) and not set(evolution.initial) & toy.fail
    everybody = make_evolution(400_000, num_screened=20)
    screen(everybody, fail=frozenset(range(20)))
    assert len(everybody.initial) == 16 and min(everybody.initial) >= 20


def test_the_screening_takes_a_small_share_of_a_short_run_and_none_of_a_very_short_one():
    assert make_evolution(100_000, num_screened=256).plan.num_screened == 14
    assert make_evolution(3_000, num_screened=256).plan.screening_steps == 0


def test_nothing_is_scored_before_the_warmup_ends():
    evolution = make_evolution(60_000)
    toy = ToyWorkers(evolution)
    while toy.round() and toy.env_steps < evolution.plan.warmup_steps:
        assert not toy.seen and len(evolution.archive) == 0
    toy.round()
    assert set(evolution.initial) >= set(toy.seen[0].bodies) and evolution.trained >= set(evolution.initial)


@pytest.mark.parametrize("contenders", [0, 2])
def test_newborns_have_their_guaranteed_steps_before_they_can_lose(contenders: int):
    """Only children whose litter had no place for them compete without, and none that has begun to train."""
    evolution = make_evolution(400_000, litter_contenders=contenders)
    toy, steps, at_first = ToyWorkers(evolution), {}, {}
    finished, commands = evolution.episode_finished, evolution.commands

    def count(number, taken, info):
        steps[number] = steps.get(number, 0) + taken
        finished(number, taken, info)

    def note(env_steps):
        for command in (given := commands(env_steps)):
            for number in command.bodies if getattr(command, "purpose", "") == "contest" else ():
                at_first.setdefault(number, steps.get(number, 0))
        return given

    evolution.episode_finished, evolution.commands = count, note
    while toy.round():
        pass
    tried = {number for order in toy.seen if order.purpose == "litter" for number in order.bodies}
    untrained = {number for number, taken in at_first.items() if taken == 0}
    assert untrained <= tried and bool(untrained) == bool(contenders)
    trained = at_first.keys() - untrained - set(evolution.initial)
    assert len(trained) > 20 and all(at_first[n] >= evolution.plan.newborn_steps for n in trained)


def test_orders_share_seeds_and_never_hold_a_body_twice():
    toy = run(make_evolution(100_000))
    closing = [order for order in toy.seen if len(order.seeds) == 4]
    assert toy.seen[-len(closing) :] == closing and len({order.seeds for order in closing}) == 1
    contests = [order for order in toy.seen if order.purpose == "contest"]
    for order in toy.seen:
        assert len(set(order.bodies)) == len(order.bodies) and order.seeds[0] == 0
    for order in contests:
        assert order in closing or len(order.seeds) == 2
    assert len({order.seeds[1] for order in contests}) == len(contests) - len(closing) + 1


def test_of_a_litter_those_train_that_would_add_most_to_the_archive():
    evolution, speeds, gains, newborns, others_kept = make_evolution(400_000), {}, {}, set(), []
    toy, finish = ToyWorkers(evolution), evolution.evaluation_finished

    def finished(order_id, version, results, failed):
        if evolution.contests.flights[order_id].purpose != "litter" or evolution.closing:
            return finish(order_id, version, results, failed)
        assert all(len(episodes) == 1 and not evolution.nursery[n].training for n, episodes in results.items())
        speeds.update({n: episodes[0]["speed_m_s"] for n, episodes in results.items()})
        for number, episodes in results.items():
            at = evolution.archive.at(evolution.archive.cell_of(episodes[0]))
            gains[number] = speeds[number] - (at.fitness if at else 0.0)
        litter, last = [*evolution.litter.children], evolution.contests.under_way("litter") == 1
        settlement = finish(order_id, version, results, failed)
        assert not settlement.results
        if last:
            ranked = sorted(litter, key=lambda n: -gains[n])
            chosen, others = ranked[: evolution.plan.litter_newborns], ranked[evolution.plan.litter_newborns :]
            contenders = [n for n in others if gains[n] >= LEAST_GAIN][: evolution.plan.litter_contenders]
            newborns.update(chosen)
            others_kept.append(contenders)
            assert {n for n in litter if n in evolution.nursery} == {
                *chosen,
                *contenders,
            } and not evolution.litter.children
            assert set(chosen) == set(evolution.nursery.training()) & set(litter)
            assert all(n in evolution.contests.waiting and evolution.nursery[n].recent for n in contenders)
        return settlement

    evolution.evaluation_finished = finished
    while toy.round():
        pass
    plan = evolution.plan
    assert (plan.litter_size, plan.litter_newborns, plan.litter_steps) == (8, 4, 32 * 128)
    assert plan.litter_contenders == max(map(len, others_kept)) == 8 > min(map(len, others_kept))
    assert len(gains) >= 5 * plan.litter_size * plan.litter_newborns
    from_litters, without = evolution.trained & newborns, {*evolution.initial, *chain(*others_kept)}
    everybody = evolution.trained - without  # a contender that won a cell rehearses
    assert len(everybody) * 0.4 <= len(from_litters) <= len(speeds) / plan.litter_size


def test_every_child_of_a_litter_has_parents():
    evolution = make_evolution(400_000)
    run(evolution)
    elites = {elite.id for elite in evolution.archive}
    litter = evolution.nursery.litter(200)
    bred = [evolution.nursery[number].parent_ids for number in litter]
    assert all(1 <= len(parents) <= 2 and set(parents) <= elites for parents in bred)
    assert {len(parents) for parents in bred} == {1, 2}


def test_children_that_fail_in_their_litter_do_not_train():
    evolution = make_evolution(400_000)
    toy = ToyWorkers(evolution)
    toy.unscorable = frozenset(range(1, 10_000, 5))
    while toy.round():
        pass
    failed = {n for order in toy.seen if order.purpose == "litter" for n in order.bodies} & toy.unscorable
    reasons = [reason for reasons in evolution.failures.values() for reason in reasons]
    assert reasons.count("litter: fell apart") == len(failed) > 10 and not failed & evolution.trained


def test_nobody_is_tried_where_a_litter_is_one_child():
    toy = run(make_evolution(100_000, litter_size=1))
    assert {order.purpose for order in toy.seen} == {"contest"}


def test_trying_a_litter_takes_no_more_steps_than_its_newborns_train():
    for total in (3_000, 30_000, 100_000):
        plan = make_evolution(total).plan
        assert plan.litter_steps <= plan.litter_newborns * plan.newborn_steps
    assert make_evolution(3_000).plan.litter_size == 2 and make_evolution(100_000).plan.litter_size == 7


def test_elites_are_scored_again_and_keep_their_history():
    evolution = make_evolution(400_000, random_share=0.1)  # fills more of the toy's cells
    run(evolution)
    assert sum(bool(elite.history) for elite in evolution.archive) >= len(evolution.archive) / 2
    assert all(version < elite.score.policy_version for elite in evolution.archive for version, _ in elite.history)


def test_a_run_ends_with_the_scores_of_its_last_policy():
    evolution = make_evolution(400_000)
    toy = run(evolution)
    last = [number for order in toy.seen if len(order.seeds) == 4 for number in order.bodies]
    assert {elite.id for elite in evolution.archive} <= set(last) and len(last) == len(set(last))
    assert {elite.score.policy_version for elite in evolution.archive} == {toy.version}


def hold_contests(evolution: Evolution) -> None:
    """From now on nobody is scored before the end."""
    evolution.plan = evolution.contests.plan = replace(evolution.plan, contest_size=1_000)
    evolution.contests.config = replace(evolution.evaluation, max_rounds=1)  # nor for another round


def test_who_waits_for_a_contest_when_training_ends_is_scored_with_the_others():
    evolution = make_evolution(400_000)
    toy, waiting, close = ToyWorkers(evolution), [], evolution.closing_orders

    def closing_orders(env_steps):
        waiting.extend(evolution.contests.waiting)
        return close(env_steps)

    evolution.closing_orders = closing_orders
    while toy.env_steps < 340_000:
        toy.round()
    hold_contests(evolution)
    while toy.round():
        pass
    closing = {number for order in toy.seen if len(order.seeds) == 4 for number in order.bodies}
    assert len(waiting) > 4 and set(waiting) <= closing and not evolution.contests.waiting
    assert set(waiting) & {elite.id for elite in evolution.archive}


def test_contenders_do_not_make_the_others_wait():
    """Where contests cannot keep up, no more of them enter than one order takes."""
    evolution = make_evolution(400_000, litter_contenders=8)
    toy, waiting = ToyWorkers(evolution), []
    while len(evolution.archive) < 4:
        toy.round()
    hold_contests(evolution)
    while toy.round():
        waiting.append(
            (len(evolution.contests.waiting), sum(not evolution.nursery[n].steps for n in evolution.contests.waiting))
        )
    assert max(everybody for everybody, _ in waiting) > evolution.plan.most_bodies
    assert 0 < max(contenders for _, contenders in waiting) <= evolution.plan.most_bodies


def test_who_had_lost_its_cell_gets_one_that_fell_empty():
    """Under the last policy bodies move otherwise; those that were kept in reserve are scored beside the elites."""
    evolution, reserve = make_evolution(400_000), {}
    closing_orders = evolution.closing_orders

    def close(env_steps):
        if not evolution.closing:
            reserve.update(evolution.reserve)
        return closing_orders(env_steps)

    evolution.closing_orders = close
    run(evolution)
    back = [elite for elite in evolution.archive if elite.id in reserve]
    assert 0 < len(reserve) <= MOST_RESERVES and back and all(elite.history for elite in back)
    assert not {elite.id for elite in evolution.archive} & set(evolution.reserve)


def test_the_reserve_has_a_design_once_and_none_that_was_set_aside():
    """A lost design may be bred again and lose again; one that broke too often is not simulated any more."""
    evolution = make_evolution(400_000)
    toy = ToyWorkers(evolution)
    while len(evolution.reserve) < 20:
        assert toy.round()
    rules = [elite.design.rules for elite in evolution.reserve.values()]
    assert len(set(rules)) == len(rules)
    broken = next(n for n, elite in evolution.reserve.items() if not evolution.archive.has_design(elite.design))
    for _ in range(evolution.evaluation.max_strikes):
        evolution.body_failed(broken, "fell apart")
    while toy.round():
        pass
    closing = [number for order in toy.seen if len(order.seeds) == 4 for number in order.bodies]
    assert broken not in closing and len(closing) > len(evolution.archive)


def test_the_harvest_lets_children_compete_under_the_last_policy_as_long_as_the_steps_last():
    evolution = make_evolution(400_000, random_share=0.1)
    toy, close, rounds, before = ToyWorkers(evolution), evolution.closing_orders, [], {}

    def closing_orders(env_steps: int):
        before.setdefault("trained", set(evolution.trained))
        assert not evolution.is_busy
        rounds.append((env_steps, evolution.archive.qd_score, len(evolution.archive), close(env_steps)))
        return rounds[-1][-1]

    evolution.closing_orders = closing_orders
    while toy.round():
        pass
    plan, (_, *harvest, (steps, _, _, last)) = evolution.plan, rounds
    assert plan.harvest_steps == 20_000 and not last and not evolution.passing_children
    assert steps <= plan.total_steps < steps + plan.litter_steps + plan.closing_score_steps
    litters = [orders for *_, orders in harvest if orders[0].purpose == "litter"]
    contests = [orders for *_, orders in harvest if orders[0].purpose == "contest"]
    assert len(litters) >= 3 and contests and evolution.trained == before["trained"]
    tried = {number for orders in litters for order in orders for number in order.bodies}
    competed = [number for orders in contests for order in orders for number in order.bodies]
    assert set(competed) <= tried and len(set(competed)) == len(competed) < len(tried)
    assert {order.seeds for orders in contests for order in orders} == {evolution.closing.seeds}
    scores = [qd for _, qd, _, _ in harvest] + [evolution.archive.qd_score]
    assert scores == sorted(scores) and scores[-1] > scores[0]  # nobody's score changes, and only the faster win
    assert tried & {elite.id for elite in evolution.archive} and not tried & {
        newborn.id for newborn in evolution.nursery
    }


def test_in_the_harvest_any_elite_may_be_a_parent_before_it_the_fastest_are():
    evolution = make_evolution(400_000)
    litter, places = evolution.nursery.litter, {False: [], True: []}

    def note(*args):
        children = litter(*args)
        fastest_first = [elite.id for elite in sorted(evolution.archive, key=lambda elite: -elite.fitness)]
        parents = [parent for number in children for parent in evolution.nursery[number].parent_ids]
        places[evolution.closing is not None] += [fastest_first.index(n) / len(fastest_first) for n in parents]
        return children

    evolution.nursery.litter = note
    run(evolution)
    before, harvest = (sum(found) / len(found) for found in (places[False], places[True]))
    assert before < 0.25 < 0.33 < harvest < 0.6


def test_in_the_harvest_no_design_tries_the_last_policy_twice():
    evolution = make_evolution(400_000)
    toy, close, tried = ToyWorkers(evolution), evolution.closing_orders, []

    def closing_orders(env_steps: int):
        orders = close(env_steps)
        if not tried or evolution.litter.children:
            tried.extend(evolution.design_of(number).rules for order in orders for number in order.bodies)
        return orders

    evolution.closing_orders = closing_orders
    while toy.round():
        pass
    assert len(set(tried)) == len(tried) > len(evolution.archive) + 3 * evolution.plan.litter_newborns


def test_there_is_no_harvest_without_litters_or_without_steps_for_one():
    assert make_evolution(400_000, litter_size=1).plan.harvest_steps == 0
    assert make_evolution(400_000, harvest_share=0.01).plan.harvest_steps == 0
    evolution = make_evolution(400_000, harvest_share=0.0)
    toy = run(evolution)
    assert toy.seen[-1].purpose == "contest" and toy.seen[-1].order_id == evolution.contests.orders - 1


def test_a_short_run_closes_with_no_more_scores_than_its_steps_allow():
    evolution = make_evolution(40_000, workers=1, harvest_share=0.0)
    toy = run(evolution)
    assert evolution.plan.most_closing_scores == 40_000 // 20 // (4 * 128) == 3
    assert len(toy.seen[-1].bodies) == 3 and len(toy.seen[-1].seeds) == 4 and not evolution.is_busy


def test_children_name_parents_born_before_them():
    evolution = make_evolution(200_000)
    run(evolution)
    bred = [elite for elite in evolution.archive if elite.parent_ids]
    assert bred and all(parent < elite.id for elite in bred for parent in elite.parent_ids)


def test_failing_bodies_are_recorded_without_score_and_set_aside():
    evolution = make_evolution(60_000)
    bad = frozenset({0, 3})
    toy = run(evolution, fail=bad)
    assert not bad & {elite.id for elite in evolution.archive}
    assert [len(reasons) for reasons in evolution.failures.values()] == [2, 2]
    assert all(number not in mix for mix in toy.mixes.values() for number in bad)


def test_failed_evaluations_are_counted_and_tried_once_more():
    evolution = make_evolution(60_000)
    toy = ToyWorkers(evolution)
    toy.unscorable = frozenset({0, 3})
    while toy.round():
        pass
    assert evolution.counters.failed_evaluations == 4 and not toy.unscorable & {elite.id for elite in evolution.archive}
    assert all(reason == "evaluation: fell apart" for reasons in evolution.failures.values() for reason in reasons)


def test_nan_scores_are_failures_with_a_reason():
    evolution = make_evolution(60_000)
    toy = ToyWorkers(evolution)
    play = toy.play
    toy.play = lambda number, seed: {**play(number, seed), **({"speed_m_s": float("nan")} if number == 2 else {})}
    while toy.round():
        pass
    assert 2 not in evolution.archive
    assert any("not finite: speed_m_s" in reason for reasons in evolution.failures.values() for reason in reasons)


def test_nothing_but_failures_ends_the_run_with_a_reason():
    with pytest.raises(RunFailedError, match="100 bodies failed in a row, the last one: fell apart"):
        run(make_evolution(100_000), fail=frozenset(range(100_000)))


def test_bodies_set_aside_in_the_warmup_are_replaced():
    evolution = make_evolution(100_000)
    toy = run(evolution, fail=frozenset(range(0, 16, 2)))
    assert len(evolution.archive) > 0 and toy.env_steps >= 98_000
    assert len(evolution.initial) == evolution.plan.num_initial and not set(evolution.initial) & set(range(0, 16, 2))


def test_workers_get_no_more_bodies_than_they_have_places_for():
    evolution = make_evolution(100_000, workers=3)
    toy = ToyWorkers(evolution)
    while toy.round():
        assert all(len(bodies) <= evolution.plan.places for bodies in toy.mixes.values())
        assert set(toy.mixes) == {0, 1, 2}


def test_a_removed_body_leads_to_a_new_order_for_its_worker():
    evolution = make_evolution(60_000)
    first = evolution.commands(0)
    assert all(isinstance(command, TrainCommand) for command in first) and evolution.commands(0) == []
    evolution.body_failed(first[0].bodies[0], "broke", worker=0)
    assert evolution.commands(0) == [first[0]]


def test_update_size_leaves_several_updates_for_short_runs():
    assert update_size(4096, 40_000) == 2500 and update_size(4096, 10_000_000) == 4096 and update_size(1, 1) == 1
