"""Rules of RoboGrammar: matching, rewriting, errors."""

import pickle

import networkx as nx
import pytest

from robogrammar_env.design import as_design
from robogrammar_env.errors import (
    DesignTooLargeError,
    RuleNotApplicableError,
    UnfinishedDesignError,
    UnknownNameError,
    UnknownRuleError,
)
from robogrammar_env.grammar import GRAMMARS, MAX_RULES, load_grammar
from robogrammar_env.grammar_file import read_rules
from robogrammar_env.published import PUBLISHED
from robogrammar_env.rule import is_finished, ordered_edges, root_of

APR30 = load_grammar("apr30")

NAMES = """make_robot append_body make_body_with_legs make_body_without_legs append_limb_link end_limb end_tail end_head
make_normal_limb_link make_long_limb_link make_fixed_body_joint make_roll_body_joint make_swing_body_joint
make_lift_body_joint make_left_roll_limb_joint make_right_roll_limb_joint make_swing_limb_joint
make_acute_lift_limb_joint make_obtuse_lift_limb_joint make_backwards_lift_limb_joint"""


def _after(rules):
    *_, graph = APR30.derive(rules)
    return graph


def _labels(graph):
    return [data.get("label", "") for _, data in graph.nodes(data=True)]


def test_apr30_has_the_20_rules_of_robogrammar_in_order():
    assert [rule.name for rule in APR30.rules] == NAMES.split()


@pytest.mark.parametrize(("name", "count"), list(zip(GRAMMARS, (20, 20, 21), strict=True)))
def test_load_grammar_gives_every_packaged_grammar(name, count):
    assert len(load_grammar(name).rules) == count


@pytest.mark.parametrize("name", PUBLISHED)
def test_replay_of_a_published_design_ends_finished(name):
    assert is_finished(APR30.replay(PUBLISHED[name]))


def test_first_rule_is_the_only_one_applicable_at_the_start():
    assert [rule.number for rule in APR30.applicable(APR30.start())] == [0]


def test_no_rule_applies_to_a_finished_graph():
    assert APR30.applicable(APR30.replay([0, 7, 3, 6])) == []


def test_apply_moves_kept_nodes_behind_untouched_ones_and_new_nodes_last():
    assert _labels(_after([0])) == ["head", "body", "tail"]
    assert _labels(_after([0, 1])) == ["head", "tail", "body", "body"]


def test_apply_rotates_round_robin_among_legs():
    """The leg that a rule has just matched moves to the end, so that the next rule meets the other one."""
    graph = _after([0, 7, 2, 1, 2])
    one, other = (node for node, data in graph.nodes(data=True) if data.get("label") == "limb")
    for expected in ([other, one], [one, other]):
        graph = APR30.apply(graph, "append_limb_link")
        assert [node for node, data in graph.nodes(data=True) if data.get("label") == "limb"] == expected


def test_append_body_keeps_the_finished_joint_on_the_edge_to_the_new_segment():
    """Rule 12 finishes the joint to the tail; rule 1 then re-attaches that edge, and makes a new one to the tail."""
    graph = _after([0, 7, 12, 1])
    (finished,) = [(u, v) for u, v, _, data in ordered_edges(graph) if data.get("joint_axis") == (0.0, 1.0, 0.0)]
    assert [graph.nodes[node]["label"] for node in finished] == ["body", "body"]


def test_required_label_without_a_new_one_is_erased():
    assert _labels(APR30.replay([0, 7, 3, 6])) == [""]


def test_rule_that_would_leave_an_edge_dangling_does_not_apply():
    text = 'digraph remove { subgraph L { a [require_label="body"]; } subgraph R { } }'
    (rule,) = read_rules(text, "test")
    alone = nx.MultiDiGraph()
    alone.add_node("body_1", label="body")
    assert rule.first_match(alone) == {"a": "body_1"}
    assert rule.first_match(_after([0])) is None


def test_one_edge_of_a_rule_stands_for_all_parallel_edges():
    """A pair of edges to one mount is matched, and removed, as one."""
    text = "digraph cut { subgraph L { a -> b; } subgraph R { a; b; } }"
    (rule,) = read_rules(text, "test")
    graph = as_design("body(swing)").graph()
    assert rule.apply(graph, rule.first_match(graph)).number_of_edges() == graph.number_of_edges() - 2


def test_mount_has_two_edges_of_which_one_is_mirrored():
    graph = APR30.replay([0, 7, 2, 16, 8, 5, 6])
    (mount,) = [node for node in graph if graph.in_degree(node) == 2]
    edges = graph.get_edge_data(root_of(graph), mount).values()
    assert [data.get("mirror", False) for data in edges] == [False, True]


def test_unknown_rule_number_is_an_error_that_names_step_and_range():
    with pytest.raises(UnknownRuleError, match=r"step 2: grammar apr30 has rules 0 to 19, got 20"):
        APR30.replay([0, 20])


def test_unknown_rule_name_is_an_error_that_names_the_nearest():
    with pytest.raises(UnknownRuleError, match=r"make_robots.*did you mean 'make_robot'"):
        APR30.replay(["make_robots"])


def test_name_of_several_rules_is_an_error_that_gives_their_numbers(tmp_path):
    (tmp_path / "twice.dot").write_text("\ufeff" + APR30.text + APR30.text, encoding="utf-8")
    twice = load_grammar(str(tmp_path / "twice.dot"))
    with pytest.raises(UnknownRuleError, match=r"rules 0 and 20 'make_robot'; give the number"):
        twice.replay(["make_robot"])


@pytest.mark.parametrize("rule", [1.5, None])
def test_rule_of_wrong_type_is_an_error(rule):
    with pytest.raises(UnknownRuleError, match="number or a name"):
        APR30.replay([rule])


def test_rule_that_does_not_apply_is_an_error_that_lists_those_that_do():
    with pytest.raises(
        RuleNotApplicableError, match=r"step 3: rule 5 end_limb does not apply.*: 1 append_body, 2 make_"
    ):
        APR30.replay([0, 7, 5])


def test_rule_after_the_end_is_an_error_that_says_so():
    with pytest.raises(RuleNotApplicableError, match=r"step 5.*the robot is finished"):
        APR30.replay([0, 7, 3, 6, 1])


def test_unfinished_sequence_is_an_error_that_says_what_is_left():
    with pytest.raises(
        UnfinishedDesignError, match=r"left are tail, limb_link, limb, .*applicable rules: 1 append_body"
    ):
        APR30.replay([0, 7, 2])


def test_more_rules_than_a_derivation_may_have_is_an_error():
    with pytest.raises(DesignTooLargeError, match="at most 40 rules, got 41"):
        APR30.replay([0, *[1] * MAX_RULES])


def test_empty_sequence_is_unfinished():
    with pytest.raises(UnfinishedDesignError, match="left are robot"):
        APR30.replay([])


def test_unknown_grammar_is_an_error_that_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'apr3'.*did you mean 'apr30'"):
        load_grammar("apr3")


def test_grammar_can_be_pickled_for_a_worker_process():
    copy = pickle.loads(pickle.dumps(APR30))
    assert copy == APR30 and hash(copy) == hash(APR30)
    assert is_finished(copy.replay(PUBLISHED["gap"]))
