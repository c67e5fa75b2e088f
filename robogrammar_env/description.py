"""What does not change about a body, as numbers: one row per hinge, one row for the whole.

A joint's group is everything that is rigidly attached below its hinge, up to the next hinges; what hangs on no hinge is
the root's group. At rest the root frame R is the world's, with the base at the origin. Lengths are in units of L, half
the diagonal of the rest pose's bounding box. Everything is clipped to +-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robogrammar_env.engine.base import GRAVITY_M_S2, Motors, link_ends
from robogrammar_env.robot_model import RobotModel

JOINT_STATIC_DIM = 24
GLOBAL_STATIC_DIM = 8
CLIP = 5.0
_TORSO_RADIUS_M, _LIMB_LENGTH_M, _BOX_M = 0.045, 0.15, 0.5
_DEPTH, _JOINTS, _LEGGED_SEGMENTS, _CHILDREN = 6, 16, 4, 3


@dataclass(frozen=True)
class BodyDescription:
    """The static side of a body.

    Attributes:
        joint_static: (n, 24) float32.
        global_static: (8,) float32.
        parent: (n,) int8, index of the parent joint, -1 for joints on the root.
    """

    joint_static: np.ndarray
    global_static: np.ndarray
    parent: np.ndarray

    @property
    def num_joints(self) -> int:
        """Actuated joints of the body."""
        return int(self.joint_static.shape[0])


def size_m(robot: RobotModel) -> float:
    """L, half the diagonal of the rest pose's bounding box, m."""
    low, high = np.array(robot.bounding_box_m)
    return float(np.linalg.norm(high - low) / 2)


def mirror_signs(robot: RobotModel) -> np.ndarray:
    """(n,) -1 for mirrored joints, else 1."""
    return np.array([-1.0 if robot.links[index].mirrored else 1.0 for index in robot.joints])


def groups(robot: RobotModel) -> np.ndarray:
    """(n + 1, L) bool: the links of each joint's group, the root's last."""
    owners = _owners(robot)
    return np.array([owners == group for group in [*range(robot.num_joints), -1]])


def parent_joints(robot: RobotModel) -> np.ndarray:
    """(n,) int8: the next hinge towards the root, -1 if there is none."""
    owners = _owners(robot)
    return np.array([owners[robot.links[index].parent] for index in robot.joints], dtype=np.int8)


def describe(robot: RobotModel) -> BodyDescription:
    """A body's static tables.

    The 24 columns of a joint: place of the hinge / L (3); hinge axis, sign-canonical (3); direction from hinge to tip
    (3); length / 0.15 m - 1; radius / 0.045 m - 1; ln(group mass / mean group mass); share of the body's mass below;
    share of its joints below; height of the tip / L; depth / 6; is a leaf; joints right below / 3; side (-1 right,
    +1 left); is a spine joint; place along the torso (-1 nose, +1 tail); lower and upper limit / pi (none: -1, +1);
    ln(motor torque / (weight * L)).

    The 8 of the whole: ln(mass / 1 kg); length, width, height of the box / 0.5 m (3); joints / 16; share of spine
    joints; legged segments / 4; greatest depth / 6.
    """
    parent = parent_joints(robot)
    below = _descendants(parent)
    table = np.empty((robot.num_joints, JOINT_STATIC_DIM))
    _fill_geometry(table, robot)
    _fill_masses(table, robot, below)
    _fill_tree(table, robot, parent, below)
    return BodyDescription(
        joint_static=clipped(table),
        global_static=clipped(_whole(robot, greatest_depth=int(below.sum(axis=0).max()))),
        parent=parent,
    )


def clipped(values: np.ndarray) -> np.ndarray:
    """Values within +-5 as float32."""
    return values.clip(-CLIP, CLIP).astype(np.float32)


def _owners(robot: RobotModel) -> np.ndarray:
    """(L,) index of the hinge whose group each link belongs to, -1 for the root's."""
    owner = {group: number for number, group in enumerate(robot.joints)}
    return np.array([owner.get(group, -1) for group in robot.rigid_groups])


def _descendants(parent: np.ndarray) -> np.ndarray:
    """(n, n) bool: [i, j] is true where joint j is joint i or lies below it."""
    below = np.eye(len(parent), dtype=bool)
    for joint in range(len(parent)):
        above = parent[joint]
        while above >= 0:
            below[above, joint] = True
            above = parent[above]
    return below


def _fill_geometry(table: np.ndarray, robot: RobotModel) -> None:
    """Where the hinges are and how they turn."""
    mains, length = list(robot.joints), size_m(robot)
    positions, rotations = robot.rest_pose()
    anchors, tips = link_ends(robot, positions, rotations)
    axes = np.array([link.joint.axis for link in robot.links if link.joint and link.joint.hinge])
    radii = robot.radii_m[mains]
    table[:, 0:3] = anchors[mains] / length
    table[:, 3:6] = (rotations[mains] @ axes[:, :, None])[:, :, 0] * mirror_signs(robot)[:, None]
    table[:, 6:9] = rotations[mains, :, 0]
    table[:, 9] = robot.lengths_m[mains] / _LIMB_LENGTH_M - 1
    table[:, 10] = radii / _TORSO_RADIUS_M - 1
    table[:, 14] = (tips[mains, 2] - radii - robot.bounding_box_m[0][2]) / length
    table[:, 21:23] = -1.0, 1.0


def _fill_masses(table: np.ndarray, robot: RobotModel, below: np.ndarray) -> None:
    """What hangs on the hinges, and the strength of their motors."""
    group_mass = groups(robot)[:-1] @ np.array([link.mass_kg for link in robot.links])
    weight_n = robot.total_mass_kg * GRAVITY_M_S2
    table[:, 11] = np.log(group_mass / group_mass.mean())
    table[:, 12] = below @ group_mass / robot.total_mass_kg
    table[:, 13] = below.sum(axis=1) / robot.num_joints
    table[:, 23] = np.log(Motors.of(robot).torque_n_m / (weight_n * size_m(robot)))


def _fill_tree(table: np.ndarray, robot: RobotModel, parent: np.ndarray, below: np.ndarray) -> None:
    """The hinges' places in the tree and on the body."""
    links = [robot.links[index] for index in robot.joints]
    children = np.array([np.sum(parent == joint) for joint in range(robot.num_joints)])
    last = max(link.segment for link in robot.links)
    table[:, 15] = below.sum(axis=0) / _DEPTH
    table[:, 16] = children == 0
    table[:, 17] = children / _CHILDREN
    table[:, 18] = [link.side for link in links]
    table[:, 19] = [link.kind == "torso" for link in links]
    table[:, 20] = [2 * link.segment / last - 1 if last else 0.0 for link in links]


def _whole(robot: RobotModel, greatest_depth: int) -> np.ndarray:
    """(8,) features of the whole body."""
    low, high = np.array(robot.bounding_box_m)
    spine = sum(robot.links[index].kind == "torso" for index in robot.joints)
    legged = len({link.segment for link in robot.links if link.kind == "mount"})
    counts = [robot.num_joints / _JOINTS, spine / robot.num_joints, legged / _LEGGED_SEGMENTS, greatest_depth / _DEPTH]
    return np.array([np.log(robot.total_mass_kg), *((high - low) / _BOX_M), *counts])
