"""From a robot and its state to what a policy sees: one token per hinge, one vector for the whole body.

A token is one hinge with its group: everything that is rigidly attached below it, up to the next hinges. Frames: R is
the root frame (the base turned by pi, so that x points to the nose and z up at rest), H is R's heading alone (yaw), so
that z stays vertical. Lengths are in units of L, half the diagonal of the rest pose's box, speeds in sqrt(g L), spins
in sqrt(g / L). Everything is clipped to +-5 and has fixed scales: no running statistics.

Signs: RoboGrammar's mirrored hinges move anti-mirrored for equal angles. Angle, velocity, action, torque and axis of
mirrored joints are multiplied by -1 here, so that equal actions mean mirrored motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robogrammar_env.engine.base import GRAVITY_M_S2, RobotState, link_ends
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel
from robogrammar_env.terrain import Terrain

JOINT_DIM = 14
JOINT_STATIC_DIM = 24
GLOBAL_DIM = 13
GLOBAL_STATIC_DIM = 8
CLIP = 5.0
ACTION_RANGE_RAD = np.pi / 2
JOINT_SPEED_RAD_S = 10.0
TORSO_RADIUS_M, LIMB_LENGTH_M, BOX_M = 0.045, 0.15, 0.5
DEPTH, JOINTS, LEGGED_SEGMENTS, CHILDREN = 6, 16, 4, 3

SAMPLES_AHEAD_M = np.array([0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3])
SAMPLES_ASIDE_M = np.array([0.25, 0.0, -0.25])
TERRAIN_DIM = SAMPLES_AHEAD_M.size * SAMPLES_ASIDE_M.size


class Observation(NamedTuple):
    """What a body senses at one control step.

    Attributes:
        joints: (n, 14) float32, see `observe`.
        globals: (13,) float32, or (13 + 24,) with terrain samples.
    """

    joints: np.ndarray
    globals: np.ndarray


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


@dataclass(frozen=True)
class BodyFrame:
    """What `observe` needs to know of a robot, worked out once; n joints, L links.

    Attributes:
        description: the tables for the policy.
        signs: (n,) -1 for mirrored joints, else 1.
        mains: (n,) link that hangs on each hinge.
        tips: (n, 3) tip of that link in its own frame, m.
        tip_radius_m: (n,) its radius.
        group_weights: (n, L) averages link values into those of each group's centre of mass.
        members: (n + 1, L) bool, the links of each group; the last row is the root's.
        max_torque_n_m: (n,) limit of each motor.
        on_root: (m,) indices of the joints that hang on the root.
        length_m: L above.
        speed_m_s: sqrt(g L).
        rest_height_m: height of the base at rest.
    """

    description: BodyDescription
    signs: np.ndarray
    mains: np.ndarray
    tips: np.ndarray
    tip_radius_m: np.ndarray
    group_weights: np.ndarray
    members: np.ndarray
    max_torque_n_m: np.ndarray
    on_root: np.ndarray
    length_m: float
    speed_m_s: float
    rest_height_m: float


def body_frame(robot: RobotModel) -> BodyFrame:
    """Works out a robot's static tables."""
    mains = np.array(robot.joints, dtype=int)
    members = _members(robot)
    masses = np.array([link.mass_kg for link in robot.links])
    weights = members[:-1] * masses
    description = _describe(robot, members, masses)
    length_m = size_m(robot)
    return BodyFrame(
        description=description,
        signs=np.array([-1.0 if robot.links[index].mirrored else 1.0 for index in mains]),
        mains=mains,
        tips=np.stack([robot.lengths_m[mains] / 2, np.zeros(len(mains)), np.zeros(len(mains))], axis=1),
        tip_radius_m=robot.radii_m[mains],
        group_weights=weights / weights.sum(axis=1, keepdims=True),
        members=members,
        max_torque_n_m=np.array([joint.torque_n_m for joint in _joints(robot)]),
        on_root=np.flatnonzero(description.parent < 0),
        length_m=length_m,
        speed_m_s=float(np.sqrt(GRAVITY_M_S2 * length_m)),
        rest_height_m=float(robot.spawn_position_m[2]),
    )


def size_m(robot: RobotModel) -> float:
    """L, half the diagonal of the rest pose's bounding box, m."""
    low, high = np.array(robot.bounding_box_m)
    return float(np.linalg.norm(high - low) / 2)


