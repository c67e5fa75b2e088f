"""From a robot's graph to its model: unfolding, mirroring, masses, names, and the check for overlap at rest.

All of it follows RoboGrammar's core (`buildRobot`, `build_normalized_robot`, `presimulate`); the frames are those of
`robot_model.py`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import networkx as nx
import numpy as np

from robogrammar_env.collision import overlapping_pairs
from robogrammar_env.errors import DesignSyntaxError, NoJointsError, SelfCollisionError, UnfinishedDesignError
from robogrammar_env.robot_model import BASE_ROTATION, Joint, Link, Quaternion, RobotModel, Vector
from robogrammar_env.rule import edge_attribute, node_attribute, ordered_edges, root_of, unfinished_parts

__all__ = [
    "BASE_ROTATION",
    "Joint",
    "Link",
    "RobotModel",
    "build_robot",
    "check_robot",
    "colliding_links",
    "self_collides",
]

TORSO_RADIUS_M = 0.045
"""Links of this radius are torso."""
TORSO_MASS_KG = 0.45
"""Mass of the whole torso, however many segments it has (RoboGrammar's `build_normalized_robot`)."""
# Hinges by the grammar's own (axis, axis_angle), both in RoboGrammar's frame; x is roll, y swing, z lift.
_HINGE_KINDS = {
    ((1, 0, 0), None): "roll",
    ((0, 1, 0), None): "swing",
    ((0, 0, 1), None): "lift",
    ((1, 0, 0), (0, 1, 0, -90)): "left_roll",
    ((1, 0, 0), (0, 1, 0, 90)): "right_roll",
    ((0, 0, 1), (0, 0, 1, 120)): "acute_lift",
    ((0, 0, 1), (0, 0, 1, 60)): "obtuse_lift",
    ((0, 0, 1), (0, 0, 1, -60)): "backwards_lift",
}


class HasGraph(Protocol):
    """Whatever has a finished robot graph, such as a design."""

    def graph(self) -> nx.MultiDiGraph:
        """Returns the graph."""


def build_robot(source: HasGraph | nx.MultiDiGraph) -> RobotModel:
    """Builds the robot of a design or of a finished graph.

    Links are created breadth first for every path from the root, so that two edges to one mount make two legs.

    Raises:
        UnfinishedDesignError: the graph has parts without shape or joint type.
        DesignSyntaxError: the graph is not one tree of links, or has a free joint.
    """
    graph = source if isinstance(source, nx.MultiDiGraph) else source.graph()
    if parts := unfinished_parts(graph):
        raise UnfinishedDesignError(f"the graph is not finished: left are {', '.join(parts)}")
    if not graph:
        raise DesignSyntaxError("the graph is empty")
    if not nx.is_directed_acyclic_graph(graph):
        circle = " -> ".join(str(edge[0]) for edge in nx.find_cycle(graph))
        raise DesignSyntaxError(f"the graph runs in a circle: {circle}")
    if not nx.is_weakly_connected(graph):
        pieces = [", ".join(sorted(map(str, part))) for part in nx.weakly_connected_components(graph)]
        raise DesignSyntaxError(f"the graph has parts that hang on nothing: {'; '.join(pieces)}")
    return _with_sides(_normalised(_TreeBuilder(graph).links()))


def self_collides(robot: RobotModel) -> bool:
    """Whether two links overlap at rest; see `colliding_links`."""
    return bool(colliding_links(robot))


def colliding_links(robot: RobotModel) -> list[tuple[str, str]]:
    """Returns the names of the links that overlap at rest, in pairs.

    Left out as in RoboGrammar: a link and its parent, and links that are rigidly fixed to each other.
    """
    positions, rotations = robot.rest_pose()
    parents, groups = np.array([link.parent for link in robot.links]), np.array(robot.rigid_groups)
    first, second = np.triu_indices(len(robot.links), k=1)
    checked = (parents[second] != first) & (groups[first] != groups[second])
    pairs = np.stack([first[checked], second[checked]], axis=1)
    cylinders = np.array([link.shape == "cylinder" for link in robot.links])
    found = overlapping_pairs(pairs, positions, rotations[..., 0], robot.lengths_m, robot.radii_m, cylinders)
    return [(robot.links[i].name, robot.links[j].name) for i, j in found]


def check_robot(robot: RobotModel) -> None:
    """Raises if a robot is not fit to be trained.

    Raises:
        NoJointsError: nothing on it can move.
        SelfCollisionError: two of its links overlap at rest; the message names them.
    """
    if not robot.num_joints:
        raise NoJointsError(f"the robot ({len(robot.links)} links) has no joint; give it a leg or a moving spine joint")
    if pairs := colliding_links(robot):
        names = ", ".join(f"{a} with {b}" for a, b in pairs)
        raise SelfCollisionError(f"the robot collides with itself at rest: {names}")


class _TreeBuilder:
    """Unfolds a graph into links, breadth first (RoboGrammar's `buildRobot`)."""

    def __init__(self, graph: nx.MultiDiGraph) -> None:
        self._graph = graph
        self._outgoing: dict[str, list[tuple[str, dict[str, Any]]]] = {node: [] for node in graph}
        for tail, head, _, data in ordered_edges(graph):
            self._outgoing[tail].append((head, data))

    def links(self) -> list[Link]:
        links: list[Link] = []
        waiting: deque[tuple[str, int, dict[str, Any] | None, bool]] = deque([(root_of(self._graph), -1, None, False)])
        while waiting:
            node, parent, edge, mirrored = waiting.popleft()
            links.append(self._link(links, node, parent, edge, mirrored))
            for head, data in self._outgoing[node]:
                waiting.append((head, len(links) - 1, data, mirrored != edge_attribute(data, "mirror")))
        return links

    def _link(self, links: list[Link], node: str, parent: int, edge: dict[str, Any] | None, mirrored: bool) -> Link:
        length_m, radius_m = (node_attribute(self._graph, node, name) for name in ("length", "radius"))
        shape = node_attribute(self._graph, node, "shape")
        above = links[parent] if edge is not None else None
        joint = _joint(edge, above.length_m, mirrored) if edge is not None and above is not None else None
        kind = _link_kind(shape, radius_m, joint, above)
        return Link(
            name=str(node),
            parent=parent,
            kind=kind,
            shape=shape,
            length_m=length_m,
            radius_m=radius_m,
            mass_kg=length_m * node_attribute(self._graph, node, "density"),
            friction=node_attribute(self._graph, node, "friction"),
            joint=joint,
            mirrored=mirrored,
            segment=_segment(kind, above, links),
            depth=0 if kind in ("torso", "mount") or above is None else above.depth + 1,
        )


def _link_kind(shape: str, radius_m: float, joint: Joint | None, above: Link | None) -> str:
    if joint is None or above is None or _is_torso(radius_m):
        return "torso"
    if shape == "cylinder":
        return "wheel"
    return "mount" if above.kind == "torso" and not joint.hinge else "limb"


def _segment(kind: str, above: Link | None, links: Sequence[Link]) -> int:
    if above is None:
        return 0
    return sum(link.kind == "torso" for link in links) if kind == "torso" else above.segment


def _is_torso(radius_m: float) -> bool:
    return abs(radius_m - TORSO_RADIUS_M) < 1e-3


def _joint(edge: dict[str, Any], parent_length_m: float, mirrored: bool) -> Joint:
    """Joint of a graph edge, with the child turned by the INVERSE of `axis_angle`, as Bullet reads it."""
    joint_type = edge_attribute(edge, "type")
    if joint_type == "free":
        raise DesignSyntaxError("only the base floats freely; a joint has type free, use hinge or fixed")
    x, y, z, degrees = edge_attribute(edge, "axis_angle")
    rotation = _axis_quaternion((x, y, z), -np.radians(degrees))
    axis = np.array(edge_attribute(edge, "joint_axis"), dtype=float)
    flip = -1.0 if mirrored else 1.0
    return Joint(
        kind=_joint_kind(edge),
        hinge=joint_type == "hinge",
        position_in_parent_m=((edge_attribute(edge, "offset") - 0.5) * parent_length_m, 0.0, 0.0),
        # RoboGrammar's mirror at its xy plane: quaternion x, y and axis z change sign; then (x, y, z) -> (x, -z, y)
        rotation=(*_mapped((flip * rotation[0], flip * rotation[1], rotation[2])), rotation[3]),
        axis=_mapped(np.array([1.0, 1.0, flip]) * axis / np.linalg.norm(axis)),
        kp=edge_attribute(edge, "kp"),
        kd=edge_attribute(edge, "kd"),
        torque_n_m=edge_attribute(edge, "torque"),
        control=edge_attribute(edge, "control_mode"),
    )


def _joint_kind(edge: dict[str, Any]) -> str:
    if edge_attribute(edge, "type") == "fixed":
        return "fixed"
    if edge_attribute(edge, "control_mode") == "velocity":
        return "wheel"
    return _HINGE_KINDS.get((edge_attribute(edge, "joint_axis"), edge.get("axis_angle")), "hinge")


def _mapped(vector: Sequence[float] | np.ndarray) -> Vector:
    """Maps a vector from RoboGrammar's frame (y up) to ours (z up); adding 0.0 turns -0.0 into 0.0."""
    x, y, z = vector
    return (float(x) + 0.0, 0.0 - float(z), float(y) + 0.0)


def _normalised(links: list[Link]) -> list[Link]:
    """Shares `TORSO_MASS_KG` among the torso links by length."""
    torso_length_m = sum(link.length_m for link in links if _is_torso(link.radius_m))
    return [
        replace(link, mass_kg=TORSO_MASS_KG * link.length_m / torso_length_m) if _is_torso(link.radius_m) else link
        for link in links
    ]


def _with_sides(links: list[Link]) -> RobotModel:
    """Adds the side of each link at rest, and names that tell where it is."""
    lateral_m = RobotModel(tuple(links)).rest_pose()[0][:, 1]
    named: list[Link] = []
    taken: set[str] = set()
    for link, y_m in zip(links, lateral_m, strict=True):
        side = int(np.sign(round(float(y_m), 9)))
        name = _unique(_place_name(link, side), taken)
        taken.add(name)
        named.append(replace(link, side=side, name=name))
    return RobotModel(tuple(named))


def _place_name(link: Link, side: int) -> str:
    prefix = {1: "left_", -1: "right_", 0: ""}[side] if link.kind != "torso" else ""
    return f"{prefix}{link.kind}_{link.segment}" + (f"_{link.depth}" if link.depth else "")


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}_no{number}"
    return unique


def _axis_quaternion(axis: Sequence[float], angle_rad: float) -> Quaternion:
    """Quaternion (x, y, z, w) of a turn about `axis`, which need not be of unit length."""
    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis) * np.sin(0.5 * angle_rad)
    return (float(unit[0]), float(unit[1]), float(unit[2]), float(np.cos(0.5 * angle_rad)))
