"""The finished graphs of the apr30 grammar: from the parts of a robot to its graph, and back.

All attributes are taken from the grammar's rules, none is written here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import networkx as nx

from robogrammar_env.errors import DesignSyntaxError
from robogrammar_env.grammar import load_grammar
from robogrammar_env.rule import ordered_edges, root_of

SPINE_JOINTS = {
    "fixed": "make_fixed_body_joint",
    "roll": "make_roll_body_joint",
    "swing": "make_swing_body_joint",
    "lift": "make_lift_body_joint",
}
"""Kinds of joint between torso segments, and the rule that makes each."""

LIMB_JOINTS = {
    "left_roll": "make_left_roll_limb_joint",
    "right_roll": "make_right_roll_limb_joint",
    "swing": "make_swing_limb_joint",
    "acute_lift": "make_acute_lift_limb_joint",
    "obtuse_lift": "make_obtuse_lift_limb_joint",
    "backwards_lift": "make_backwards_lift_limb_joint",
}
"""Kinds of joint at the start of a leg link, and the rule that makes each."""

LIMB_LENGTHS = {False: "make_normal_limb_link", True: "make_long_limb_link"}
"""The rule that makes a leg link of normal or long length."""

Leg = list[tuple[str, bool]]
"""Links of a leg from the torso outwards: kind of joint, and whether the link is long."""

_UNSEEN = ("label", "require_label", "id", "color")  # attributes that do not make a robot different


def apr30_graph(legs: Sequence[Leg], spine: Sequence[str]) -> nx.MultiDiGraph:
    """Makes the finished graph of a robot, in the order of nodes and edges that its canonical rules give.

    Args:
        legs: for each torso segment, nose first, its leg; empty without.
        spine: kind of the joint after each segment but the last.
    """
    graph = nx.MultiDiGraph()
    for index, leg in enumerate(legs):
        graph.add_node(f"torso_{index}", **_leg_parts()[0])
        if index:
            _connect(graph, f"torso_{index - 1}", f"torso_{index}", SPINE_JOINTS[spine[index - 1]])
        if leg:
            _add_leg(graph, index, leg)
    return graph


def _add_leg(graph: nx.MultiDiGraph, index: int, leg: Leg) -> None:
    _, mount, mount_edges = _leg_parts()
    parent = f"mount_{index}"
    graph.add_node(parent, **mount)
    for data in mount_edges:
        graph.add_edge(f"torso_{index}", parent, key=graph.number_of_edges(), **data)
    for depth, (joint, long) in enumerate(leg, start=1):
        node = f"limb_{index}_{depth}"
        graph.add_node(node, **_right_side(LIMB_LENGTHS[long])[0])
        _connect(graph, parent, node, LIMB_JOINTS[joint])
        parent = node


def read_apr30_graph(graph: nx.MultiDiGraph) -> tuple[list[Leg], list[str]]:
    """Reads legs and spine, as `apr30_graph` takes them, off a finished graph.

    Raises:
        DesignSyntaxError: it is no robot of the apr30 grammar.
    """
    return _GraphReader(graph).read()


@cache
def _right_side(rule: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes of the (first) node and of the (first) edge that an apr30 rule makes."""
    graph = load_grammar("apr30").rule(rule).rhs
    nodes, edges = list(graph.nodes.values()), ordered_edges(graph)
    return _seen(nodes[0]), _seen(edges[0][3]) if edges else {}


@cache
def _leg_parts() -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Attributes of torso segment and mount, and of the two edges between them, from the rule that makes them."""
    graph = load_grammar("apr30").rule("make_body_with_legs").rhs
    edges = ordered_edges(graph)
    body, mount = edges[0][:2]
    between = [_seen(data) for tail, head, _, data in edges if (tail, head) == (body, mount)]
    return _seen(graph.nodes[body]), _seen(graph.nodes[mount]), between


def _seen(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in _UNSEEN}


def _connect(graph: nx.MultiDiGraph, parent: str, child: str, rule: str) -> None:
    graph.add_edge(parent, child, key=graph.number_of_edges(), **_right_side(rule)[1])


class _GraphReader:
    """Walks a finished graph from nose to tail."""

    def __init__(self, graph: nx.MultiDiGraph) -> None:
        self._graph = graph
        self._left = set(graph)

    def read(self) -> tuple[list[Leg], list[str]]:
        segments: list[Leg] = []
        spine: list[str] = []
        node: str | None = root_of(self._graph)
        while node is not None:
            self._take(node, [_leg_parts()[0]], "torso segment")
            leg, joint, node = self._leave_segment(node)
            segments.append(leg)
            spine += [joint] if joint else []
        if self._left:
            raise self._error(f"parts that hang nowhere: {', '.join(sorted(self._left))}")
        return segments, spine

    def _leave_segment(self, node: str) -> tuple[Leg, str, str | None]:
        """Returns a segment's leg, the joint behind it, and the next segment."""
        _, _, mount_edges = _leg_parts()
        edges = [(head, _seen(data)) for _, head, data in self._graph.out_edges(node, data=True)]
        mounts = [head for head, data in edges if data in mount_edges]
        rest = [(head, data) for head, data in edges if data not in mount_edges]
        if len(mounts) not in (0, 2) or len(set(mounts)) > 1 or len(rest) > 1:
            raise self._error(
                f"torso segment {node} has neither no leg nor one mirrored pair, or two segments behind it"
            )
        leg = self._leg(mounts[0]) if mounts else []
        if not rest:
            return leg, "", None
        return leg, self._kind(rest[0][1], SPINE_JOINTS, "spine joint"), rest[0][0]

    def _leg(self, mount: str) -> Leg:
        self._take(mount, [_leg_parts()[1]], "mount")
        links: Leg = []
        node = mount
        while edges := list(self._graph.out_edges(node, data=True)):
            if len(edges) > 1:
                raise self._error(f"leg part {node} branches")
            _, node, data = edges[0]
            joint = self._kind(_seen(data), LIMB_JOINTS, "limb joint")
            lengths = [_right_side(rule)[0] for rule in LIMB_LENGTHS.values()]
            links.append((joint, bool(self._take(node, lengths, "leg link"))))
        if not links:
            raise self._error(f"the leg at {mount} has no links")
        return links

    def _take(self, node: str, shapes: list[dict[str, Any]], what: str) -> int:
        """Marks a node as read; returns which of the shapes that are allowed here it has."""
        data = _seen(self._graph.nodes[node])
        if data not in shapes or node not in self._left:
            raise self._error(f"{node} is no {what}")
        self._left.remove(node)
        return shapes.index(data)

    def _kind(self, data: dict[str, Any], kinds: dict[str, str], what: str) -> str:
        for kind, rule in kinds.items():
            if _right_side(rule)[1] == data:
                return kind
        raise self._error(f"no {what} has the attributes {data}")

    @staticmethod
    def _error(problem: str) -> DesignSyntaxError:
        return DesignSyntaxError(f"the graph is no robot of the apr30 grammar: {problem}")
