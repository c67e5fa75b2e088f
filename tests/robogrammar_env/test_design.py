"""Canonical designs: one form per robot, and every way in and out of it."""

import pickle
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robogrammar_env.apr30 import LIMB_JOINTS, SPINE_JOINTS
from robogrammar_env.design import GrammarDesign, LimbLink, RobotDesign, as_design
from robogrammar_env.errors import (
    DesignSyntaxError,
    DesignTooLargeError,
    RobotError,
    RuleNotApplicableError,
    UnfinishedDesignError,
    UnknownRuleError,
)
from robogrammar_env.grammar import load_grammar
from robogrammar_env.published import PUBLISHED
from robogrammar_env.robot import build_robot
from robogrammar_env.rule import is_finished

LINKS = st.builds(LimbLink, st.sampled_from(sorted(LIMB_JOINTS)), st.booleans())


@st.composite
def designs(draw: st.DrawFn) -> RobotDesign:
    """Draws any design that 40 rules can make."""
    num_segments = draw(st.integers(1, 7))
    segments, left = [], 13 - num_segments
    for _ in range(num_segments):
        leg = draw(st.lists(LINKS, max_size=min(4, left)))
        segments.append(tuple(leg))
        left -= len(leg)
    spine = [draw(st.sampled_from(sorted(SPINE_JOINTS))) for _ in range(num_segments - 1)]
    return RobotDesign(tuple(segments), tuple(spine))


@given(designs())
@settings(max_examples=60, deadline=None)
def test_canonical_rules_replay_to_the_very_same_robot(design):
    graph = design.grammar.replay(design.rules)
    assert RobotDesign.from_graph(graph) == design
    assert build_robot(graph) == build_robot(design)


@given(designs())
@settings(max_examples=100, deadline=None)
def test_text_graph_and_pickle_give_the_design_back(design):
    assert as_design(str(design)) == design
    assert as_design(design.graph()) == design
    assert pickle.loads(pickle.dumps(design)) == design


@given(designs())
@settings(max_examples=100, deadline=None)
def test_counts_follow_from_the_parts(design):
    robot = build_robot(design)
    assert len(design.rules) == design.num_rules <= 40
    assert robot.num_joints == design.num_joints <= 24
    assert len(robot.links) <= 32


@given(designs(), designs())
@settings(max_examples=60, deadline=None)
def test_designs_are_equal_exactly_when_their_robots_are(one, other):
    assert (one == other) == (build_robot(one) == build_robot(other))


@pytest.mark.parametrize("seed", range(25))
def test_rules_in_any_order_make_the_robot_of_the_canonical_rules(seed):
    """Where a link is in the list depends on the order of the rules; which links there are, and where, does not."""
    rules, graph = _random_rules(np.random.default_rng(seed))
    design = as_design(rules)
    assert _places(build_robot(graph)) == _places(build_robot(design))
    assert as_design(design.rules) == design


def _random_rules(rng):
    """Draws applicable rules, from some number on only such as make the robot no larger (1, 2, 4 do)."""
    grammar, rules = load_grammar(), []
    graph = grammar.start()
    while not is_finished(graph):
        numbers = [rule.number for rule in grammar.applicable(graph)]
        rules.append(int(rng.choice([n for n in numbers if len(rules) < 15 or n not in (1, 2, 4)])))
        graph = grammar.apply(graph, rules[-1])
    return rules, graph


def _places(robot):
    """Maps each link's name to what it is and to its parent's name."""
    names = [link.name for link in robot.links]
    return {link.name: (names[link.parent] if link.joint else "", replace(link, parent=-1)) for link in robot.links}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rules_and_canonical_rules_are_one_design(name):
    design = RobotDesign.from_rules(PUBLISHED[name])
    assert design == as_design(name) == as_design(design.rules)
    assert design.num_rules <= len(PUBLISHED[name])


def test_text_reads_from_nose_to_tail():
    design = as_design("ridged")
    assert str(design) == (
        "body(swing long, backwards_lift, acute_lift long) -lift- body -swing- body(swing long, obtuse_lift)"
    )
    assert [len(leg) for leg in design.segments] == [3, 0, 2]


def test_canonical_rules_of_a_small_robot():
    design = as_design("body(swing long) -roll- body")
    assert design.rules == (0, 7, 2, 16, 9, 5, 1, 11, 3, 6)
    assert design.num_joints == 3


@pytest.mark.parametrize("source", ["0 7 2 16 8 5 6", "[0, 7, 2, 16, 8, 5, 6]", (0, 7, 2, 16, 8, 5, 6), "body(swing)"])
def test_as_design_takes_rules_and_texts(source):
    assert as_design(source) == RobotDesign(((LimbLink("swing"),),))


