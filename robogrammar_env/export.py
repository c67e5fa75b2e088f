"""Robots for other tools: URDF and MJCF files that open in stock PyBullet and stock MuJoCo.

Both files hold the same masses, inertias, joints, torque limits and rest pose as our model. Link frames differ from our
model only in the URDF: there, as URDF wants it, a link's frame sits in its joint, and the centre of mass half a length
further along x. The robot spawns with its base at `RobotModel.spawn_position_m`, turned by pi about z; the MJCF file
says so itself, for a URDF the caller does (the files' comments give the numbers).
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Comment, Element, SubElement

import numpy as np

from robogrammar_env import mjcf
from robogrammar_env.engine.base import Motors, link_inertia
from robogrammar_env.mjcf import numbers
from robogrammar_env.robot_model import Joint, Link, RobotModel, quaternion_matrix
from robogrammar_env.terrain import make_terrain

_MAX_SPEED_RAD_S = 100.0  # Bullet's own limit of a joint's speed
_ALONG_X = f"0 {math.pi / 2!r} 0"  # URDF's capsules and cylinders lie along z
_MOTOR_RATE = 4.8  # 1/s: Bullet's motor settles to a speed of 4.8 rad/s per rad of error
_MOTOR_DAMPING = 2.0  # N*m*s/rad
_ROTOR_INERTIA = 0.004  # kg*m^2, without it light links chatter at the torque limit


def write_robot(robot: RobotModel, folder: str | Path, *, name: str = "robot") -> list[Path]:
    """Writes `NAME.urdf` and `NAME.xml` (MJCF) into a folder, which is made if needed.

    Returns:
        The two paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.urdf": urdf(robot, name=name), folder / f"{name}.xml": mjcf_text(robot, name=name)}
    for path, text in files.items():
        path.write_text(text + "\n", encoding="utf-8")
    return list(files)


def urdf(robot: RobotModel, *, name: str = "robot") -> str:
    """The robot as URDF. Load it with PyBullet's flag URDF_USE_INERTIA_FROM_FILE to have our inertias."""
    root = Element("robot", name=name)
    root.append(
        Comment(f" spawn with base position {numbers(robot.spawn_position_m)} m and quaternion 0 0 1 0 (xyzw) ")
    )
    for link in robot.links:
        _add_urdf_link(root, link)
    for link in robot.links[1:]:
        _add_urdf_joint(root, robot, link)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def mjcf_text(robot: RobotModel, *, name: str = "robot") -> str:
    """The robot as MJCF on a flat floor, with one position actuator a hinge.

    The actuators are the nearest that stock MuJoCo has to Bullet's motor: the torque is
    2 * (4.8 * (target - angle) - speed) in N*m, at most the motor's limit, on a rotor of 0.004 kg*m^2. With the same
    gaits, joint angles are within about 0.015 rad (root mean square) of our own MuJoCo engine. Targets are in rad;
    wheels take a speed in rad/s.
    """
    root = mjcf.mjcf_root(name)
    option = root.find("option")
    assert option is not None, "the model has no <option>"
    option.set("integrator", "implicitfast")
    option.set("cone", "elliptic")
    SubElement(option, "flag", filterparent="disable")
    mjcf.add_robot(root, robot)
    mjcf.add_terrain(root, make_terrain("flat"), robot.links[0].friction)
    _add_actuators(root, robot)
    return mjcf.to_text(root)


def _add_actuators(root: Element, robot: RobotModel) -> None:
    actuators = SubElement(root, "actuator")
    motors = Motors.of(robot)
    for joint in root.iter("joint"):
        joint.set("armature", repr(_ROTOR_INERTIA))
    for number, index in enumerate(robot.joints):
        name, limit = robot.links[index].name, motors.torque_n_m[number]
        bounds = numbers([-limit, limit])
        common = {"name": f"motor_{name}", "joint": f"joint_{name}", "forcerange": bounds}
        if motors.wheels[number]:
            SubElement(actuators, "velocity", common, kv=repr(_MOTOR_DAMPING))
        else:
            stiffness = repr(_MOTOR_DAMPING * _MOTOR_RATE)
            SubElement(actuators, "position", common, kp=stiffness, kv=repr(_MOTOR_DAMPING))


def _add_urdf_link(root: Element, link: Link) -> None:
    centre = 0.0 if link.joint is None else link.length_m / 2
    body = SubElement(root, "link", name=link.name)
    inertial = SubElement(body, "inertial")
    _origin(inertial, [centre, 0.0, 0.0])
    SubElement(inertial, "mass", value=repr(float(link.mass_kg)))
    along, across, up = (repr(float(moment)) for moment in link_inertia(link))
    SubElement(inertial, "inertia", ixx=along, iyy=across, izz=up, ixy="0", ixz="0", iyz="0")
    for tag in ("visual", "collision"):
        part = SubElement(body, tag)
        _origin(part, [centre, 0.0, 0.0], _ALONG_X)
        shape = {"radius": repr(float(link.radius_m)), "length": repr(float(link.length_m))}
        SubElement(SubElement(part, "geometry"), link.shape, shape)
    contact = SubElement(body, "contact")
    SubElement(contact, "lateral_friction", value=repr(float(link.friction)))


def _add_urdf_joint(root: Element, robot: RobotModel, link: Link) -> None:
    joint = link.joint
    assert joint is not None, f"link {link.name} has no joint"
    parent = robot.links[link.parent]
    part = SubElement(root, "joint", name=f"joint_{link.name}", type="continuous" if joint.hinge else "fixed")
    SubElement(part, "parent", link=parent.name)
    SubElement(part, "child", link=link.name)
    _origin(part, _joint_in_parent(parent, joint), numbers(_roll_pitch_yaw(quaternion_matrix(joint.rotation))))
    if joint.hinge:
        SubElement(part, "axis", xyz=numbers(joint.axis))
        SubElement(part, "limit", effort=repr(float(joint.torque_n_m)), velocity=repr(_MAX_SPEED_RAD_S))
        SubElement(part, "dynamics", damping="0", friction="0")


def _joint_in_parent(parent: Link, joint: Joint) -> np.ndarray:
    """The joint's place from the parent's URDF frame: its own joint, or its centre for the base, m."""
    shift = 0.0 if parent.joint is None else parent.length_m / 2
    return np.array(joint.position_in_parent_m) + np.array([shift, 0.0, 0.0])


def _origin(element: Element, place: np.ndarray | list[float], turn: str = "0 0 0") -> None:
    SubElement(element, "origin", xyz=numbers(place), rpy=turn)


def _roll_pitch_yaw(rotation: np.ndarray) -> list[float]:
    """URDF's fixed-axis angles, rad, of a (3, 3) rotation."""
    pitch = math.atan2(-rotation[2, 0], math.hypot(rotation[0, 0], rotation[1, 0]))
    if abs(math.cos(pitch)) > 1e-9:
        roll = math.atan2(rotation[2, 1], rotation[2, 2])
        return [roll, pitch, math.atan2(rotation[1, 0], rotation[0, 0])]
    return [math.atan2(-rotation[1, 2], rotation[1, 1]), pitch, 0.0]
