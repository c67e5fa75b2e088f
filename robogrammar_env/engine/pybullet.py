"""The default engine: Bullet's multibody through PyBullet, with RoboGrammar's numbers."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pybullet

from robogrammar_env.engine import clients
from robogrammar_env.engine.base import (
    GRAVITY_M_S2,
    PHYSICS_STEP_S,
    SUBSTEPS,
    Motors,
    RobotState,
    spawn_position,
)
from robogrammar_env.engine.bullet_body import TURN, build_robot_body, build_terrain, matrix_quaternion
from robogrammar_env.engine.parts import Part, plan_parts
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel
from robogrammar_env.terrain import Terrain


def _quaternion_products() -> np.ndarray:
    """(16, 9) matrix that turns the products q_i * q_j of a Bullet quaternion into our flattened link rotation."""
    table = np.zeros((4, 4, 3, 3))
    for i in range(3):
        for j in range(3):
            table[i, j, i, j] += 1.0
            table[i, j, j, i] += 1.0
            table[i, i, j, j] -= 1.0
        table[3, 3, i, i] = 1.0
        j, k = (i + 1) % 3, (i + 2) % 3
        table[3, i, k, j] += 2.0
        table[3, i, j, k] -= 2.0
    return (table @ TURN.T).reshape(16, 9)


_TO_ROTATION = _quaternion_products()
_GROUP, _MASK = 1, -1  # Bullet's own for whatever moves: in its default group, collides with all
_SPAWN_QUATERNION = matrix_quaternion(BASE_ROTATION @ TURN)


class PyBulletEngine:
    """One robot on one terrain in a PyBullet DIRECT client of its own.

    Numbers of parity with RoboGrammar: steps of 1/240 s, 10 solver iterations, Bullet's own contact settings, no
    damping, no joint limits, no sleeping, motors with velocity-level gains and 1 N*m. An engine that is forgotten gives
    its client back as a closed one does.

    Args:
        robot: the body.
        terrain: what it stands on.
        solver_iterations: of Bullet's constraint solver; PyBullet's own default is 50.
        merge_mounts: see `parts.plan_parts`.
    """

    def __init__(
        self, robot: RobotModel, terrain: Terrain, *, solver_iterations: int = 10, merge_mounts: bool = True
    ) -> None:
        self.robot, self.terrain = robot, terrain
        client = clients.borrow()
        self._give_back = weakref.finalize(self, clients.give_back, client)
        self._give_back.atexit = False
        self._client = client.number
        self._set_parameters(solver_iterations)
        parts = plan_parts(robot, merge_mounts=merge_mounts)
        self._terrain_bodies = build_terrain(client, terrain)
        self._body, order = build_robot_body(client, robot, parts)
        part_of = {part.main: index for part, index in zip(parts, order, strict=True)}
        self._mains = np.array([part.main for part in parts])
        self._bullet_links = order[1:]
        self._bullet_joints = [part_of[index] for index in robot.joints]
        self._link_of = {index: part.main for part, index in zip(parts, order, strict=True)}
        self._riders = _Riders.of(parts)
        self._set_motors()
        self._in_contact = np.zeros(len(robot.links), dtype=bool)
        self.reset(np.zeros(robot.num_joints))

    def _set_parameters(self, solver_iterations: int) -> None:
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=SUBSTEPS * PHYSICS_STEP_S,
            numSubSteps=SUBSTEPS,
            numSolverIterations=solver_iterations,
            contactERP=0.2,
            globalCFM=0.0,
            solverResidualThreshold=0.0,
            deterministicOverlappingPairs=1,
            enableFileCaching=0,
            physicsClientId=self._client,
        )
        pybullet.setGravity(0.0, 0.0, -GRAVITY_M_S2, physicsClientId=self._client)

    def _set_motors(self) -> None:
        self._motors = Motors.of(self.robot)
        self._has_wheels = bool(self._motors.wheels.any())
        self._motor_arguments: dict[str, Any] = {
            "targetVelocities": [0.0] * self.robot.num_joints,
            "positionGains": self._motors.kp.tolist(),
            "velocityGains": self._motors.kd.tolist(),
            # PyBullet turns a force into the largest impulse of the outer step, but applies it in every substep.
            "forces": (self._motors.torque_n_m / SUBSTEPS).tolist(),
            "physicsClientId": self._client,
        }

    def reset(self, joint_angles_rad: np.ndarray) -> None:
        """Puts the robot at its spawn pose, at rest. `joint_angles_rad`: (n,)."""
        self._forget_contacts()
        self._place_base(spawn_position(self.robot, self.terrain, joint_angles_rad))
        for joint, angle in zip(self._bullet_joints, joint_angles_rad, strict=True):
            pybullet.resetJointState(self._body, joint, float(angle), 0.0, physicsClientId=self._client)
        self._stepped = False

    def _forget_contacts(self) -> None:
        """Makes a start independent of what was before: Bullet keeps the points of a contact that goes on.

        Setting a link's collision group and mask, here to what they are, takes it out of the broadphase and in again.
        """
        for link in (-1, *self._bullet_links):
            pybullet.setCollisionFilterGroupMask(self._body, link, _GROUP, _MASK, physicsClientId=self._client)

    def _place_base(self, position: np.ndarray) -> None:
        """Puts the base, at rest, to a (3,) position with its spawn orientation."""
        body, client = self._body, self._client
        pybullet.resetBasePositionAndOrientation(body, position.tolist(), _SPAWN_QUATERNION, physicsClientId=client)
        pybullet.resetBaseVelocity(body, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], physicsClientId=client)

    def _push_base(self, velocity: np.ndarray) -> None:
        """Gives the whole robot a (3,) velocity, m/s."""
        pybullet.resetBaseVelocity(self._body, velocity.tolist(), [0.0, 0.0, 0.0], physicsClientId=self._client)

    def step(self, targets_rad: np.ndarray) -> None:
        """Moves one control step with the joint targets held. `targets_rad`: (n,)."""
        targets = self._wheel_targets(targets_rad) if self._has_wheels else targets_rad
        pybullet.setJointMotorControlArray(
            self._body,
            self._bullet_joints,
            pybullet.POSITION_CONTROL,
            targetPositions=targets.tolist(),
            **self._motor_arguments,
        )
        pybullet.stepSimulation(physicsClientId=self._client)
        self._stepped = True

    def _wheel_targets(self, targets_rad: np.ndarray) -> np.ndarray:
        states = pybullet.getJointStates(self._body, self._bullet_joints, physicsClientId=self._client)
        positions, speeds = self._motors.wheel_targets(targets_rad, np.array([state[0] for state in states]))
        self._motor_arguments["targetVelocities"] = speeds.tolist()
        return positions

    def state(self) -> RobotState:
        """Where everything is now."""
        body, client, count = self._body, self._client, len(self.robot.links)
        joints = pybullet.getJointStates(body, self._bullet_joints, physicsClientId=client)
        angles = np.array([(joint[0], joint[1], joint[3]) for joint in joints]).reshape(-1, 3).T
        position, quaternion = pybullet.getBasePositionAndOrientation(body, physicsClientId=client)
        velocity, spin = pybullet.getBaseVelocity(body, physicsClientId=client)
        links = pybullet.getLinkStates(
            body, self._bullet_links, computeLinkVelocity=1, computeForwardKinematics=1, physicsClientId=client
        )
        rows = [position + quaternion + velocity + spin]
        rows += [link[0] + link[1] + link[6] + link[7] for link in links]
        table = np.zeros((count, 13))
        table[self._mains] = rows
        q = table[:, 3:7]
        rotations = ((q[:, :, None] * q[:, None, :]).reshape(count, 16) @ _TO_ROTATION).reshape(count, 3, 3)
        positions, velocities = table[:, :3], table[:, 7:10]
        self._riders.place(positions, rotations, velocities, table[:, 10:])
        return RobotState(
            base_position=positions[0],
            base_rotation=rotations[0],
            base_velocity=velocities[0],
            base_angular_velocity=table[0, 10:],
            joint_angles=angles[0],
            joint_velocities=angles[1],
            motor_torques=angles[2] * SUBSTEPS,
            link_positions=positions,
            link_velocities=velocities,
            link_rotations=rotations,
            contacts=self._contacts(count),
        )

    def base_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Base position (3,), m, and rotation (3, 3), as in `state` but cheap."""
        position, quaternion = pybullet.getBasePositionAndOrientation(self._body, physicsClientId=self._client)
        q = np.array(quaternion)
        return np.array(position), ((q[:, None] * q).reshape(16) @ _TO_ROTATION).reshape(3, 3)

    def _contacts(self, count: int) -> np.ndarray:
        touching = np.zeros(count, dtype=bool)
        if self._stepped:
            for point in pybullet.getContactPoints(bodyA=self._body, physicsClientId=self._client):
                if point[2] != self._body and point[9] > 0.0:  # the other body, the normal force
                    touching[self._link_of[point[3]]] = True
        return touching

    def save(self) -> tuple[int, bool]:
        """A handle on the present state, for `restore`."""
        return pybullet.saveState(physicsClientId=self._client), self._stepped

    def restore(self, handle: tuple[int, bool]) -> None:
        """Goes back to a saved state, bit for bit."""
        pybullet.restoreState(handle[0], physicsClientId=self._client)
        self._stepped = handle[1]

    def discard(self, handle: tuple[int, bool]) -> None:
        """Frees a saved state."""
        pybullet.removeState(handle[0], physicsClientId=self._client)

    def close(self) -> None:
        """Gives the client back. A second call does nothing."""
        self._give_back()