def test_as_design_takes_numpy_numbers_and_rule_names():
    names = "make_robot end_head make_body_with_legs make_swing_limb_joint make_normal_limb_link end_limb end_tail"
    assert as_design(names) == as_design(np.array([0, 7, 2, 16, 8, 5, 6])) == as_design("apr30: 0 7 2 16 8 5 6")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([0, 7, 99], UnknownRuleError, "step 3: grammar apr30 has rules 0 to 19, got 99"),
        ([0, 7, 8], RuleNotApplicableError, "step 3: rule 8 make_normal_limb_link does not apply"),
        ([0, 7, 2], UnfinishedDesignError, "not finished"),
        ("body(swnig)", DesignSyntaxError, "unknown limb joint 'swnig', did you mean 'swing'"),
        ("body -rool- body", DesignSyntaxError, "unknown spine joint 'rool', did you mean 'roll'"),
        ("body(swing short)", DesignSyntaxError, "got 'swing short'"),
        ("body -roll- boddy", DesignSyntaxError, "expected a torso segment .* got 'boddy'"),
        ("body -roll-", DesignSyntaxError, "expected a torso segment"),
        ("body(swing,)", DesignSyntaxError, "unknown limb joint ''"),
        ("legs", DesignSyntaxError, "no published design or rule 'legs'"),
        (7, DesignSyntaxError, "got int"),
        (nx.MultiDiGraph(), DesignSyntaxError, "needs a first node"),
        (nx.DiGraph(), DesignSyntaxError, "MultiDiGraph, got DiGraph"),
    ],
)
def test_what_is_no_design_is_a_clear_error(source, error, message):
    with pytest.raises(error, match=message) as caught:
        as_design(source)
    assert isinstance(caught.value, RobotError)


def test_design_without_segments_is_an_error():
    with pytest.raises(DesignSyntaxError, match="got 0 segments"):
        RobotDesign(())


def test_design_that_needs_more_than_40_rules_is_an_error():
    with pytest.raises(DesignTooLargeError, match="needs 43 rules"):
        RobotDesign(((LimbLink("swing"),) * 13,))


def test_graph_of_another_grammar_is_no_apr30_design():
    graph = load_grammar("apr30_asym").replay([0, 7, 2, 16, 16, 8, 8, 5, 5, 6])
    with pytest.raises(DesignSyntaxError, match="no robot of the apr30 grammar"):
        as_design(graph)


def test_graph_in_a_circle_is_an_error():
    graph = as_design("body -roll- body").graph()
    graph.add_edge("torso_1", "torso_0", key=9, type="fixed")
    with pytest.raises(DesignSyntaxError, match="circle"):
        as_design(graph)


def test_graph_whose_parts_hang_on_nothing_is_an_error():
    graph = as_design("body -roll- body").graph()
    graph.add_node("wing", shape="capsule")
    with pytest.raises(DesignSyntaxError, match="parts that hang on nothing: torso_0, torso_1; wing"):
        build_robot(graph)


def test_asymmetric_design_has_its_own_legs():
    design = as_design("apr30_asym: 0 7 2 16 17 8 9 5 5 6")
    assert isinstance(design, GrammarDesign)
    left, right = (link for link in build_robot(design).links if link.kind == "limb")
    assert (left.joint.kind, right.joint.kind) == ("swing", "acute_lift")
    assert (left.length_m, right.length_m) == (0.1, 0.15)


def test_wheel_design_ends_in_driven_wheels():
    design = as_design([0, 7, 2, 16, 8, 20, 6], grammar="apr30_wheel")
    wheels = [link for link in build_robot(design).links if link.kind == "wheel"]
    assert [(link.shape, link.joint.control, link.joint.kind) for link in wheels] == [
        ("cylinder", "velocity", "wheel")
    ] * 2
    assert design.num_joints == 4


@pytest.mark.parametrize("text", ["apr30_asym: 0 7 2 16 17 8 9 5 5 6", "apr30_wheel: 0 7 2 16 8 20 6"])
def test_grammar_design_comes_back_from_text_and_pickle(text):
    design = as_design(text)
    assert design.to_text() == text
    assert pickle.loads(pickle.dumps(design)) == design
    assert hash(as_design(text)) == hash(design)


def test_grammar_design_checks_its_rules():
    with pytest.raises(UnfinishedDesignError):
        as_design([0, 7], grammar="apr30_wheel")


@given(st.text(alphabet="body(swinglft_, )-:0123456789 ", max_size=30) | st.lists(st.integers(-3, 25), max_size=12))
@settings(max_examples=200, deadline=None)
def test_nonsense_is_a_design_or_an_error_of_ours(source):
    try:
        assert as_design(source).num_rules <= 40
    except RobotError as error:
        assert str(error)
