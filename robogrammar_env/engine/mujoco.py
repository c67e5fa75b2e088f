"""MuJoCo behind the same protocol, with Bullet's motors."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement

import mujoco
import numpy as np

from robogrammar_env import mjcf
from robogrammar_env.engine.base import PHYSICS_STEP_S, SUBSTEPS, Motors, RobotState, spawn_position
from robogrammar_env.engine.parts import plan_parts
from robogrammar_env.robot_model import RobotModel
from robogrammar_env.terrain import Terrain

TOUCH_M = 0.003  # a link so near the ground touches it, as often then as in PyBullet (docs/engines.md)
_FREE = 7  # positions of the free base joint in qpos; its velocities are 6
_CROSS_LEFT, _CROSS_RIGHT = np.array([1, 2, 0, 2, 0, 1]), np.array([2, 0, 1, 1, 2, 0])  # terms of a cross product


class MuJoCoEngine:
    """One robot on one terrain in MuJoCo.

    Motors: Bullet's motor is a constraint that drives a joint's speed to v + kp / dt * (target - angle) - kd * v, with
    a torque of at most 1 N*m. MuJoCo has such a constraint for dry friction, whose aim is speed 0; the engine puts
    Bullet's aim into it in every physics step, between MuJoCo's two half steps.

    Args:
        robot: the body.
        terrain: what it stands on.
        substeps: physics steps in a control step of 1/15 s. 8 agree with PyBullet as well as 16 do.
        solver_iterations: of the constraint solver (projected Gauss-Seidel, as Bullet's).
        merge_mounts: see `parts.plan_parts`; here it only says which shapes collide.
    """

    def __init__(
        self,
        robot: RobotModel,
        terrain: Terrain,
        *,
        substeps: int = 8,
        solver_iterations: int = 10,
        merge_mounts: bool = True,
    ) -> None:
        self.robot, self.terrain = robot, terrain
        self._substeps, self._solver_iterations = substeps, solver_iterations
        self._step_s = SUBSTEPS * PHYSICS_STEP_S / substeps
        self._model = self._compile(merge_mounts)
        self._data = mujoco.MjData(self._model)
        self._find_places()
        self._set_motors()
        self.reset(np.zeros(robot.num_joints))

    def _compile(self, merge_mounts: bool) -> Any:
        root = mjcf.mjcf_root("robot")
        self._set_options(root)
        parts = plan_parts(self.robot, merge_mounts=merge_mounts)
        mjcf.add_robot(root, self.robot, collides=[part.main for part in parts])
        mjcf.add_terrain(root, self.terrain, self.robot.links[0].friction)
        for geom in root.iterfind("worldbody/geom"):  # the ground; within the gap there is a contact, but no force
            geom.attrib.update(margin=repr(TOUCH_M), gap=repr(TOUCH_M))
        self._add_motors(root)
        model = mujoco.MjModel.from_xml_string(mjcf.to_text(root))
        if self.terrain.heightfield is not None:
            model.hfield_data[:] = mjcf.heightfield_data(self.terrain.heightfield)
        return model

    def _set_options(self, root: Element) -> None:
        option = root.find("option")
        assert option is not None, "the model has no <option>"
        option.attrib.update(timestep=repr(self._step_s), solver="PGS", cone="elliptic")
        option.set("iterations", str(self._solver_iterations))
        # MuJoCo would leave out the pairs of a link and all that hangs on its rigid group; ours are named one by one.
        SubElement(option, "flag", filterparent="disable")

    def _add_motors(self, root: Element) -> None:
        """Dry friction at every hinge, as strong as its motor and as hard as the solver can bear."""
        torque = {f"joint_{link.name}": link.joint.torque_n_m for link in self.robot.links if link.joint}
        for joint in root.iter("joint"):
            joint.set("frictionloss", repr(torque[joint.attrib["name"]]))
            joint.set("solimpfriction", "0.9999 0.9999 0.001 0.5 2")

    def _find_places(self) -> None:
        """MuJoCo numbers bodies and joints depth first; these are their places in the model's order."""
        model, links = self._model, self.robot.links
        self._bodies = np.array([model.body(link.name).id for link in links])
        joints = [model.joint(f"joint_{links[index].name}") for index in self.robot.joints]
        self._angles = np.array([joint.qposadr[0] for joint in joints], dtype=int)
        self._speeds = np.array([joint.dofadr[0] for joint in joints], dtype=int)
        self._order = self._speeds - 6  # among the hinges
        # rows of cvel are (spin, velocity); flat places of its numbers, link by link
        self._spins = 6 * self._bodies[:, None] + _CROSS_LEFT
        self._shifts = 6 * self._bodies[:, None] + np.arange(3, 6)
        self._find_contacts()

    def _find_contacts(self) -> None:
        """For each pair of geoms, numbered row by row, the link that stands on the ground; else a number behind all."""
        model, links = self._model, self.robot.links
        table = np.full((model.ngeom, model.ngeom), len(links), dtype=np.int32)
        geoms = [model.geom(f"geom_{link.name}").id for link in links]
        ground = [geom for geom in range(model.ngeom) if geom not in geoms]
        for index, geom in enumerate(geoms):
            table[geom, ground] = table[ground, geom] = index
        self._link_on_ground, self._pair_weights = table.ravel(), np.array([model.ngeom, 1], dtype=np.int32)

    def _set_motors(self) -> None:
        """Bullet's gains act on a step of 1/240 s: per second they are kp / dt**2 and kd / dt."""
        self._motors = Motors.of(self.robot)
        self._has_wheels = bool(self._motors.wheels.any())
        self._stiffness = self._in_order(self._motors.kp) / PHYSICS_STEP_S**2
        self._damping = self._in_order(self._motors.kd) / PHYSICS_STEP_S

    def _in_order(self, values: np.ndarray) -> np.ndarray:
        """(n,) values in MuJoCo's order of joints."""
        ordered = np.empty(len(values))
        ordered[self._order] = values
        return ordered

    def reset(self, joint_angles_rad: np.ndarray) -> None:
        """Puts the robot at its spawn pose, at rest. `joint_angles_rad`: (n,)."""
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[self._angles] = joint_angles_rad
        self._torques = np.zeros(self.robot.num_joints)
        self._place_base(spawn_position(self.robot, self.terrain, joint_angles_rad))
        self._stepped = False

    def _place_base(self, position: np.ndarray) -> None:
        """Puts the base, at rest, to a (3,) position with its spawn orientation."""
        self._data.qpos[:3] = position
        self._data.qpos[3:7] = 0.0, 0.0, 0.0, 1.0
        self._data.qvel[:6] = 0.0
        mujoco.mj_step1(self._model, self._data)

    def _push_base(self, velocity: np.ndarray) -> None:
        """Gives the whole robot a (3,) velocity, m/s."""
        self._data.qvel[:3] = velocity
        mujoco.mj_step1(self._model, self._data)

    def step(self, targets_rad: np.ndarray) -> None:
        """Moves one control step with the joint targets held. `targets_rad`: (n,)."""
        model, data = self._model, self._data
        angles, speeds, count = data.qpos[_FREE:], data.qvel[_FREE - 1 :], self.robot.num_joints
        targets, push = self._targets(targets_rad)
        aim, brake = np.empty(count), np.empty(count)
        step1, step2, stiffness, damping = mujoco.mj_step1, mujoco.mj_step2, self._stiffness, self._damping
        subtract, multiply = np.subtract, np.multiply
        for substep in range(self._substeps):
            if substep:
                step1(model, data)
            subtract(targets, angles, aim)
            multiply(aim, stiffness, aim)
            multiply(speeds, damping, brake)
            goal = data.efc_aref[:count]
            subtract(aim, brake, goal)
            if push is not None:
                goal += push
            step2(model, data)
        self._torques = data.efc_force.take(self._order)  # before the next half step makes new constraints
        step1(model, data)
        self._stepped = True

    def _targets(self, targets_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(n,) position targets and the acceleration that speed targets ask for (if any), in MuJoCo's order."""
        if not self._has_wheels:
            return self._in_order(targets_rad), None
        positions, speeds = self._motors.wheel_targets(targets_rad, self._data.qpos[self._angles])
        return self._in_order(positions), self._in_order(speeds) * self._damping

    def state(self) -> RobotState:
        """Where everything is now."""
        data, bodies = self._data, self._bodies
        positions = data.xipos.take(bodies, 0)
        rotations = data.xmat.take(bodies, 0).reshape(-1, 3, 3)
        spins, arms = data.cvel.take(self._spins), (positions - data.subtree_com[bodies[0]]).take(_CROSS_RIGHT, 1)
        terms = spins * arms  # of the cross product: those with plus, then those with minus
        velocities = data.cvel.take(self._shifts) + (terms[:, :3] - terms[:, 3:])
        return RobotState(
            base_position=positions[0],
            base_rotation=rotations[0],
            base_velocity=velocities[0],
            base_angular_velocity=data.cvel[bodies[0], :3].copy(),
            joint_angles=data.qpos.take(self._angles),
            joint_velocities=data.qvel.take(self._speeds),
            motor_torques=self._torques,
            link_positions=positions,
            link_velocities=velocities,
            link_rotations=rotations,
            contacts=self._contacts(),
        )

    def base_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Base position (3,), m, and rotation (3, 3), as in `state` but cheap."""
        base = self._bodies[0]
        return self._data.xipos[base].copy(), self._data.xmat[base].reshape(3, 3).copy()

    def _contacts(self) -> np.ndarray:
        touching = np.zeros(len(self.robot.links) + 1, dtype=bool)
        if self._stepped and self._data.ncon:
            touching[self._link_on_ground.take(self._data.contact.geom.dot(self._pair_weights))] = True
        return touching[:-1]

    def save(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """A handle on the present state, for `restore`."""
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        values = np.empty(mujoco.mj_stateSize(self._model, kind))
        mujoco.mj_getState(self._model, self._data, values, kind)
        return values, self._torques, self._stepped

    def restore(self, handle: tuple[np.ndarray, np.ndarray, bool]) -> None:
        """Goes back to a saved state, bit for bit."""
        values, self._torques, self._stepped = handle
        mujoco.mj_setState(self._model, self._data, values, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_step1(self._model, self._data)

    def discard(self, handle: tuple[np.ndarray, np.ndarray, bool]) -> None:
        """Frees a saved state: nothing to do here."""

    def close(self) -> None:
        """Frees the simulator. A second call does nothing."""
        self._data = self._model = None
