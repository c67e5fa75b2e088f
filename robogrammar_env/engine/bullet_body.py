"""A `RobotModel` as a Bullet multibody, and a `Terrain` as static Bullet bodies.

Bullet's capsules lie along z while our links lie along x. Every Bullet link frame is therefore our link frame turned
by `TURN`, which keeps each collision shape a plain capsule at the centre of mass: the cheapest form that Bullet has.
"""

from __future__ import annotations

import numpy as np
import pybullet

from robogrammar_env.engine.base import may_collide
from robogrammar_env.engine.clients import Client
from robogrammar_env.engine.parts import Part, part_inertia, part_mass
from robogrammar_env.robot_model import BASE_ROTATION, Link, RobotModel
from robogrammar_env.terrain import Heightfield, Terrain

TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # Bullet link vector to our link vector


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


def build_robot_body(client: Client, robot: RobotModel, parts: list[Part]) -> tuple[int, list[int]]:
    """Builds the multibody at its spawn pose.

    Returns:
        Bullet's body id, and Bullet's link index of each part (Bullet orders links depth first; the base is -1).
    """
    base = robot.links[0]
    body = pybullet.createMultiBody(
        baseMass=part_mass(robot, parts[0]),
        baseCollisionShapeIndex=_link_shape(client, base, 0.0),
        baseVisualShapeIndex=client.speck,
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
    _filter_collisions(client, body, robot, parts, order)
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
    arrays["linkVisualShapeIndices"] = [client.speck] * count
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


def _filter_collisions(client: Client, body: int, robot: RobotModel, parts: list[Part], order: list[int]) -> None:
    """Says of every pair of links whether it collides.

    Pairs that do collide have to be named too: PyBullet hands out the numbers of removed bodies again, and a world
    remembers what was said of a number for as long as it lives.
    """
    for first, part in enumerate(parts):
        for second in range(first):
            collides = int(may_collide(robot, part.main, parts[second].main))
            pybullet.setCollisionFilterPair(
                body, body, order[first], order[second], collides, physicsClientId=client.number
            )


def build_terrain(client: Client, terrain: Terrain) -> list[int]:
    """Builds the terrain as static bodies; a lone level floor as an endless plane, which is cheaper than a box.

    Returns:
        Bullet's body ids.
    """
    if terrain.is_flat:
        floor = terrain.boxes[0]
        return [_static_body(client, client.shape(pybullet.GEOM_PLANE), (0.0, 0.0, floor.top_m), floor.friction)]
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
    body = pybullet.createMultiBody(0.0, shape, client.speck, basePosition=center_m, physicsClientId=client.number)
    pybullet.changeDynamics(body, -1, lateralFriction=friction, physicsClientId=client.number)
    return body
