"""A `RobotModel` as a Bullet multibody, and a `Terrain` as static Bullet bodies.

Bullet's capsules lie along z while our links lie along x. Every Bullet link frame is therefore our link frame turned
by `TURN`, which keeps each collision shape a plain capsule at the centre of mass: the cheapest form that Bullet has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pybullet

from robogrammar_env.engine.base import link_inertia, may_collide
from robogrammar_env.engine.clients import Client
from robogrammar_env.robot_model import BASE_ROTATION, Link, RobotModel, quaternion_matrix
from robogrammar_env.terrain import Heightfield, Terrain

TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # Bullet link vector to our link vector
_CAN_OVERLAP = 1e-6  # kg*m, how far from the main link's centre a merged part's centre of mass may lie


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
    return square_on and bool(np.all(np.abs(moment) < _CAN_OVERLAP))


def matrix_quaternion(rotation: np.ndarray) -> list[float]:
    """Unit quaternion (x, y, z, w) of a (3, 3) rotation, by its largest component."""
    m = rotation
    squares = np.array([1 + m[0, 0] - m[1, 1] - m[2, 2], 1 - m[0, 0] + m[1, 1] - m[2, 2]])
    squares = np.append(squares, [1 - m[0, 0] - m[1, 1] + m[2, 2], 1 + m[0, 0] + m[1, 1] + m[2, 2]])
    rows = np.array(
        [
            [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    row = rows[int(np.argmax(squares))]
    return list(row / np.linalg.norm(row))


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


def build_robot_body(client: Client, robot: RobotModel, parts: list[Part]) -> tuple[int, list[int]]:
    """Builds the multibody at its spawn pose.

    Returns:
        Bullet's body id, and Bullet's link index of each part (Bullet orders links depth first; the base is -1).
    """
    base = robot.links[0]
    body = pybullet.createMultiBody(
        baseMass=part_mass(robot, parts[0]),
        baseCollisionShapeIndex=_link_shape(client, base, 0.0),
        basePosition=list(robot.spawn_position_m),
        baseOrientation=matrix_quaternion(BASE_ROTATION @ TURN),
        flags=pybullet.URDF_USE_SELF_COLLISION,
        physicsClientId=client.number,
        **_link_arrays(client, robot, parts),
    )
    names = {b"link%d" % number: number for number in range(1, len(parts))}
    order = [-1] * len(parts)
    for index in range(len(parts) - 1):
        order[names[pybullet.getJointInfo(body, index, physicsClientId=client.number)[12]]] = index
    _set_dynamics(client, body, robot, parts, order)
    _exclude_collisions(client, body, robot, parts, order)
    return body, order


def _link_arrays(client: Client, robot: RobotModel, parts: list[Part]) -> dict[str, list]:
    arrays: dict[str, list] = {
        "linkMasses": [],
        "linkCollisionShapeIndices": [],
        "linkPositions": [],
        "linkOrientations": [],
        "linkInertialFramePositions": [],
        "linkJointTypes": [],
        "linkJointAxis": [],
    }
    for part in parts[1:]:
        link = robot.links[part.main]
        assert link.joint is not None, f"link {link.name} has no joint"
        half = link.length_m / 2
        arrays["linkMasses"].append(part_mass(robot, part))
        arrays["linkCollisionShapeIndices"].append(_link_shape(client, link, half))
        arrays["linkPositions"].append(_joint_point(robot, parts, part))
        arrays["linkOrientations"].append(matrix_quaternion(TURN.T @ part.rotation @ TURN))
        arrays["linkInertialFramePositions"].append([0.0, 0.0, half])
        kind = pybullet.JOINT_REVOLUTE if link.joint.hinge else pybullet.JOINT_FIXED
        arrays["linkJointTypes"].append(kind)
        arrays["linkJointAxis"].append(list(TURN.T @ np.array(link.joint.axis)))
    count = len(parts) - 1
    arrays["linkVisualShapeIndices"] = [-1] * count
    arrays["linkInertialFrameOrientations"] = [[0.0, 0.0, 0.0, 1.0]] * count
    arrays["linkParentIndices"] = [part.parent for part in parts[1:]]
    return arrays


def _joint_point(robot: RobotModel, parts: list[Part], part: Part) -> list[float]:
    """The joint in Bullet's frame of the parent, whose origin is the parent's own joint (the base's is its centre)."""
    half = robot.links[parts[part.parent].main].length_m / 2 if part.parent > 0 else 0.0
    return list(TURN.T @ part.joint_position + np.array([0.0, 0.0, half]))


def _link_shape(client: Client, link: Link, centre_m: float) -> int:
    kind = pybullet.GEOM_CAPSULE if link.shape == "capsule" else pybullet.GEOM_CYLINDER
    place = (0.0, 0.0, centre_m)
    return client.shape(kind, radius=link.radius_m, height=link.length_m, collisionFramePosition=place)


def _set_dynamics(client: Client, body: int, robot: RobotModel, parts: list[Part], order: list[int]) -> None:
    for part, index in zip(parts, order, strict=True):
        pybullet.changeDynamics(
            body,
            index,
            lateralFriction=robot.links[part.main].friction,
            linearDamping=0.0,
            angularDamping=0.0,
            jointDamping=0.0,
            physicsClientId=client.number,
        )
        if part.riders:
            along, across, up = part_inertia(robot, part)
            moments = [up, across, along]  # Bullet's x is our -z, its z our x
            pybullet.changeDynamics(body, index, localInertiaDiagonal=moments, physicsClientId=client.number)


def _exclude_collisions(client: Client, body: int, robot: RobotModel, parts: list[Part], order: list[int]) -> None:
    for first, part in enumerate(parts):
        for second in range(first):
            if not may_collide(robot, part.main, parts[second].main):
                pybullet.setCollisionFilterPair(
                    body, body, order[first], order[second], 0, physicsClientId=client.number
                )


def build_terrain(client: Client, terrain: Terrain) -> list[int]:
    """Builds the terrain's boxes and heightfield as static bodies: Bullet's body ids."""
    bodies = []
    for box in terrain.boxes:
        shape = client.shape(pybullet.GEOM_BOX, halfExtents=box.half_extents_m)
        bodies.append(_static_body(client, shape, box.center_m, box.friction))
    if terrain.heightfield is not None:
        bodies.append(_heightfield(client, terrain.heightfield))
    return bodies


def _heightfield(client: Client, field: Heightfield) -> int:
    """Bullet centres a heightfield on the middle of its lowest and highest value, and wants x to run fastest."""
    heights = field.heights_m
    cells = np.array(heights.shape) - 1
    scale_x, scale_y = 2 * np.array(field.half_extents_m[:2]) / cells
    shape = client.shape(
        pybullet.GEOM_HEIGHTFIELD,
        meshScale=(scale_x, scale_y, 1.0),
        heightfieldData=tuple(heights.T.ravel().tolist()),
        numHeightfieldRows=heights.shape[0],
        numHeightfieldColumns=heights.shape[1],
    )
    middle = (heights.min() + heights.max()) / 2
    return _static_body(client, shape, (*field.center_m[:2], middle), field.friction)


def _static_body(client: Client, shape: int, center_m: tuple[float, ...], friction: float) -> int:
    body = pybullet.createMultiBody(0.0, shape, basePosition=center_m, physicsClientId=client.number)
    pybullet.changeDynamics(body, -1, lateralFriction=friction, physicsClientId=client.number)
    return body