def observe(
    frame: BodyFrame, state: RobotState, previous_action: np.ndarray, terrain: Terrain, *, terrain_samples: bool
) -> Observation:
    """What the policy sees of a state.

    The 14 columns of a joint: angle, velocity, previous action, motor torque, centre of mass of the group from the
    base (3, in H), its velocity (3, in H), height of the tip above the ground, ground contact of the group, angle and
    velocity of the parent joint. The 13 global values: direction of gravity in R (3), velocity in H (3), angular
    velocity in R (3), height over rest height, direction of the target in H (cos, sin), share of groups on the ground.

    Args:
        frame: of the robot.
        state: at the end of a control step.
        previous_action: (n,) in [-1, 1], sign-canonical as the policy gave it.
        terrain: for heights.
        terrain_samples: append 24 ground heights ahead of the robot (see `sample_heights`).
    """
    count = len(frame.signs)
    size = GLOBAL_DIM + TERRAIN_DIM if terrain_samples else GLOBAL_DIM
    table = np.empty(count * JOINT_DIM + size)  # one block, so that it is clipped and cast in one go
    joints, values = table[:-size].reshape(count, JOINT_DIM), table[-size:]
    root = state.base_rotation @ BASE_ROTATION
    heading = heading_frame(root)
    touching = frame.members @ state.contacts
    _fill_joints(joints, frame, state, heading, terrain)
    joints[:, 2] = previous_action
    joints[:, 11] = touching[:-1]
    _fill_globals(values, frame, state, root, heading)
    values[9] = (state.base_position[2] - ground_height(terrain, state.base_position)) / frame.rest_height_m
    values[12] = np.count_nonzero(touching) / (count + 1)
    if terrain_samples:
        values[GLOBAL_DIM:] = sample_heights(frame, state, terrain, heading)
    table = _clipped(table)
    return Observation(table[:-size].reshape(count, JOINT_DIM), table[-size:])


def _fill_joints(
    joints: np.ndarray, frame: BodyFrame, state: RobotState, heading: np.ndarray, terrain: Terrain
) -> None:
    """All columns but the previous action and contact."""
    length = frame.length_m
    joints[:, 0] = frame.signs * state.joint_angles / ACTION_RANGE_RAD
    joints[:, 1] = frame.signs * state.joint_velocities / JOINT_SPEED_RAD_S
    joints[:, 3] = frame.signs * state.motor_torques / frame.max_torque_n_m
    joints[:, 4:7] = (frame.group_weights @ state.link_positions - state.base_position) @ heading / length
    joints[:, 7:10] = (frame.group_weights @ state.link_velocities) @ heading / frame.speed_m_s
    joints[:, 10] = np.minimum(np.maximum(_tip_heights(frame, state, terrain) / length, 0.0), 2.0)
    joints[:, 12:14] = joints[frame.description.parent, :2]
    joints[frame.on_root, 12:14] = 0.0


def _fill_globals(
    values: np.ndarray, frame: BodyFrame, state: RobotState, root: np.ndarray, heading: np.ndarray
) -> None:
    """All values but height and contact."""
    values[0:3] = -root[2]
    values[3:6] = state.base_velocity @ heading / frame.speed_m_s
    values[6:9] = state.base_angular_velocity @ root * (frame.length_m / frame.speed_m_s)
    values[10:12] = heading[0, :2]


def heading_frame(root: np.ndarray) -> np.ndarray:
    """H: the (3, 3) rotation about z whose x axis is the root's, seen from above; the world's if that is vertical."""
    x, y = root[0, 0], root[1, 0]
    size = np.hypot(x, y)
    cos, sin = (x / size, y / size) if size > 1e-6 else (1.0, 0.0)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def sample_heights(frame: BodyFrame, state: RobotState, terrain: Terrain, heading: np.ndarray) -> np.ndarray:
    """(24,) ground heights relative to where the ground would be under a standing robot, over the rest height.

    Taken at 0 to 1.3 m ahead of the base (8 places), 0.25 m to the left, in the middle, and to the right.
    """
    ahead, aside = np.meshgrid(SAMPLES_AHEAD_M, SAMPLES_ASIDE_M)
    points = np.stack([ahead.ravel(), aside.ravel()], axis=1) @ heading[:2, :2].T + state.base_position[:2]
    standing = state.base_position[2] - frame.rest_height_m
    return (ground_height(terrain, points) - standing) / frame.rest_height_m


def _tip_heights(frame: BodyFrame, state: RobotState, terrain: Terrain) -> np.ndarray:
    """(n,) heights of the undersides of the tips above the ground, m."""
    tips = state.link_positions[frame.mains] + state.link_rotations[frame.mains, :, 0] * frame.tips[:, :1]
    return tips[:, 2] - frame.tip_radius_m - ground_height(terrain, tips)


def ground_height(terrain: Terrain, points: np.ndarray) -> np.ndarray | float:
    """(...) ground heights, m, under (..., 2 or 3) points; one number for a level floor."""
    if terrain.is_flat:
        return terrain.boxes[0].top_m
    return terrain.height_at(points[..., 0], points[..., 1])


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(values, -CLIP), CLIP).astype(np.float32)


