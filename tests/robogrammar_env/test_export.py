"""Exported robots, opened by stock simulators in processes that know nothing of this project."""

import json
import subprocess
import sys

import numpy as np
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.export import _roll_pitch_yaw, write_robot
from robogrammar_env.robot_model import BASE_ROTATION, quaternion_matrix

WHEELED = "apr30_wheel: 0 7 6 2 16 8 20"

BULLET = """
import json, sys
import pybullet
pybullet.connect(pybullet.DIRECT)
spawn = json.loads(sys.argv[2])
flags = pybullet.URDF_USE_INERTIA_FROM_FILE
body = pybullet.loadURDF(sys.argv[1], spawn, [0, 0, 1, 0], flags=flags)
links = range(-1, pybullet.getNumJoints(body))
found = {}
for index in links:
    name = pybullet.getBodyInfo(body)[0] if index < 0 else pybullet.getJointInfo(body, index)[12]
    dynamics = pybullet.getDynamicsInfo(body, index)
    if index < 0:
        place, turn = pybullet.getBasePositionAndOrientation(body)
    else:
        place, turn = pybullet.getLinkState(body, index)[:2]
    kind = -1 if index < 0 else pybullet.getJointInfo(body, index)[2]
    force = 0 if index < 0 else pybullet.getJointInfo(body, index)[10]
    found[name.decode()] = dict(mass=dynamics[0], friction=dynamics[1], inertia=dynamics[2], place=place,
        matrix=pybullet.getMatrixFromQuaternion(turn), hinge=kind == pybullet.JOINT_REVOLUTE, force=force)
assert not any(name.startswith("robogrammar") for name in sys.modules)
print("RESULT" + json.dumps(found))
"""

MUJOCO = """
import json, sys
import mujoco, numpy
model = mujoco.MjModel.from_xml_path(sys.argv[1])
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
found = {}
for index in range(1, model.nbody):
    body = model.body(index)
    found[body.name] = dict(mass=model.body_mass[index], inertia=sorted(model.body_inertia[index].tolist()),
        place=data.xpos[index].tolist(), matrix=data.xmat[index].tolist(),
        hinge=bool(body.jntnum[0]) and index > 1)
data.ctrl[:] = 0.3
mujoco.mj_step(model, data, nstep=240)
found["after"] = dict(finite=bool(numpy.isfinite(data.qpos).all()), actuators=model.nu, height=float(data.qpos[2]))
assert not any(name.startswith("robogrammar") for name in sys.modules)
print("RESULT" + json.dumps(found))
"""


def run_alone(code: str, *arguments: str) -> dict:
    """Runs code in a fresh interpreter that sees neither this folder nor PYTHONPATH."""
    done = subprocess.run([sys.executable, "-I", "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("RESULT")[1])


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED, WHEELED])
def test_urdf_in_stock_pybullet(tmp_path, text):
    model = robot(text)
    path = write_robot(model, tmp_path)[0]
    found = run_alone(BULLET, str(path), json.dumps(model.spawn_position_m))
    positions, rotations = model.forward_kinematics(np.zeros(model.num_joints), model.spawn_position_m, BASE_ROTATION)
    assert len(found) == len(model.links)
    for index, link in enumerate(model.links):
        seen = found[link.name]
        assert seen["mass"] == pytest.approx(link.mass_kg)
        assert seen["friction"] == pytest.approx(link.friction)
        assert seen["place"] == pytest.approx(positions[index], abs=1e-6)
        assert np.reshape(seen["matrix"], (3, 3)) == pytest.approx(rotations[index], abs=1e-6)
        assert seen["hinge"] == (index in model.joints)
        assert seen["force"] == (1.0 if index in model.joints else 0.0)


@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED, WHEELED])
def test_mjcf_in_stock_mujoco(tmp_path, text):
    pytest.importorskip("mujoco")
    model = robot(text)
    path = write_robot(model, tmp_path)[1]
    found = run_alone(MUJOCO, str(path))
    positions, rotations = model.forward_kinematics(np.zeros(model.num_joints), model.spawn_position_m, BASE_ROTATION)
    after = found.pop("after")
    assert after["finite"] and after["actuators"] == model.num_joints and 0 < after["height"] < 0.5
    assert len(found) == len(model.links)
    for index, link in enumerate(model.links):
        seen = found[link.name]
        assert seen["mass"] == pytest.approx(link.mass_kg)
        assert seen["place"] == pytest.approx(positions[index], abs=1e-9)
        assert np.reshape(seen["matrix"], (3, 3)) == pytest.approx(rotations[index], abs=1e-9)
        assert seen["hinge"] == (index in model.joints)


def test_angles_rebuild_every_rotation():
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(50, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    straight_up = [
        (0, 0.5**0.5, 0, 0.5**0.5),
        (0, -(0.5**0.5), 0, 0.5**0.5),
        (0.5, 0.5, 0.5, 0.5),
        (0.5, -0.5, 0.5, 0.5),
    ]
    for quaternion in [*quaternions, *straight_up]:
        rotation = quaternion_matrix(tuple(quaternion))
        roll, pitch, yaw = _roll_pitch_yaw(rotation)
        assert turn(2, yaw) @ turn(1, pitch) @ turn(0, roll) == pytest.approx(rotation, abs=1e-9)


def turn(axis: int, angle: float) -> np.ndarray:
    """Rotation about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = np.cos(angle)
    rotation[i, j], rotation[j, i] = -np.sin(angle), np.sin(angle)
    return rotation
