"""RoboGrammar's graph grammar: rules from a DOT file, matching and rewriting on networkx graphs.

A graph is a `networkx.MultiDiGraph`. Nodes and edges carry only attributes that differ from `NODE_DEFAULTS` and
`EDGE_DEFAULTS` (read them with `node_attribute` and `edge_attribute`). The order of nodes is networkx' own; the order of
edges is that of their integer keys, which count over the whole graph. Both orders decide which match comes first.
"""

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx

from robogrammar_env.dot import Digraph, Statement, Token, read_digraphs
from robogrammar_env.errors import (
    DesignSyntaxError,
    DesignTooLargeError,
    GrammarFileError,
    RuleNotApplicableError,
    UnfinishedDesignError,
    UnknownRuleError,
    nearest,
    unknown_name,
)

MAX_RULES = 40
"""Most rule applications in one derivation (RoboGrammar's `--depth 40`)."""

NODE_DEFAULTS: dict[str, Any] = {
    "label": "",
    "require_label": "",
    "shape": "none",
    "length": 1.0,  # m
    "radius": 0.05,  # m
    "density": 1.0,  # kg per metre of length
    "friction": 0.9,
    "base": False,
    "color": (0.45, 0.5, 0.55),
}
EDGE_DEFAULTS: dict[str, Any] = {
    "id": "",
    "label": "",
    "require_label": "",
    "type": "none",
    "offset": 1.0,  # place on the parent, 0 = start, 1 = end
    "axis_angle": (0.0, 0.0, 1.0, 0.0),  # x y z degrees
    "joint_axis": (0.0, 0.0, 1.0),
    "kp": 0.01,
    "kd": 0.5,
    "torque": 1.0,  # N m
    "limits": (0.0, 0.0),  # degrees; RoboGrammar reads them and has no joint limits
    "control_mode": "position",
    "scale": 1.0,  # RoboGrammar carries it along and never applies it
    "mirror": False,
    "color": (1.0, 0.5, 0.3),
}
_CHOICES = {
    "shape": ("none", "capsule", "cylinder"),
    "type": ("none", "free", "hinge", "fixed"),
    "control_mode": ("position", "velocity"),
}
_POSITIVE = ("length", "radius", "density")
_FOLDER = Path(__file__).parent / "grammars"

GRAMMARS = ("apr30", "apr30_asym", "apr30_wheel")
"""Names of the grammars that come with the package."""


def node_attribute(graph: nx.MultiDiGraph, node: str, name: str) -> Any:
    """Returns an attribute of a node, or its default."""
    return graph.nodes[node].get(name, NODE_DEFAULTS[name])


def edge_attribute(attributes: dict[str, Any], name: str) -> Any:
    """Returns an attribute of an edge's attribute dictionary, or its default."""
    return attributes.get(name, EDGE_DEFAULTS[name])


def ordered_edges(graph: nx.MultiDiGraph) -> list[tuple[str, str, int, dict[str, Any]]]:
    """Returns (tail, head, key, attributes) of all edges in the graph's edge order."""
    return sorted(graph.edges(keys=True, data=True), key=lambda edge: edge[2])


def root_of(graph: nx.MultiDiGraph) -> str:
    """Returns the node of the base link: one marked `base`, else the first node followed backwards along its edges.

    Raises:
        DesignSyntaxError: the graph has no nodes, or runs in a circle.
    """
    bases = [node for node, data in graph.nodes(data=True) if data.get("base")]
    node = bases[0] if bases else next(iter(graph), None)
    visited = set()
    while not bases and node not in visited and (incoming := _incoming(graph, node)):
        visited.add(node)
        node = incoming[0]
    if node is None or node in visited:
        raise DesignSyntaxError("a robot's graph needs a first node, and must not run in a circle")
    return node


def _incoming(graph: nx.MultiDiGraph, node: str | None) -> list[str]:
    return [tail for tail, head, _, _ in ordered_edges(graph) if head == node]


