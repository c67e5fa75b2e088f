"""Reads the rules of a grammar file in RoboGrammar's format, or says what is wrong with it, in which rule and line."""

from typing import Any

import networkx as nx

from robogrammar_env.dot import Digraph, Statement, Token, read_digraphs
from robogrammar_env.errors import GrammarFileError, nearest
from robogrammar_env.rule import EDGE_DEFAULTS, NODE_DEFAULTS, Rule

_CHOICES = {
    "shape": ("none", "capsule", "cylinder"),
    "type": ("none", "hinge", "fixed"),  # free, as RoboGrammar knows it too, is the base alone
    "control_mode": ("position", "velocity"),
}
_POSITIVE = ("length", "radius", "density")


def read_rules(text: str, source: str) -> tuple[Rule, ...]:
    """Reads the rules of a grammar.

    Args:
        text: DOT source, one digraph per rule.
        source: name of the grammar or file for error messages.

    Returns:
        The rules in file order.

    Raises:
        GrammarFileError: the text has an error; the message names source, line and rule.
    """
    digraphs = read_digraphs(text, source)
    if not digraphs:
        raise GrammarFileError(f"{source}: no rules, each `digraph NAME {{ subgraph L {{...}} subgraph R {{...}} }}`")
    return tuple(_RuleReader(source, graph).rule(number) for number, graph in enumerate(digraphs))


class _RuleReader:
    """Turns one digraph into a rule, or says what is wrong with it and where."""

    def __init__(self, source: str, digraph: Digraph) -> None:
        self._source = source
        self._digraph = digraph

    def rule(self, number: int) -> Rule:
        for side in self._digraph.sides:
            if side not in ("L", "R"):
                raise self._error(self._digraph.line, f"subgraphs must be named L and R, got {side!r}")
        for side in ("L", "R"):
            if side not in self._digraph.sides:
                raise self._error(self._digraph.line, f"subgraph {side} is missing")
        attributes = self._node_attributes()
        lhs, rhs = self._side("L", attributes), self._side("R", attributes)
        if not lhs:
            raise self._error(self._digraph.line, "subgraph L is empty")
        return Rule(number, self._digraph.name, lhs, rhs, self._digraph.line)

    def _node_attributes(self) -> dict[str, dict[str, Any]]:
        """Attributes of each node from both sides, nodes in file order; later statements win."""
        found: dict[str, dict[str, Any]] = {}
        for statement in self._digraph.statements:
            for name in statement.names:
                found.setdefault(name, {})
            if len(statement.names) == 1:
                found[statement.names[0]].update(self._values(statement, NODE_DEFAULTS))
        return {node: _without_defaults(data, NODE_DEFAULTS) for node, data in found.items()}

    def _side(self, side: str, attributes: dict[str, dict[str, Any]]) -> nx.MultiDiGraph:
        statements = [statement for statement in self._digraph.statements if statement.side == side]
        present = {name for statement in statements for name in statement.names}
        graph = nx.MultiDiGraph()
        graph.add_nodes_from((node, dict(data)) for node, data in attributes.items() if node in present)
        ids: set[str] = set()
        for key, statement in enumerate(s for s in statements if len(s.names) == 2):
            data = _without_defaults(self._values(statement, EDGE_DEFAULTS), EDGE_DEFAULTS)
            if data.get("id") in ids:
                raise self._error(statement.line, f"edge id {data['id']!r} is used more than once in {side}")
            ids.update([data["id"]] if "id" in data else [])
            graph.add_edge(*statement.names, key=key, **data)
        return graph

    def _values(self, statement: Statement, defaults: dict[str, Any]) -> dict[str, Any]:
        return {name: self._value(name, token, defaults) for name, token in statement.attributes.items()}

    def _value(self, name: str, token: Token, defaults: dict[str, Any]) -> Any:
        if name not in defaults:
            what = "a node" if defaults is NODE_DEFAULTS else "an edge"
            hint = nearest(name, defaults)
            raise self._error(token.line, f"{what} has no attribute {name!r}{hint} (known: {', '.join(defaults)})")
        try:
            return _parsed(name, token.text, defaults[name])
        except ValueError as error:
            raise self._error(token.line, f"{name}: {error}, got {token.text!r}") from None

    def _error(self, line: int, problem: str) -> GrammarFileError:
        return GrammarFileError(f"{self._source}, line {line}, rule {self._digraph.name}: {problem}")


def _without_defaults(data: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value != defaults[name]}


def _parsed(name: str, text: str, default: Any) -> Any:
    """Converts attribute text to the type of its default; raises ValueError with what was expected."""
    if name in _CHOICES:
        return _one_of(text, _CHOICES[name])
    if isinstance(default, bool):
        return _one_of(text, ("true", "false")) == "true"
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return _numbers(name, text, len(default))
    (value,) = _numbers(name, text, 1)
    if name in _POSITIVE and value <= 0:
        raise ValueError("expected a number above 0")
    return value


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    if text.lower() not in choices:
        raise ValueError(f"expected {' or '.join(choices)}")
    return text.lower()


def _numbers(name: str, text: str, count: int) -> tuple[float, ...]:
    expected = "a number" if count == 1 else f"{count} numbers with spaces between"
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        raise ValueError(f"expected {expected}") from None
    if len(values) != count or not all(abs(value) < float("inf") for value in values):
        raise ValueError(f"expected {expected}")
    if name in ("axis_angle", "joint_axis") and not any(values[:3]):
        raise ValueError("the axis must not be zero")
    return values