def _joints(robot: RobotModel) -> list:
    return [robot.links[index].joint for index in robot.joints]


def _owners(robot: RobotModel) -> np.ndarray:
    """(L,) index of the hinge whose group each link belongs to, -1 for the root's."""
    owner = {group: number for number, group in enumerate(robot.joints)}
    return np.array([owner.get(group, -1) for group in robot.rigid_groups])


def _members(robot: RobotModel) -> np.ndarray:
    """(n + 1, L) bool: the links of each group, the root's last."""
    groups = [*range(robot.num_joints), -1]
    return np.array([_owners(robot) == group for group in groups])


def parent_joints(robot: RobotModel) -> np.ndarray:
    """(n,) int8: the next hinge towards the root, -1 if there is none."""
    owners = _owners(robot)
    return np.array([owners[robot.links[index].parent] for index in robot.joints], dtype=np.int8)


def _describe(robot: RobotModel, members: np.ndarray, masses: np.ndarray) -> BodyDescription:
    parent = parent_joints(robot)
    below = _descendants(parent)
    group_mass = members[:-1] @ masses
    subtree_mass = below @ group_mass
    depth = below.sum(axis=0)
    return BodyDescription(
        joint_static=_joint_table(robot, parent, below, group_mass, subtree_mass / robot.total_mass_kg, depth),
        global_static=_global_table(robot, depth),
        parent=parent,
    )


def _descendants(parent: np.ndarray) -> np.ndarray:
    """(n, n) bool: [i, j] is true where joint j is joint i or lies below it."""
    below = np.eye(len(parent), dtype=bool)
    for joint in range(len(parent)):
        above = parent[joint]
        while above >= 0:
            below[above, joint] = True
            above = parent[above]
    return below


def _joint_table(
    robot: RobotModel,
    parent: np.ndarray,
    below: np.ndarray,
    group_mass: np.ndarray,
    subtree_share: np.ndarray,
    depth: np.ndarray,
) -> np.ndarray:
    """The (n, 24) static features: where the hinge is, how it turns, what hangs on it."""
    count, links = robot.num_joints, [robot.links[index] for index in robot.joints]
    positions, rotations = robot.rest_pose()  # the base is at the origin and R is the world frame
    anchors, tips = (ends[list(robot.joints)] for ends in link_ends(robot, positions, rotations))
    low_m, length = robot.bounding_box_m[0][2], size_m(robot)
    signs = np.array([-1.0 if link.mirrored else 1.0 for link in links])
    axes = np.array(
        [rotations[i] @ np.array(joint.axis) for i, joint in zip(robot.joints, _joints(robot), strict=True)]
    )
    torque = np.array([joint.torque_n_m for joint in _joints(robot)])
    radii = robot.radii_m[list(robot.joints)]
    children = np.array([np.sum(parent == joint) for joint in range(count)])
    spine = np.array([link.kind == "torso" for link in links])
    segments = max(link.segment for link in robot.links)
    along = np.array([2 * link.segment / segments - 1 if segments else 0.0 for link in links])

    table = np.zeros((count, JOINT_STATIC_DIM))
    table[:, 0:3] = anchors / length
    table[:, 3:6] = axes * signs[:, None]
    table[:, 6:9] = rotations[list(robot.joints), :, 0]
    table[:, 9] = robot.lengths_m[list(robot.joints)] / LIMB_LENGTH_M - 1
    table[:, 10] = radii / TORSO_RADIUS_M - 1
    table[:, 11] = np.log(group_mass / group_mass.mean())
    table[:, 12] = subtree_share
    table[:, 13] = below.sum(axis=1) / count
    table[:, 14] = (tips[:, 2] - radii - low_m) / length
    table[:, 15] = depth / DEPTH
    table[:, 16] = children == 0
    table[:, 17] = children / CHILDREN
    table[:, 18] = [link.side for link in links]
    table[:, 19] = spine
    table[:, 20] = along
    table[:, 21:23] = -1.0, 1.0  # limits over pi; RoboGrammar's joints have none
    table[:, 23] = np.log(torque / (robot.total_mass_kg * GRAVITY_M_S2 * length))
    return _clipped(table)


def _global_table(robot: RobotModel, depth: np.ndarray) -> np.ndarray:
    """The (8,) static features of the whole body."""
    low, high = np.array(robot.bounding_box_m)
    spine = sum(robot.links[index].kind == "torso" for index in robot.joints)
    legged = len({link.segment for link in robot.links if link.kind == "mount"})
    rest = [robot.num_joints / JOINTS, spine / robot.num_joints, legged / LEGGED_SEGMENTS, depth.max() / DEPTH]
    return _clipped(np.array([np.log(robot.total_mass_kg), *((high - low) / BOX_M), *rest]))