class _Riders:
    """Links that ride rigidly on another one: their pose and velocity follow from its own."""

    def __init__(self, links: list[int], carriers: list[int], centres: np.ndarray, frames: np.ndarray) -> None:
        self._links, self._carriers = np.array(links, dtype=int), np.array(carriers, dtype=int)
        self._centres, self._frames = centres, frames

    @classmethod
    def of(cls, parts: list[Part]) -> _Riders:
        found = [(link, part.main, centre, frame) for part in parts for link, centre, frame in part.riders]
        centres = np.array([centre for _, _, centre, _ in found]).reshape(-1, 3, 1)
        frames = np.array([frame for _, _, _, frame in found]).reshape(-1, 3, 3)
        return cls([link for link, _, _, _ in found], [main for _, main, _, _ in found], centres, frames)

    def place(self, positions: np.ndarray, rotations: np.ndarray, velocities: np.ndarray, spins: np.ndarray) -> None:
        """Fills in the riders' rows of (L, 3), (L, 3, 3), (L, 3) and (L, 3) arrays in place."""
        if not self._links.size:
            return
        turned = rotations[self._carriers]
        arms = (turned @ self._centres)[:, :, 0]
        spin = spins[self._carriers]
        rotations[self._links] = turned @ self._frames
        positions[self._links] = positions[self._carriers] + arms
        swing = spin[:, [1, 2, 0]] * arms[:, [2, 0, 1]] - spin[:, [2, 0, 1]] * arms[:, [1, 2, 0]]
        velocities[self._links] = velocities[self._carriers] + swing
