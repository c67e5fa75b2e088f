"""The robot of this folder in stock MuJoCo or stock PyBullet, on a flat floor.

It needs numpy, torch and the simulator, and nothing of the project that trained the policy. Contacts and, in MuJoCo,
motors are close to those of the training simulator but not the same, so speeds differ somewhat.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent
PHYSICS_STEPS, PHYSICS_STEP_S = 16, 1 / 240  # one control step


class MuJoCoRobot:
    """`robot.xml` in MuJoCo."""

    def __init__(self) -> None:
        import mujoco

        body = json.loads((FOLDER / "body.json").read_text())
        self.mujoco, self.model = mujoco, mujoco.MjModel.from_xml_path(str(FOLDER / "robot.xml"))
        self.data = mujoco.MjData(self.model)
        self.links = [self.model.body(name).id for name in body["links"]]
        joints = [self.model.joint(f"joint_{name}") for name in body["joints"]]
        self.angles, self.speeds = ([getattr(joint, at)[0] for joint in joints] for at in ("qposadr", "dofadr"))
        self.motors = [self.model.actuator(f"motor_{name}").id for name in body["joints"]]
        mujoco.mj_forward(self.model, self.data)

    def step(self, targets_rad: torch.Tensor) -> None:
        """Moves one control step towards (n,) joint angles."""
        self.data.ctrl[self.motors] = targets_rad.numpy()
        self.mujoco.mj_step(self.model, self.data, PHYSICS_STEPS)
        self.mujoco.mj_forward(self.model, self.data)

    def state(self) -> dict[str, torch.Tensor]:
        """What the policy asks for, as `tensors` says."""
        data, links = self.data, self.links
        spatial = np.zeros((len(links), 6))
        for row, link in enumerate(links):
            self.mujoco.mj_objectVelocity(self.model, data, self.mujoco.mjtObj.mjOBJ_BODY, link, spatial[row], 0)
        contacts = self.model.geom_bodyid[data.contact.geom].reshape(-1, 2)
        return tensors(
            positions=data.xipos[links],
            rotations=data.xmat[links].reshape(-1, 3, 3),
            velocities=spatial[:, 3:],
            spin=spatial[0, :3],
            touching=np.isin(links, contacts[contacts.min(axis=1) == 0]),
            angles=data.qpos[self.angles],
            speeds=data.qvel[self.speeds],
            torques=data.actuator_force[self.motors],
        )


class BulletRobot:
    """`robot.urdf` in PyBullet, with the motors of the training simulator."""

    def __init__(self) -> None:
        import pybullet
        from pybullet_utils.bullet_client import BulletClient

        body = json.loads((FOLDER / "body.json").read_text())
        bullet = BulletClient(pybullet.DIRECT)
        self.bullet, self.body = bullet, body
        bullet.setPhysicsEngineParameter(fixedTimeStep=PHYSICS_STEP_S, numSolverIterations=10)
        bullet.setPhysicsEngineParameter(contactERP=0.2, globalCFM=0.0, solverResidualThreshold=0.0)
        bullet.setGravity(0, 0, -9.81)
        self.floor = bullet.createMultiBody(0, bullet.createCollisionShape(bullet.GEOM_PLANE))
        bullet.changeDynamics(self.floor, -1, lateralFriction=0.5)
        flags = bullet.URDF_USE_INERTIA_FROM_FILE | bullet.URDF_USE_SELF_COLLISION
        spawn = body["spawn_position_m"], [0, 0, 1, 0]
        self.robot = bullet.loadURDF(str(FOLDER / "robot.urdf"), *spawn, flags=flags)
        count = bullet.getNumJoints(self.robot)
        numbers = {bullet.getJointInfo(self.robot, index)[12].decode(): index for index in range(count)}
        self.links = [numbers.get(name, -1) for name in body["links"]]  # the base is -1
        self.joints = [numbers[name] for name in body["joints"]]
        for link in self.links:
            none = dict.fromkeys(("linearDamping", "angularDamping", "jointDamping"), 0.0)
            bullet.changeDynamics(self.robot, link, activationState=bullet.ACTIVATION_STATE_DISABLE_SLEEPING, **none)
        for first, second in body["passing_links"]:
            pair = self.links[first], self.links[second]
            bullet.setCollisionFilterPair(self.robot, self.robot, *pair, enableCollision=0)

    def step(self, targets_rad: torch.Tensor) -> None:
        """Moves one control step towards (n,) joint angles."""
        body = self.body
        self.bullet.setJointMotorControlArray(
            self.robot,
            self.joints,
            self.bullet.POSITION_CONTROL,
            targetPositions=targets_rad.tolist(),
            targetVelocities=[0.0] * len(self.joints),
            positionGains=body["kp"],
            velocityGains=body["kd"],
            forces=body["torque_n_m"],
        )
        for _ in range(PHYSICS_STEPS):
            self.bullet.stepSimulation()

    def state(self) -> dict[str, torch.Tensor]:
        """What the policy asks for, as `tensors` says."""
        bullet, robot = self.bullet, self.robot
        moving = {"computeLinkVelocity": 1, "computeForwardKinematics": 1}
        poses = [bullet.getLinkState(robot, link, **moving) for link in self.links[1:]]
        place, turn = bullet.getBasePositionAndOrientation(robot)
        velocity, spin = bullet.getBaseVelocity(robot)
        joints = np.array([state[:2] + state[3:] for state in bullet.getJointStates(robot, self.joints)])
        touching = {point[3] for point in bullet.getContactPoints(robot, self.floor) if point[9] > 0}
        turns = [turn, *(pose[1] for pose in poses)]
        return tensors(
            positions=[place, *(pose[0] for pose in poses)],
            rotations=np.array([bullet.getMatrixFromQuaternion(turn) for turn in turns]).reshape(-1, 3, 3),
            velocities=[velocity, *(pose[6] for pose in poses)],
            spin=spin,
            touching=np.isin(self.links, list(touching)),
            angles=joints[:, 0],
            speeds=joints[:, 1],
            torques=joints[:, 2],
        )


def tensors(**values: object) -> dict[str, torch.Tensor]:
    """A robot's state in double precision, world frame (x forward, z up), L links and n joints as in `body.json`.

    positions (L, 3) centres of mass, m; rotations (L, 3, 3) link frames to world; velocities (L, 3), m/s; spin (3,) of
    the base, rad/s; touching (L,) 1 where a link touches the ground; angles (n,), rad; speeds (n,), rad/s; torques (n,)
    of the motors, N*m.
    """
    return {name: torch.from_numpy(np.array(value, dtype=float)) for name, value in values.items()}


Robot = MuJoCoRobot | BulletRobot
SIMULATORS: dict[str, Callable[[], Robot]] = {"mujoco": MuJoCoRobot, "pybullet": BulletRobot}


def open_robot(simulator: str = "mujoco") -> Robot:
    """The robot at rest at its start; a simulator of another name ends the program."""
    if simulator not in SIMULATORS:
        sys.exit(f"no simulator {simulator!r}; known: {', '.join(SIMULATORS)}")
    return SIMULATORS[simulator]()
