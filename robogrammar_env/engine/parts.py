"""Which links an engine builds as rigid bodies of their own, and which ride on another one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robogrammar_env.engine.base import link_inertia
from robogrammar_env.robot_model import RobotModel, quaternion_matrix

_BALANCED_KG_M = 1e-6


@dataclass
class Part:
    """One Bullet link: a main link and the stubs that ride on it.

    Attributes:
        main: index of the link whose shape collides.
        parent: index into the list of parts, -1 for the base.
        joint_position: (3,) joint point in the parent's main link frame, m.
        rotation: (3, 3) main link frame in the parent's main link frame at angle 0.
        riders: links without a shape of their own: index, centre (3,) and frame (3, 3) in the main link frame.
    """

    main: int
    parent: int
    joint_position: np.ndarray
    rotation: np.ndarray
    riders: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)


def plan_parts(robot: RobotModel, *, merge_mounts: bool) -> list[Part]:
    """Decides which links become Bullet links of their own.

    A mount is a short rigid stub between torso and leg, buried in the torso at one end and in the first leg link at
    the other. Where the mounts of a torso segment balance each other they ride on it: their mass and inertia are
    kept, and only the 3 cm of their surface that lies between torso and leg no longer collides.
    """
    riders = _balanced_mounts(robot) if merge_mounts else set()
    parts = [Part(0, -1, np.zeros(3), np.eye(3))]
    place: dict[int, tuple[int, np.ndarray, np.ndarray]] = {0: (0, np.zeros(3), np.eye(3))}
    for index, link in enumerate(robot.links[1:], start=1):
        assert link.joint is not None, f"link {link.name} has no joint"
        part, origin, frame = place[link.parent]
        joint = origin + frame @ np.array(link.joint.position_in_parent_m)
        rotation = frame @ quaternion_matrix(link.joint.rotation)
        if index in riders:
            centre = joint + rotation[:, 0] * link.length_m / 2
            parts[part].riders.append((index, centre, rotation))
            place[index] = (part, centre, rotation)
        else:
            parts.append(Part(index, part, joint, rotation))
            place[index] = (len(parts) - 1, np.zeros(3), np.eye(3))
    return parts


def _balanced_mounts(robot: RobotModel) -> set[int]:
    """Mounts whose centres of mass, summed over their torso segment, lie at its centre."""
    offsets: dict[int, list[tuple[int, np.ndarray]]] = {}
    for index, link in enumerate(robot.links):
        if link.kind == "mount" and link.joint is not None and robot.links[link.parent].kind == "torso":
            direction = quaternion_matrix(link.joint.rotation)[:, 0]
            centre = np.array(link.joint.position_in_parent_m) + direction * link.length_m / 2
            offsets.setdefault(link.parent, []).append((index, link.mass_kg * centre))
    balanced = [group for group in offsets.values() if _is_balanced(robot, group)]
    return {index for group in balanced for index, _ in group}


def _is_balanced(robot: RobotModel, group: list[tuple[int, np.ndarray]]) -> bool:
    moment = np.sum([moment for _, moment in group], axis=0)
    rotations = [quaternion_matrix(robot.links[index].joint.rotation) for index, _ in group]  # type: ignore[union-attr]
    square_on = all(np.allclose(np.abs(rotation), np.round(np.abs(rotation)), atol=1e-9) for rotation in rotations)
    return square_on and bool(np.all(np.abs(moment) < _BALANCED_KG_M))


def part_mass(robot: RobotModel, part: Part) -> float:
    """Mass of a part, kg."""
    return robot.links[part.main].mass_kg + sum(robot.links[index].mass_kg for index, _, _ in part.riders)


def part_inertia(robot: RobotModel, part: Part) -> np.ndarray:
    """(3,) principal moments of a part about its main link's centre, in the main link frame, kg*m^2."""
    total = np.diag(link_inertia(robot.links[part.main]))
    for index, centre, rotation in part.riders:
        own = rotation @ np.diag(link_inertia(robot.links[index])) @ rotation.T
        shift = centre @ centre * np.eye(3) - np.outer(centre, centre)
        total = total + own + robot.links[index].mass_kg * shift
    return np.diag(total)
