"""Engine-neutral robot model: links, joints, frames, rest pose, forward kinematics.

World frame: x forward, y left, z up (m). RoboGrammar has y up; its vector (x, y, z) is (x, -z, y) here. The same map is
applied to everything inside a link's frame, so that a link's x runs along it and a torso's z points up. The base stands
turned by pi about z: its own x points backwards, and the first torso segment is the nose.

A link's frame has its origin at the link's centre of mass. The joint sits on the parent's x axis; the child's centre is
half its length further along the child's own x. All of it follows RoboGrammar's core (`buildRobot`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

BASE_ROTATION = np.diag([-1.0, -1.0, 1.0])
"""Orientation of the base at rest: turned by pi about z."""


@dataclass(frozen=True)
class Joint:
    """The joint between a link and its parent.

    Attributes:
        kind: "fixed", "roll", "swing", "lift", a limb joint of `design.py`, "wheel", or "hinge" for any other.
        hinge: whether it moves.
        position_in_parent_m: the joint's place in the parent's frame.
        rotation: quaternion (x, y, z, w) of the child's frame in the parent's at angle 0.
        axis: unit hinge axis in the child's frame. On mirrored links it is turned as RoboGrammar does, so that equal
            angles on both sides are opposite motions.
        kp: position gain of Bullet's joint motor (velocity level, without unit).
        kd: velocity gain of Bullet's joint motor (without unit).
        torque_n_m: torque limit of the motor.
        control: "position" or "velocity".
    """

    kind: str
    hinge: bool
    position_in_parent_m: Vector
    rotation: Quaternion
    axis: Vector
    kp: float = 0.01
    kd: float = 0.5
    torque_n_m: float = 1.0
    control: str = "position"


@dataclass(frozen=True)
class Link:
    """A rigid body: a capsule or cylinder along its own x.

    Attributes:
        name: unique in its robot, such as "torso_0", "left_mount_0", "left_limb_0_1" (segment, place in the leg).
        parent: index of the parent link, -1 for the base.
        kind: "torso", "mount", "limb" or "wheel".
        shape: "capsule" or "cylinder".
        length_m: length of the cylinder part; a capsule is 2 radii longer.
        radius_m: radius.
        mass_kg: mass, from `length_m` alone as in RoboGrammar.
        friction: Coulomb coefficient, multiplied with the ground's.
        joint: joint to the parent, None for the base.
        mirrored: whether it was built as a mirror image.
        segment: index of the torso segment that it is or belongs to.
        depth: 0 for torso and mounts, 1 and up along a leg.
        side: at rest, +1 left of the middle plane, -1 right of it, 0 in it.
    """

    name: str
    parent: int
    kind: str
    shape: str
    length_m: float
    radius_m: float
    mass_kg: float
    friction: float
    joint: Joint | None
    mirrored: bool
    segment: int
    depth: int
    side: int = 0


@dataclass(frozen=True)
class RobotModel:
    """A robot as a tree of links in breadth-first order; `links[0]` is the base, parents come before children."""

    links: tuple[Link, ...]

    @cached_property
    def joints(self) -> tuple[int, ...]:
        """Indices of the links that hang on a hinge, in order: joint i moves link `joints[i]`."""
        return tuple(i for i, link in enumerate(self.links) if link.joint is not None and link.joint.hinge)

    @property
    def num_joints(self) -> int:
        """Number of hinges."""
        return len(self.joints)

    @property
    def total_mass_kg(self) -> float:
        """Mass of all links."""
        return sum(link.mass_kg for link in self.links)

    @cached_property
    def rigid_groups(self) -> tuple[int, ...]:
        """For each link the first link of the group that it is rigidly fixed to."""
        groups: list[int] = []
        for i, link in enumerate(self.links):
            groups.append(groups[link.parent] if link.joint is not None and not link.joint.hinge else i)
        return tuple(groups)

    def rest_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns `forward_kinematics` with all joints at 0, the base at the origin, turned by pi about z."""
        return self.forward_kinematics(np.zeros(self.num_joints), np.zeros(3), BASE_ROTATION)

    def forward_kinematics(
        self, joint_angles_rad: ArrayLike, base_position_m: ArrayLike, base_rotation: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places every link.

        Args:
            joint_angles_rad: (..., num_joints) hinge angles; leading dimensions are a batch.
            base_position_m: (..., 3) centre of the base in the world.
            base_rotation: (..., 3, 3) base frame to world.

        Returns:
            (..., L, 3) centres of mass in metres and (..., L, 3, 3) rotations from link frame to world.
        """
        angles = np.asarray(joint_angles_rad, dtype=float)
        batch = angles.shape[:-1]
        positions = np.empty((*batch, len(self.links), 3))
        rotations = np.empty((*batch, len(self.links), 3, 3))
        positions[..., 0, :], rotations[..., 0, :, :] = base_position_m, base_rotation
        local = np.broadcast_to(self._rest_rotations, (*batch, len(self.links), 3, 3)).copy()
        hinges = list(self.joints)
        local[..., hinges, :, :] = local[..., hinges, :, :] @ _axis_rotations(self._axes[hinges], angles)
        for i, link in enumerate(self.links[1:], start=1):
            parent = rotations[..., link.parent, :, :]
            rotations[..., i, :, :] = parent @ local[..., i, :, :]
            positions[..., i, :] = (
                positions[..., link.parent, :]
                + parent[..., :, 0] * self._joint_x_m[i]
                + rotations[..., i, :, 0] * (0.5 * link.length_m)
            )
        return positions, rotations

    @cached_property
    def bounding_box_m(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner of the rest pose, radii included, with the base at the origin, in metres."""
        positions, rotations = self.rest_pose()
        along = np.abs(rotations[..., 0]) * 0.5 * self.lengths_m[:, None]
        capsule = np.array([link.shape == "capsule" for link in self.links])[:, None]
        across = np.where(capsule, 1.0, np.sqrt(np.maximum(0.0, 1.0 - rotations[..., 0] ** 2)))
        reach = along + across * self.radii_m[:, None]
        return tuple((positions - reach).min(axis=0).tolist()), tuple((positions + reach).max(axis=0).tolist())

    @property
    def spawn_position_m(self) -> Vector:
        """Base position at the start: nose at x = 0, lowest point at z = 0 (RoboGrammar's `presimulate`)."""
        low, high = self.bounding_box_m
        return (-high[0], 0.0, -low[2])

    @cached_property
    def lengths_m(self) -> np.ndarray:
        """(L,) lengths of the cylinder parts."""
        return np.array([link.length_m for link in self.links])

    @cached_property
    def radii_m(self) -> np.ndarray:
        """(L,) radii."""
        return np.array([link.radius_m for link in self.links])

    @cached_property
    def _joint_x_m(self) -> list[float]:
        return [link.joint.position_in_parent_m[0] if link.joint else 0.0 for link in self.links]

    @cached_property
    def _axes(self) -> np.ndarray:
        return np.array([link.joint.axis if link.joint else (0.0, 0.0, 1.0) for link in self.links])

    @cached_property
    def _rest_rotations(self) -> np.ndarray:
        identity = (0.0, 0.0, 0.0, 1.0)
        return np.array([quaternion_matrix(link.joint.rotation if link.joint else identity) for link in self.links])


def quaternion_matrix(quaternion: Sequence[float]) -> np.ndarray:
    """Returns the (3, 3) rotation matrix of a unit quaternion (x, y, z, w)."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _axis_rotations(axes: np.ndarray, angles_rad: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: (..., n, 3, 3) rotations about (n, 3) unit axes by (..., n) angles."""
    x, y, z = axes.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    sine, cosine = np.sin(angles_rad)[..., None, None], np.cos(angles_rad)[..., None, None]
    return np.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)
