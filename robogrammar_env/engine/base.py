"""What every physics engine offers, and the numbers that all of them share.

World frame: x forward, y left, z up, in metres. Link frames: origin at the centre of mass, x along the link.
The base spawns with yaw pi, so that its own x axis points backwards and the first torso segment is the nose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Protocol

import numpy as np

from robogrammar_env.errors import unknown_name
from robogrammar_env.robot_model import BASE_ROTATION, Link, RobotModel
from robogrammar_env.terrain import Terrain

PHYSICS_STEP_S = 1.0 / 240.0
SUBSTEPS = 16
CONTROL_STEP_S = SUBSTEPS * PHYSICS_STEP_S
GRAVITY_M_S2 = 9.81
CLIENTS_AHEAD = "ROBOGRAMMAR_PRELOAD_CLIENTS"  # environment variable: PyBullet clients that `preload` opens
WHEEL_SPEED_RAD_S = 5.0  # a velocity-controlled joint turns a target of 1 rad into this speed


@dataclass(slots=True)
class RobotState:
    """A robot at the end of a control step, in the world frame; L links, n hinges, in the model's order.

    Attributes:
        base_position: (3,) centre of the base link, m.
        base_rotation: (3, 3) base link frame to world.
        base_velocity: (3,) m/s.
        base_angular_velocity: (3,) rad/s.
        joint_angles: (n,) rad, unwrapped.
        joint_velocities: (n,) rad/s.
        motor_torques: (n,) N*m, applied in the last physics step.
        link_positions: (L, 3) centres of mass, m.
        link_velocities: (L, 3) of the centres of mass, m/s.
        link_rotations: (L, 3, 3) link frames to world; the first column points from the joint to the tip.
        contacts: (L,) bool, the link touches the terrain.
    """

    base_position: np.ndarray
    base_rotation: np.ndarray
    base_velocity: np.ndarray
    base_angular_velocity: np.ndarray
    joint_angles: np.ndarray
    joint_velocities: np.ndarray
    motor_torques: np.ndarray
    link_positions: np.ndarray
    link_velocities: np.ndarray
    link_rotations: np.ndarray
    contacts: np.ndarray


@dataclass(frozen=True)
class Motors:
    """The motors of a robot's n hinges; arrays (n,) in the model's order.

    In every physics step of 1/240 s a motor drives its joint's speed v to
    v + kp / dt * (position target - angle) + kd * (speed target - v), with a torque within its limit.

    Attributes:
        kp: position gains, without unit.
        kd: velocity gains, without unit.
        torque_n_m: limits.
        wheels: bool, joints that are controlled by speed.
    """

    kp: np.ndarray
    kd: np.ndarray
    torque_n_m: np.ndarray
    wheels: np.ndarray

    @classmethod
    def of(cls, robot: RobotModel) -> Motors:
        """The motors of a robot."""
        joints = [joint for joint in (robot.links[index].joint for index in robot.joints) if joint is not None]
        return cls(
            kp=np.array([joint.kp for joint in joints]),
            kd=np.array([joint.kd for joint in joints]),
            torque_n_m=np.array([joint.torque_n_m for joint in joints]),
            wheels=np.array([joint.control == "velocity" for joint in joints], dtype=bool),
        )

    def wheel_targets(self, targets_rad: np.ndarray, angles_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position targets, rad, and speed targets, rad/s, of all joints for one control step.

        A wheel turns with 5 rad/s per rad of target; its position target runs one physics step ahead of its angle.
        """
        speeds = np.where(self.wheels, targets_rad * WHEEL_SPEED_RAD_S, 0.0)
        return np.where(self.wheels, angles_rad + speeds * PHYSICS_STEP_S, targets_rad), speeds


