"""One object's way to its target, without files and processes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.rounds.quota import Quota, replay
from tools.rounds.settings import make_settings


def make_quota(**values) -> Quota:
    base = {"exp_name": "e", "object_code_list": ["box"], "target_count_per_object": 10, "round_batch_size": 4}
    return Quota(make_settings(base, values), 0)


def finish(quota: Quota, round_id: int) -> None:
    quota.finish(quota.running[round_id], {"samples": 4, "wall_s": 1.0, "bytes": 1})


def merge(quota: Quota, kept: int = 4) -> None:
    record = quota.ready()[0]
    if record["status"] == "finished":
        record |= {"status": "merged", "kept": kept, "fields": {}, "missing": [], "total": quota.count + kept}
    quota.settle(record)


def test_no_more_rounds_run_than_the_target_needs():
    quota = make_quota()
    started = []
    while (round_id := quota.next_round()) is not None:
        started.append(quota.begin(round_id)["round_id"])
    assert started == [0, 1, 2]


def test_low_yield_asks_for_more_rounds():
    quota = make_quota()
    quota.begin(0)
    finish(quota, 0)
    merge(quota, kept=1)
    for round_id in range(1, 10):
        assert quota.next_round() == round_id
        quota.begin(round_id)
    assert quota.next_round() is None


def test_rounds_are_merged_in_order_and_failed_ones_hold_the_later_ones_back():
    quota = make_quota(retries=1)
    for _ in range(3):
        quota.begin(quota.next_round())
    finish(quota, 2)
    quota.fail(quota.running[1], {})
    finish(quota, 0)
    assert [record["round_id"] for record in quota.due()] == [0]
    merge(quota)
    assert (quota.due(), quota.next_round()) == ([], 1)
    quota.fail(quota.begin(1), {})
    assert [record["status"] for record in quota.due()] == ["skipped", "finished"]


def test_stride_waits_until_nothing_else_is_on_its_way():
    quota = make_quota(merge_stride=2)
    for _ in range(3):
        quota.begin(quota.next_round())
    finish(quota, 0)
    assert quota.due() == []
    finish(quota, 1)
    assert len(quota.due()) == 2
    merge(quota)
    merge(quota)
    finish(quota, 2)
    assert len(quota.due()) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_rounds_that_a_killed_runner_cut_run_again(order):
    quota = make_quota()
    lines = []
    for _ in range(3):
        quota.begin(quota.next_round())
    finish(quota, order[0])
    lines.append(dict(quota.waiting[order[0]]))
    [again] = replay(quota.settings, lines)
    rerun = {again.begin(again.next_round())["round_id"] for _ in range(2)}
    assert rerun == {0, 1, 2} - {order[0]}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_of_events_with_replays_between_reaches_the_target(data):
    """Rounds end in any order, fail at random, and the state is replayed from its lines at any moment."""
    quota, lines = make_quota(retries=1, give_up_after=100), []
    for _ in range(500):
        while data.draw(st.booleans()) and (round_id := quota.next_round()) is not None:
            quota.begin(round_id)
        if quota.running and data.draw(st.booleans()):
            round_id = data.draw(st.sampled_from(sorted(quota.running)))
            record = quota.running[round_id]
            if data.draw(st.integers(0, 3)) == 0:
                quota.fail(record, {})
            else:
                finish(quota, round_id)
            lines.append(dict(record))
        while quota.verdict() is None and (due := quota.due()):
            merge(quota, kept=due[0]["round_id"] % 5)
            if due[0]["status"] == "merged":
                lines.append(dict(due[0]))
        if quota.verdict() is not None:
            break
        if data.draw(st.integers(0, 5)) == 0:
            before = (quota.count, quota.next_merge, quota.barren, quota.merged_rounds, sorted(quota.skipped_rounds))
            [quota] = replay(quota.settings, lines)
            after = (quota.count, quota.next_merge, quota.barren, quota.merged_rounds, sorted(quota.skipped_rounds))
            assert after == before
            assert quota.num_failures == sum(len(line["failures"]) for line in last_lines(lines))
    assert quota.merged_rounds == sorted(quota.merged_rounds)
    assert quota.count == sum(round_id % 5 for round_id in quota.merged_rounds)
    assert set(quota.merged_rounds) | set(quota.skipped_rounds) >= set(range(quota.next_merge))


def last_lines(lines):
    return {line["round_id"]: line for line in lines}.values()
