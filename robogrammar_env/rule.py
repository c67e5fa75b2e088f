"""Graphs of robots, and rewriting them by rules, in the way of RoboGrammar.

A graph is a `networkx.MultiDiGraph`. Nodes and edges carry only attributes that differ from `NODE_DEFAULTS` and
`EDGE_DEFAULTS` (read them with `node_attribute` and `edge_attribute`). The order of nodes is networkx' own; the order
of edges is that of their integer keys, which count over the whole graph. Both orders decide which match comes first.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx

from robogrammar_env.errors import DesignSyntaxError

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
        for candidate in _candidates(pattern, graph, mapping, node):
            extended = {**mapping, node: candidate}
            if candidate not in mapping.values() and _edges_exist(pattern, graph, extended, node):
                yield from extend(extended)

    return extend({})


def _candidates(pattern: nx.MultiDiGraph, graph: nx.MultiDiGraph, mapping: dict[str, str], node: str) -> list[str]:
    """Graph nodes, in order, that have the label `node` requires and are next to its neighbours mapped so far."""
    required = pattern.nodes[node].get("require_label", "")
    found = [other for other, data in graph.nodes(data=True) if not required or data.get("label") == required]
    for tail in pattern.predecessors(node):
        if tail in mapping:
            found = [other for other in found if graph.has_edge(mapping[tail], other)]
    for head in pattern.successors(node):
        if head in mapping:
            found = [other for other in found if graph.has_edge(other, mapping[head])]
        else:
            found = [other for other in found if graph.adj[other]]
    return found


def _edges_exist(pattern: nx.MultiDiGraph, graph: nx.MultiDiGraph, mapping: dict[str, str], node: str) -> bool:
    """Whether the edges between `node` and the nodes that are mapped so far are in the graph."""
    edges = itertools.chain(pattern.in_edges(node, data=True), pattern.out_edges(node, data=True))
    return all(
        _edges_between(graph, mapping[tail], mapping[head], data.get("require_label", ""))
        for tail, head, data in edges
        if tail in mapping and head in mapping
    )
