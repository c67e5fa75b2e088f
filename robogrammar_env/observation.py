"""From a robot and its state to what a policy sees: one token per hinge, one vector for the whole body.

A token is one hinge with its group: everything that is rigidly attached below it, up to the next hinges. Frames: R is
the root frame (the base turned by pi, so that x points to the nose and z up at rest), H is R's heading alone (yaw), so
that z stays vertical. Lengths are in units of L, half the diagonal of the rest pose's box, speeds in sqrt(g L), spins
in sqrt(g / L). Everything is clipped to +-5 and has fixed scales: no running statistics.

Signs: RoboGrammar's mirrored hinges move anti-mirrored for equal angles. Angle, velocity, action, torque and axis of
mirrored joints are multiplied by -1 here, so that equal actions mean mirrored motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robogrammar_env.description import (
    CLIP,
    GLOBAL_STATIC_DIM,
    JOINT_STATIC_DIM,
    BodyDescription,
    clipped,
    describe,
    groups,
    mirror_signs,
    size_m,
)
from robogrammar_env.engine.base import GRAVITY_M_S2, Motors, RobotState
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel
from robogrammar_env.terrain import Terrain

__all__ = ["CLIP", "GLOBAL_DIM", "GLOBAL_STATIC_DIM", "JOINT_DIM", "JOINT_STATIC_DIM", "TERRAIN_DIM"]
__all__ += ["BodyDescription", "BodyFrame", "Observation", "body_frame", "observe"]

JOINT_DIM = 14
GLOBAL_DIM = 13
ACTION_RANGE_RAD = np.pi / 2
JOINT_SPEED_RAD_S = 10.0

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
class BodyFrame:
    """What `observe` needs to know of a robot, worked out once; n joints, L links.

    Attributes:
        description: the tables for the policy.
        signs: (n,) -1 for mirrored joints, else 1.
        mains: (n,) link that hangs on each hinge.
        half_lengths_m: (n,) from that link's centre to its tip, m.
        tip_radius_m: (n,) its radius.
        group_weights: (n, L) averages link values into those of each group's centre of mass.
        members: (n + 1, L) bool, the links of each group; the last row is the root's.
        owners: (L,) row of `members` that each link is in.
        hangs_on: (n, n) 1 where a joint's parent joint is; a row of 0 where it hangs on the root.
        angle_scale, speed_scale, torque_scale: (n,) from a joint's angle, velocity and torque to its columns, signed.
        length_m: L above.
        speed_m_s: sqrt(g L).
        rest_height_m: height of the base at rest.
    """

    description: BodyDescription
    signs: np.ndarray
    mains: np.ndarray
    half_lengths_m: np.ndarray
    tip_radius_m: np.ndarray
    group_weights: np.ndarray
    members: np.ndarray
    owners: np.ndarray
    hangs_on: np.ndarray
    angle_scale: np.ndarray
    speed_scale: np.ndarray
    torque_scale: np.ndarray
    length_m: float
    speed_m_s: float
    rest_height_m: float


def body_frame(robot: RobotModel) -> BodyFrame:
    """Works out a robot's static tables."""
    mains = np.array(robot.joints, dtype=int)
    members = groups(robot)
    weights = members[:-1] * np.array([link.mass_kg for link in robot.links])
    description, length_m, signs = describe(robot), size_m(robot), mirror_signs(robot)
    return BodyFrame(
        description=description,
        signs=signs,
        mains=mains,
        half_lengths_m=robot.lengths_m[mains] / 2,
        tip_radius_m=robot.radii_m[mains],
        group_weights=weights / weights.sum(axis=1, keepdims=True),
        members=members,
        owners=members.argmax(axis=0),
        hangs_on=(description.parent[:, None] == np.arange(robot.num_joints)).astype(float),
        angle_scale=signs / ACTION_RANGE_RAD,
        speed_scale=signs / JOINT_SPEED_RAD_S,
        torque_scale=signs / Motors.of(robot).torque_n_m,
        length_m=length_m,
        speed_m_s=float(np.sqrt(GRAVITY_M_S2 * length_m)),
        rest_height_m=float(robot.spawn_position_m[2]),
    )


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
    root = state.base_rotation.dot(BASE_ROTATION)
    heading = heading_frame(root)
    touching = np.zeros(count + 1)
    touching[frame.owners[state.contacts]] = 1.0
    _fill_joints(joints, frame, state, heading, terrain)
    joints[:, 2] = previous_action
    joints[:, 11] = touching[:-1]
    _fill_globals(values, frame, state, root, heading)
    values[9] = (state.base_position[2] - ground_height(terrain, state.base_position)) / frame.rest_height_m
    values[12] = np.count_nonzero(touching) / (count + 1)
    if terrain_samples:
        values[GLOBAL_DIM:] = sample_heights(frame, state, terrain, heading)
    table = clipped(table)
    return Observation(table[:-size].reshape(count, JOINT_DIM), table[-size:])


def _fill_joints(
    joints: np.ndarray, frame: BodyFrame, state: RobotState, heading: np.ndarray, terrain: Terrain
) -> None:
    """All columns but the previous action and contact."""
    np.multiply(frame.angle_scale, state.joint_angles, joints[:, 0])
    np.multiply(frame.speed_scale, state.joint_velocities, joints[:, 1])
    np.multiply(frame.torque_scale, state.motor_torques, joints[:, 3])
    places = frame.group_weights.dot(state.link_positions) - state.base_position
    joints[:, 4:7] = places.dot(heading / frame.length_m)
    joints[:, 7:10] = frame.group_weights.dot(state.link_velocities).dot(heading / frame.speed_m_s)
    heights = _tip_heights(frame, state, terrain) / frame.length_m
    np.minimum(np.maximum(heights, 0.0), 2.0, out=joints[:, 10])
    joints[:, 12:14] = frame.hangs_on.dot(joints[:, :2])


def _fill_globals(
    values: np.ndarray, frame: BodyFrame, state: RobotState, root: np.ndarray, heading: np.ndarray
) -> None:
    """All values but height and contact."""
    values[0:3] = -root[2]
    values[3:6] = state.base_velocity.dot(heading / frame.speed_m_s)
    values[6:9] = state.base_angular_velocity.dot(root * (frame.length_m / frame.speed_m_s))
    values[10:12] = heading[0, :2]


def heading_frame(root: np.ndarray) -> np.ndarray:
    """H: the (3, 3) rotation about z whose x axis is the root's, seen from above; the world's if that is vertical."""
    x, y = float(root[0, 0]), float(root[1, 0])
    size = math.hypot(x, y)
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
    if terrain.is_flat:
        rises = state.link_rotations[:, 2, 0].take(frame.mains) * frame.half_lengths_m
        return state.link_positions[:, 2].take(frame.mains) + rises - (frame.tip_radius_m + terrain.boxes[0].top_m)
    tips = state.link_positions[frame.mains] + state.link_rotations[frame.mains, :, 0] * frame.half_lengths_m[:, None]
    return tips[:, 2] - frame.tip_radius_m - ground_height(terrain, tips)


def ground_height(terrain: Terrain, points: np.ndarray) -> np.ndarray | float:
    """(...) ground heights, m, under (..., 2 or 3) points; one number for a level floor."""
    if terrain.is_flat:
        return terrain.boxes[0].top_m
    return terrain.height_at(points[..., 0], points[..., 1])