def is_finished(graph: nx.MultiDiGraph) -> bool:
    """Whether every node has a shape and every edge a joint type; labels do not matter."""
    return not unfinished_parts(graph)


def unfinished_parts(graph: nx.MultiDiGraph) -> list[str]:
    """Returns what is no robot part yet: labels of shapeless nodes and of untyped edges, in order, for people."""
    nodes = [data.get("label") or str(node) for node, data in graph.nodes(data=True) if "shape" not in data]
    edges = [data.get("label") or f"{u}->{v}" for u, v, _, data in ordered_edges(graph) if "type" not in data]
    return nodes + edges


@dataclass(frozen=True, eq=False)
class Rule:
    """One rewriting rule.

    Attributes:
        number: position in the file, from 0; what rule sequences are made of.
        name: the digraph's name.
        lhs: what to look for.
        rhs: what takes its place; a node of the same name in both is kept.
        line: where the rule begins in its file.
    """

    number: int
    name: str
    lhs: nx.MultiDiGraph
    rhs: nx.MultiDiGraph
    line: int

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def kept_nodes(self) -> list[str]:
        """Nodes of both sides, in file order."""
        return [node for node in self.lhs if node in self.rhs]

    def first_match(self, graph: nx.MultiDiGraph) -> dict[str, str] | None:
        """Returns the first applicable match (rule node -> graph node), the only one RoboGrammar ever uses."""
        applicable = (match for match in _matches(self.lhs, graph) if self._leaves_nothing_dangling(graph, match))
        return next(applicable, None)

    def _leaves_nothing_dangling(self, graph: nx.MultiDiGraph, match: dict[str, str]) -> bool:
        removed = {match[node] for node in self.lhs if node not in self.rhs}
        matched = {key for keys in self._matched_edges(graph, match).values() for key in keys}
        return all(key in matched for u, v, key in graph.edges(keys=True) if u in removed or v in removed)

    def _matched_edges(self, graph: nx.MultiDiGraph, match: dict[str, str]) -> dict[int, list[int]]:
        """Maps each edge of the left side to all graph edges it stands for, parallel ones included."""
        return {
            key: _edges_between(graph, match[tail], match[head], data.get("require_label", ""))
            for tail, head, key, data in ordered_edges(self.lhs)
        }

    def apply(self, graph: nx.MultiDiGraph, match: dict[str, str]) -> nx.MultiDiGraph:
        """Rewrites a copy of `graph` at `match`.

        Order of the result: nodes outside the match, kept nodes (they move to the end), new nodes; edges outside the
        match, edges kept by a shared id (re-attached as on the right side), new edges.
        """
        result = nx.MultiDiGraph(**graph.graph)
        matched = set(match.values())
        result.add_nodes_from((node, dict(data)) for node, data in graph.nodes(data=True) if node not in matched)
        names = self._add_rule_nodes(result, graph, match)
        self._add_edges(result, graph, match, names)
        return result

    def _add_rule_nodes(self, result: nx.MultiDiGraph, graph: nx.MultiDiGraph, match: dict[str, str]) -> dict[str, str]:
        """Adds kept and new nodes; returns where each node of the right side is in the result."""
        names = {}
        for node in self.kept_nodes:
            names[node] = match[node]
            result.add_node(match[node], **_rewritten(graph.nodes[match[node]], self.lhs.nodes[node]))
        for node, data in self.rhs.nodes(data=True):
            if node not in names:
                names[node] = f"{node}_{next(_free_numbers(result, node))}"
                result.add_node(names[node], **data)
        return names

    def _add_edges(
        self, result: nx.MultiDiGraph, graph: nx.MultiDiGraph, match: dict[str, str], names: dict[str, str]
    ) -> None:
        matched = self._matched_edges(graph, match)
        gone = {key for keys in matched.values() for key in keys}
        attributes = {key: data for _, _, key, data in graph.edges(keys=True, data=True)}
        kept_by_id = {data["id"]: matched[key] for _, _, key, data in ordered_edges(self.lhs) if "id" in data}
        edges = [(u, v, data) for u, v, key, data in ordered_edges(graph) if key not in gone]
        right = [(names[u], names[v], data) for u, v, _, data in ordered_edges(self.rhs)]
        for u, v, data in right:
            edges += [(u, v, attributes[key]) for key in kept_by_id.get(data.get("id"), [])]
        edges += [edge for edge in right if edge[2].get("id") not in kept_by_id]
        for key, (u, v, data) in enumerate(edges):
            result.add_edge(u, v, key=key, **{name: value for name, value in data.items() if name != "id"})


