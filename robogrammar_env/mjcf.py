"""A `RobotModel` on a `Terrain` as MJCF, MuJoCo's XML.

One body for each link, with its frame at the centre of mass as in our model; masses and inertias are written out.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from robogrammar_env.engine.base import GRAVITY_M_S2, PHYSICS_STEP_S, link_inertia, may_collide
from robogrammar_env.robot_model import Joint, Link, RobotModel, quaternion_matrix
from robogrammar_env.terrain import Heightfield, Terrain

_ALONG_X = "0.70710678118654757 0 0.70710678118654757 0"  # turns MuJoCo's z of a capsule to our x


def mjcf_root(name: str) -> Element:
    """An empty model with our units, step and gravity."""
    root = Element("mujoco", model=name)
    SubElement(root, "compiler", angle="radian", autolimits="true", inertiafromgeom="false")
    gravity = numbers([0.0, 0.0, -GRAVITY_M_S2])
    SubElement(root, "option", timestep=repr(PHYSICS_STEP_S), gravity=gravity)
    SubElement(root, "asset")
    SubElement(root, "worldbody")
    SubElement(root, "contact")
    return root


def add_robot(root: Element, robot: RobotModel, *, collides: Iterable[int] | None = None) -> None:
    """Adds a robot with a free base at its spawn pose.

    Args:
        root: from `mjcf_root`.
        robot: the robot.
        collides: links that take part in collisions; all by default.
    """
    shapes = set(range(len(robot.links)) if collides is None else collides)
    bodies: list[Element] = []
    for index, link in enumerate(robot.links):
        if link.joint is None:
            body = SubElement(_child(root, "worldbody"), "body", name=link.name, pos=numbers(robot.spawn_position_m))
            body.set("quat", "0 0 0 1")  # turned by pi about z
            SubElement(body, "freejoint", name="base")
        else:
            body = SubElement(bodies[link.parent], "body", name=link.name)
            body.set("pos", numbers(_centre_in_parent(link, link.joint)))
            body.set("quat", numbers(_wxyz(link.joint.rotation)))
            _add_joint(body, link, link.joint)
        _add_mass(body, link)
        _add_geom(body, link, solid=index in shapes)
        bodies.append(body)
    _exclude_pairs(_child(root, "contact"), robot, sorted(shapes))


def add_terrain(root: Element, terrain: Terrain, link_friction: float) -> None:
    """Adds the ground; a lone level floor as an endless plane, which is much cheaper than a box of its size.

    MuJoCo takes friction from the geom of higher priority: here the ground's, with the product of both coefficients.

    Args:
        root: from `mjcf_root`.
        terrain: boxes and heightfield.
        link_friction: coefficient of the robot's links.
    """
    world = _child(root, "worldbody")
    for number, box in enumerate(terrain.boxes):
        geom = SubElement(world, "geom", name=f"ground_{number}", priority="1")
        geom.set("friction", numbers([link_friction * box.friction, 0.0, 0.0]))
        if terrain.is_flat:
            geom.attrib.update(type="plane", size="0 0 1", pos=numbers([0.0, 0.0, box.top_m]))
        else:
            geom.attrib.update(type="box", size=numbers(box.half_extents_m), pos=numbers(box.center_m))
    if terrain.heightfield is not None:
        _add_heightfield(root, terrain.heightfield, link_friction)


def heightfield_data(field: Heightfield) -> np.ndarray:
    """(ny * nx,) float32 heights scaled to 0..1, x running fastest, as MuJoCo stores them."""
    heights = field.heights_m.T
    return ((heights - heights.min()) / np.ptp(heights)).astype(np.float32).ravel()


def to_text(root: Element) -> str:
    """The XML document."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def numbers(values: Iterable[float]) -> str:
    """Numbers as MJCF and URDF write vectors; every digit is kept."""
    return " ".join(repr(float(value)) for value in values)


def _child(root: Element, tag: str) -> Element:
    found = root.find(tag)
    assert found is not None, f"the model has no <{tag}>"
    return found


def _centre_in_parent(link: Link, joint: Joint) -> np.ndarray:
    return np.array(joint.position_in_parent_m) + quaternion_matrix(joint.rotation)[:, 0] * link.length_m / 2


def _wxyz(quaternion: tuple[float, float, float, float]) -> list[float]:
    x, y, z, w = quaternion
    return [w, x, y, z]


def _add_joint(body: Element, link: Link, joint: Joint) -> None:
    if joint.hinge:
        place = numbers([-link.length_m / 2, 0.0, 0.0])
        SubElement(body, "joint", name=f"joint_{link.name}", type="hinge", pos=place, axis=numbers(joint.axis))


def _add_mass(body: Element, link: Link) -> None:
    inertia = numbers(link_inertia(link))
    SubElement(body, "inertial", pos="0 0 0", mass=repr(float(link.mass_kg)), diaginertia=inertia)


def _add_geom(body: Element, link: Link, *, solid: bool) -> None:
    size = numbers([link.radius_m, link.length_m / 2])
    # Bullet multiplies both links' friction.
    friction = numbers([link.friction**2, 0.0, 0.0])
    geom = SubElement(body, "geom", name=f"geom_{link.name}", type=link.shape, quat=_ALONG_X, size=size)
    geom.set("friction", friction)
    if not solid:
        geom.set("contype", "0")
        geom.set("conaffinity", "0")


def _exclude_pairs(contact: Element, robot: RobotModel, shapes: list[int]) -> None:
    for place, first in enumerate(shapes):
        for second in shapes[:place]:
            if not may_collide(robot, first, second):
                names = {"body1": robot.links[second].name, "body2": robot.links[first].name}
                SubElement(contact, "exclude", names)


def _add_heightfield(root: Element, field: Heightfield, link_friction: float) -> None:
    heights = field.heights_m
    low, high = float(heights.min()), float(heights.max())
    base_m = 1.0
    size = numbers([*field.half_extents_m[:2], high - low, base_m])
    rows, columns = heights.shape[1], heights.shape[0]
    SubElement(_child(root, "asset"), "hfield", name="hills", nrow=str(rows), ncol=str(columns), size=size)
    friction = numbers([link_friction * field.friction, 0.0, 0.0])
    place = numbers([*field.center_m[:2], low])
    geom = SubElement(_child(root, "worldbody"), "geom", name="hills", type="hfield", hfield="hills", priority="1")
    geom.attrib.update(pos=place, friction=friction)