class Engine(Protocol):
    """One robot on one terrain in one simulator instance."""

    robot: RobotModel
    terrain: Terrain

    def reset(self, joint_angles_rad: np.ndarray) -> None:
        """Puts the robot at its spawn pose, at rest, whatever was before. `joint_angles_rad`: (n,)."""

    def step(self, targets_rad: np.ndarray) -> None:
        """Moves one control step, 1/15 s, with the joint targets held. `targets_rad`: (n,)."""

    def state(self) -> RobotState:
        """Where everything is now."""

    def base_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Base position (3,), m, and rotation (3, 3), as in `state` but cheap."""

    def save(self) -> Any:
        """A handle on the present state, for `restore`."""

    def restore(self, handle: Any) -> None:
        """Goes back to a saved state, bit for bit."""

    def discard(self, handle: Any) -> None:
        """Frees a saved state."""

    def close(self) -> None:
        """Frees the simulator. A second call does nothing."""


def link_inertia(link: Link) -> np.ndarray:
    """Principal moments of a link about its centre, (3,) kg*m^2, x along the link.

    These are Bullet's: a capsule counts as the solid box around it, a cylinder is exact.
    """
    length, radius, mass = link.length_m, link.radius_m, link.mass_kg
    if link.shape == "cylinder":
        across = mass * (radius**2 / 4 + length**2 / 12)
        return np.array([mass * radius**2 / 2, across, across])
    long, wide = length + 2 * radius, 2 * radius
    across = mass * (long**2 + wide**2) / 12
    return np.array([mass * wide**2 / 6, across, across])


def link_ends(robot: RobotModel, positions: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and tip points of every link's axis.

    Args:
        robot: L links.
        positions: (L, 3) centres.
        rotations: (L, 3, 3) link frames.

    Returns:
        (L, 3) start points and (L, 3) tips, in the frame of `positions`.
    """
    half = rotations[:, :, 0] * robot.lengths_m[:, None] / 2
    return positions - half, positions + half


def spawn_position(robot: RobotModel, terrain: Terrain, joint_angles_rad: np.ndarray) -> np.ndarray:
    """Base position (3,) at which the nose is at x = 0 and the lowest point at z = 0, or higher where the ground is.

    The nose is that of the pose with zero angles; the lowest point is that of the given angles.
    """
    x_m, y_m, _ = robot.spawn_position_m
    positions, rotations = robot.forward_kinematics(joint_angles_rad, np.array([x_m, y_m, 0.0]), BASE_ROTATION)
    start, tip = link_ends(robot, positions, rotations)
    points = np.stack([start, (start + tip) / 2, tip])
    underside = points[..., 2] - robot.radii_m
    ground = np.maximum(terrain.height_at(points[..., 0], points[..., 1]), 0.0)
    return np.array([x_m, y_m, np.max(ground - underside)])


def may_collide(robot: RobotModel, first: int, second: int) -> bool:
    """Whether two links push each other: not parent and child, and not in one rigid group."""
    if robot.rigid_groups[first] == robot.rigid_groups[second]:
        return False
    return robot.links[first].parent != second and robot.links[second].parent != first


def make_engine(name: str, robot: RobotModel, terrain: Terrain, **settings: Any) -> Engine:
    """Builds the engine called `name` ("pybullet" or "mujoco").

    Raises:
        UnknownNameError: there is no such engine; the message lists those that exist.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return ENGINES[name]()(robot, terrain, **settings)


def wrong_settings(name: str, settings: Mapping[str, int]) -> list[str]:
    """What is wrong with settings of an engine that is a key of `ENGINES`, a line each; nothing if it is not installed.

    Its settings are the whole numbers among its keyword arguments, all of them counts.
    """
    if not settings:
        return []
    try:
        arguments = signature(ENGINES[name]()).parameters.values()
    except ImportError:  # whoever builds it says so
        return []
    known = [a.name for a in arguments if a.kind is Parameter.KEYWORD_ONLY and a.annotation in (int, "int")]
    unknown = [str(unknown_name(f"setting of {name}", key, known)) for key in settings if key not in known]
    return unknown + [f"{key} must be at least 1, got {settings[key]}" for key in known if settings.get(key, 1) < 1]


def _pybullet() -> Callable[..., Engine]:
    from robogrammar_env.engine.pybullet import PyBulletEngine

    return PyBulletEngine


def _mujoco() -> Callable[..., Engine]:
    from robogrammar_env.engine.mujoco import MuJoCoEngine

    return MuJoCoEngine


ENGINES: dict[str, Callable[[], Callable[..., Engine]]] = {"pybullet": _pybullet, "mujoco": _mujoco}