def _rewritten(old: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a kept node: what the rule says overwrites, unless it says a default, which is not stored."""
    new = {**old, **rule}
    if "require_label" in new:
        del new["require_label"]
        new.pop("label", None)
        new.update({"label": rule["label"]} if "label" in rule else {})
    return new


def _free_numbers(graph: nx.MultiDiGraph, name: str) -> Iterator[int]:
    return (number for number in itertools.count(1) if f"{name}_{number}" not in graph)


def _edges_between(graph: nx.MultiDiGraph, tail: str, head: str, label: str) -> list[int]:
    edges = graph.get_edge_data(tail, head, default={})
    return sorted(key for key, data in edges.items() if not label or data.get("label") == label)


def _matches(pattern: nx.MultiDiGraph, graph: nx.MultiDiGraph) -> Iterator[dict[str, str]]:
    """Yields all injective maps of the pattern into the graph, depth first in node order."""
    nodes = list(pattern)

    def extend(mapping: dict[str, str]) -> Iterator[dict[str, str]]:
        if len(mapping) == len(nodes):
            yield dict(mapping)
            return
        node = nodes[len(mapping)]
        for candidate in graph:
            if candidate not in mapping.values() and _fits(pattern, graph, {**mapping, node: candidate}, node):
                yield from extend({**mapping, node: candidate})

    return extend({})


def _fits(pattern: nx.MultiDiGraph, graph: nx.MultiDiGraph, mapping: dict[str, str], node: str) -> bool:
    """Whether `node` has its required label, and its edges to nodes mapped so far exist in the graph."""
    required = pattern.nodes[node].get("require_label", "")
    if required and graph.nodes[mapping[node]].get("label") != required:
        return False
    edges = itertools.chain(pattern.in_edges(node, data=True), pattern.out_edges(node, data=True))
    return all(
        _edges_between(graph, mapping[tail], mapping[head], data.get("require_label", ""))
        for tail, head, data in edges
        if tail in mapping and head in mapping
    )


@dataclass(frozen=True)
class Grammar:
    """A list of rules; two grammars are equal if name and text are.

    Attributes:
        name: "apr30", or the path of a user's own file.
        text: the DOT source.
        rules: in file order, so that `rules[n]` is rule number n.
    """

    name: str
    text: str = field(repr=False)
    rules: tuple[Rule, ...] = field(compare=False, repr=False)

    def rule(self, which: int | str) -> Rule:
        """Returns a rule by number or name.

        Raises:
            UnknownRuleError: there is no such rule; the message lists what there is.
        """
        if isinstance(which, str) and not which.isdigit():
            named = [rule for rule in self.rules if rule.name == which]
            if not named:
                hint = nearest(which, [rule.name for rule in self.rules])
                raise UnknownRuleError(f"grammar {self.name} has no rule named {which!r}{hint}")
            return named[0]
        try:
            number = int(which) if isinstance(which, str) else operator.index(which)
        except TypeError:
            raise UnknownRuleError(f"a rule is a number or a name, got {which!r}") from None
        if not 0 <= number < len(self.rules):
            raise UnknownRuleError(f"grammar {self.name} has rules 0 to {len(self.rules) - 1}, got {number}")
        return self.rules[number]

    def start(self) -> nx.MultiDiGraph:
        """Returns the initial graph: one node labelled `robot`."""
        graph = nx.MultiDiGraph()
        graph.add_node("robot", label="robot")
        return graph

    def applicable(self, graph: nx.MultiDiGraph) -> list[Rule]:
        """Returns the rules that have an applicable match in `graph`."""
        return [rule for rule in self.rules if rule.first_match(graph) is not None]

    def apply(self, graph: nx.MultiDiGraph, which: int | str, *, step: int = 1) -> nx.MultiDiGraph:
        """Applies a rule at its first match.

        Args:
            graph: the graph before; it is left as it is.
            which: number or name of the rule.
            step: place of this rule in its sequence, from 1, for the error message.

        Returns:
            The graph after.

        Raises:
            UnknownRuleError: there is no such rule.
            RuleNotApplicableError: it has no match; the message lists the rules that have.
        """
        try:
            rule = self.rule(which)
        except UnknownRuleError as error:
            raise UnknownRuleError(f"step {step}: {error}") from None
        match = rule.first_match(graph)
        if match is None:
            options = ", ".join(map(str, self.applicable(graph))) or "none, the robot is finished"
            raise RuleNotApplicableError(f"step {step}: rule {rule} does not apply; applicable rules: {options}")
        return rule.apply(graph, match)

    def derive(self, rules: Sequence[int | str]) -> Iterator[nx.MultiDiGraph]:
        """Yields the graph after each rule of a sequence; raises as `apply` does."""
        graph = self.start()
        for step, which in enumerate(rules, start=1):
            if step > MAX_RULES:
                raise DesignTooLargeError(f"a derivation has at most {MAX_RULES} rules, got {len(rules)}")
            graph = self.apply(graph, which, step=step)
            yield graph

    def replay(self, rules: Sequence[int | str]) -> nx.MultiDiGraph:
        """Returns the robot graph that a complete rule sequence makes.

        Raises:
            UnknownRuleError, RuleNotApplicableError: a step cannot be done.
            DesignTooLargeError: there are more than `MAX_RULES` rules.
            UnfinishedDesignError: the sequence ends too early; the message says what is left and what could come next.
        """
        graph = self.start()
        for graph in self.derive(rules):
            pass
        self.check_finished(graph)
        return graph

    def check_finished(self, graph: nx.MultiDiGraph) -> None:
        """Raises UnfinishedDesignError if a graph still has symbols that are no robot parts."""
        parts = unfinished_parts(graph)
        if parts:
            options = ", ".join(map(str, self.applicable(graph))) or "none"
            raise UnfinishedDesignError(
                f"the design is not finished: left are {', '.join(parts)}; applicable rules: {options}"
            )


@cache
def load_grammar(name_or_path: str = "apr30") -> Grammar:
    """Loads a grammar of this package by name, or a user's own DOT file in RoboGrammar's format.

    Raises:
        UnknownNameError: neither a known name nor an existing file.
        GrammarFileError: the file has an error; the message names file, line and rule.
    """
    path = _FOLDER / f"{name_or_path}.dot" if name_or_path in GRAMMARS else Path(name_or_path)
    if not path.is_file():
        raise unknown_name("grammar (or file)", name_or_path, GRAMMARS)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GrammarFileError(f"{path.name}: not a text file ({error.reason} at byte {error.start})") from None
    return parse_grammar(text, name_or_path)


def parse_grammar(text: str, name: str) -> Grammar:
    """Makes a grammar from DOT text; `name` is used in error messages and in designs' text."""
    digraphs = read_digraphs(text, name)
    if not digraphs:
        raise GrammarFileError(
            f"{name}: no rules (a rule is `digraph NAME {{ subgraph L {{...}} subgraph R {{...}} }}`)"
        )
    return Grammar(name, text, tuple(_RuleReader(name, graph).rule(number) for number, graph in enumerate(digraphs)))


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
