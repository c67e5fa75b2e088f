"""Grammar files of users: what is read, and errors that name rule and line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robogrammar_env.errors import GrammarFileError
from robogrammar_env.grammar import load_grammar
from robogrammar_env.grammar_file import read_rules

START = """digraph start {
  subgraph L { robot [require_label="robot"]; }
  subgraph R { robot [shape=capsule, length=0.2]; leg [shape=capsule, radius=.02]; robot -> leg [type=hinge]; }
}
"""


def _rule(body: str, name: str = "grow") -> str:
    return f"digraph {name} {{\n{body}\n}}\n"


def test_own_file_loads_like_a_packaged_grammar(tmp_path):
    path = tmp_path / "mine.dot"
    path.write_text("# a comment\n/* another\n one */\n" + START)
    grammar = load_grammar(str(path))
    graph = grammar.replay([0])
    assert [data["length"] for _, data in graph.nodes(data=True) if "length" in data] == [0.2]
    assert [rule.line for rule in grammar.rules] == [4]


def test_chain_of_edges_gives_one_edge_per_arrow():
    (rule,) = read_rules(_rule('subgraph L { a [require_label="x"]; } subgraph R { a -> b -> c [label="y"]; }'), "f")
    assert [(u, v, data) for u, v, data in rule.rhs.edges(data=True)] == [
        ("a", "b", {"label": "y"}),
        ("b", "c", {"label": "y"}),
    ]


def test_value_that_equals_the_default_is_not_stored_and_so_does_not_overwrite():
    (rule,) = read_rules(_rule("subgraph L { a; } subgraph R { a [length=1.0, friction=0.9, radius=0.3]; }"), "f")
    assert dict(rule.rhs.nodes["a"]) == {"radius": 0.3}


def test_value_written_later_wins_even_if_it_is_the_default():
    (rule,) = read_rules(_rule("subgraph L { a [length=2.0]; } subgraph R { a [length=1.0]; }"), "f")
    assert dict(rule.lhs.nodes["a"]) == {}


def test_numbers_vectors_flags_and_choices_are_read():
    text = 'a -> b [offset=-.5, axis_angle="0 1 0 9e1", mirror=True, control_mode=velocity, limits="-90 90", kp=1e-2]'
    (rule,) = read_rules(_rule(f"subgraph L {{ a; }} subgraph R {{ {text}; }}"), "f")
    assert rule.rhs.get_edge_data("a", "b")[0] == {
        "offset": -0.5,
        "axis_angle": (0.0, 1.0, 0.0, 90.0),
        "mirror": True,
        "control_mode": "velocity",
        "limits": (-90.0, 90.0),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"f: no rules"),
        (_rule("subgraph L { a; }"), r"f, line 1, rule grow: subgraph R is missing"),
        (_rule("subgraph L { a; } subgraph M { a; }"), r"line 1, rule grow: subgraphs must be named L and R, got 'M'"),
        (_rule("subgraph L { } subgraph R { a; }"), r"rule grow: subgraph L is empty"),
        (
            START + _rule("subgraph L {\n a [legth=1]; } subgraph R { a; }"),
            r"line 7, rule grow: .*did you mean 'length'",
        ),
        (_rule("subgraph L {\n a [length=x]; } subgraph R { a; }"), r"line 3, .*length: expected a number, got 'x'"),
        (_rule("subgraph L { a [length=0]; } subgraph R { a; }"), r"length: expected a number above 0, got '0'"),
        (
            _rule("subgraph L { a [shape=ball]; } subgraph R { a; }"),
            r"expected none or capsule or cylinder, got 'ball'",
        ),
        (_rule("subgraph L { a; } subgraph R { a -> b [mirror=1]; }"), r"mirror: expected true or false, got '1'"),
        (_rule("subgraph L { a; } subgraph R { a -> b [type=free]; }"), r"expected none or hinge or fixed, got 'free'"),
        (_rule('subgraph L { a; } subgraph R { a -> b [joint_axis="0 1"]; }'), r"expected 3 numbers with spaces"),
        (_rule('subgraph L { a; } subgraph R { a -> b [joint_axis="0 0 0"]; }'), r"the axis must not be zero"),
        (_rule('subgraph L { a; } subgraph R { a -> b [joint_axis="0 0 nan"]; }'), r"expected 3 numbers"),
        (_rule("subgraph L { a; } subgraph R { a -> b [shape=capsule]; }"), r"an edge has no attribute 'shape'"),
        (
            _rule("subgraph L { a -> b [id=e]; a -> c [id=e]; } subgraph R { a; }"),
            r"edge id 'e' is used more than once",
        ),
        (_rule("a;"), r"line 2, rule grow: a rule holds only"),
        (_rule("subgraph L { node [length=1]; } subgraph R { a; }"), r"`node` is not supported"),
        (_rule("subgraph L { a -- b; } subgraph R { a; }"), r"cannot read '-- b"),
        ("digraph grow {\n subgraph L { a [length 1", r"line 2, rule grow: expected `=`, got '1'"),
        ("digraph grow { subgraph L { a; }", r"got 'end of file'"),
        ("graph grow { }", r"line 1: expected `digraph`, got 'graph'"),
    ],
)
def test_error_in_a_file_names_source_line_and_rule(text, message):
    with pytest.raises(GrammarFileError, match=message):
        read_rules(text, "f")


def test_binary_file_is_a_clear_error(tmp_path):
    path = tmp_path / "mine.dot"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GrammarFileError, match="not a text file"):
        load_grammar(str(path))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_file_is_read_or_refused_but_never_crashes(data):
    text = load_grammar("apr30").text
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    damaged = text[:start] + data.draw(st.text(alphabet='{}[]=;"->/* ab01.\n', max_size=5)) + text[start + length :]
    try:
        assert read_rules(damaged, "f")
    except GrammarFileError as error:
        assert str(error).startswith("f")
