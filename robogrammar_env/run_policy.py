"""Runs `policy.pt` on the robot of this folder in stock MuJoCo or stock PyBullet, on a flat floor.

It needs numpy, torch and the simulator, and nothing of the project that trained the policy. `body.json` has the tables
that turn a state into what the policy sees. Contacts and, in MuJoCo, motors are close to those of the training
simulator but not the same, so speeds differ somewhat.

    python run_policy.py [--engine mujoco|pybullet] [--steps 128]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent
PHYSICS_STEPS, PHYSICS_STEP_S = 16, 1 / 240  # one control step
RANGE_RAD, JOINT_SPEED_RAD_S, CLIP = np.pi / 2, 10.0, 5.0
HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # the base starts turned by 180 degrees about z


class MuJoCoRobot:
    """`robot.xml` in MuJoCo."""

    def __init__(self, body: dict) -> None:
        import mujoco

        self.mujoco, self.model = mujoco, mujoco.MjModel.from_xml_path(str(FOLDER / "robot.xml"))
        self.data = mujoco.MjData(self.model)
        self.links = [self.model.body(name).id for name in body["links"]]
        joints = [self.model.joint(f"joint_{name}") for name in body["joints"]]
        self.angles, self.speeds = ([getattr(joint, at)[0] for joint in joints] for at in ("qposadr", "dofadr"))
        self.motors = [self.model.actuator(f"motor_{name}").id for name in body["joints"]]
        mujoco.mj_forward(self.model, self.data)

    def step(self, targets_rad: np.ndarray) -> None:
        """Moves one control step."""
        self.data.ctrl[self.motors] = targets_rad
        self.mujoco.mj_step(self.model, self.data, PHYSICS_STEPS)
        self.mujoco.mj_forward(self.model, self.data)

    def state(self) -> dict[str, np.ndarray]:
        """Links (centres, velocities, frames, contacts) and joints (angles, speeds, torques), world frame."""
        data, links = self.data, self.links
        spatial = np.zeros((len(links), 6))
        for row, link in enumerate(links):
            self.mujoco.mj_objectVelocity(self.model, data, self.mujoco.mjtObj.mjOBJ_BODY, link, spatial[row], 0)
        contacts = self.model.geom_bodyid[data.contact.geom].reshape(-1, 2)
        return {
            "positions": data.xipos[links],
            "rotations": data.xmat[links].reshape(-1, 3, 3),
            "velocities": spatial[:, 3:],
            "spin": spatial[0, :3],
            "touching": np.isin(links, contacts[contacts.min(axis=1) == 0]),
            "angles": data.qpos[self.angles],
            "speeds": data.qvel[self.speeds],
            "torques": data.actuator_force[self.motors],
        }


class BulletRobot:
    """`robot.urdf` in PyBullet, with the motors of the training simulator."""

    def __init__(self, body: dict) -> None:
        import pybullet
        from pybullet_utils.bullet_client import BulletClient

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

    def step(self, targets_rad: np.ndarray) -> None:
        """Moves one control step."""
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

    def state(self) -> dict[str, np.ndarray]:
        """Links (centres, velocities, frames, contacts) and joints (angles, speeds, torques), world frame."""
        bullet, robot = self.bullet, self.robot
        moving = {"computeLinkVelocity": 1, "computeForwardKinematics": 1}
        poses = [bullet.getLinkState(robot, link, **moving) for link in self.links[1:]]
        place, turn = bullet.getBasePositionAndOrientation(robot)
        velocity, spin = bullet.getBaseVelocity(robot)
        joints = np.array([state[:2] + state[3:] for state in bullet.getJointStates(robot, self.joints)])
        touching = {point[3] for point in bullet.getContactPoints(robot, self.floor) if point[9] > 0}
        turns = [turn, *(pose[1] for pose in poses)]
        return {
            "positions": np.array([place, *(pose[0] for pose in poses)]),
            "rotations": np.array([bullet.getMatrixFromQuaternion(turn) for turn in turns]).reshape(-1, 3, 3),
            "velocities": np.array([velocity, *(pose[6] for pose in poses)]),
            "spin": np.array(spin),
            "touching": np.isin(self.links, list(touching)),
            "angles": joints[:, 0],
            "speeds": joints[:, 1],
            "torques": joints[:, 2],
        }


def observe(body: dict, state: dict[str, np.ndarray], previous_action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the policy sees: (n, 14) values of the joints and (13,), or (37,), of the whole body, float32.

    Lengths are in units of L, speeds in sqrt(g L); x of the heading frame points to the nose, seen from above.
    """
    table = {name: np.array(values) for name, values in body.items()}
    length, speed, signs, members = body["length_m"], body["speed_m_s"], table["signs"], table["members"]
    root = state["rotations"][0] @ HALF_TURN
    yaw = np.arctan2(root[1, 0], root[0, 0])
    heading = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    touching = members @ state["touching"] > 0
    base, mains = state["positions"][0], table["mains"]
    tips = state["positions"][mains] + state["rotations"][mains][:, :, 0] * table["tip_m"][:, None]
    own = np.stack([signs * state["angles"] / RANGE_RAD, signs * state["speeds"] / JOINT_SPEED_RAD_S], axis=1)
    above = np.where(table["parent"][:, None] < 0, 0.0, own[table["parent"]])
    joints = [
        own,
        previous_action[:, None],
        (signs * state["torques"] / table["torque_n_m"])[:, None],
        (table["group_weights"] @ state["positions"] - base) @ heading / length,
        table["group_weights"] @ state["velocities"] @ heading / speed,
        np.clip((tips[:, 2] - table["tip_radius_m"]) / length, 0, 2)[:, None],
        touching[:-1, None],
        above,
    ]
    rise = base[2] / body["rest_height_m"]
    whole = [-root[2], state["velocities"][0] @ heading / speed, state["spin"] @ root * length / speed]
    whole += [[rise], heading[0, :2], [touching.mean()], [1 - rise] * body["terrain_samples"]]
    return tuple(np.clip(np.concatenate(part, axis=-1), -CLIP, CLIP).astype(np.float32) for part in (joints, whole))


def main() -> None:
    """Drives one episode and prints how fast it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("mujoco", "pybullet"), default="mujoco")
    parser.add_argument("--steps", type=int, default=128, help="control steps of 1/15 s (128)")
    arguments = parser.parse_args()
    body = json.loads((FOLDER / "body.json").read_text())
    robot = MuJoCoRobot(body) if arguments.engine == "mujoco" else BulletRobot(body)
    policy = torch.jit.load(str(FOLDER / "policy.pt"))
    policy.reset()
    state, action = robot.state(), np.zeros(len(body["joints"]))
    start_m = state["positions"][0, 0]
    for _ in range(arguments.steps):
        with torch.no_grad():
            action = policy(*map(torch.from_numpy, observe(body, state, action))).numpy()
        robot.step(np.array(body["signs"]) * action * RANGE_RAD)
        state = robot.state()
    seconds = arguments.steps * PHYSICS_STEPS * PHYSICS_STEP_S
    print(f"{(state['positions'][0, 0] - start_m) / seconds:.3f} m/s forwards over {seconds:.1f} s")


if __name__ == "__main__":
    main()
