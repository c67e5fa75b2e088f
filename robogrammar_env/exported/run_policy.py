"""Drives the robot of this folder for 128 control steps of 1/15 s: python run_policy.py [mujoco|pybullet]"""

import sys

import torch
from simulators import FOLDER, open_robot

robot = open_robot(*sys.argv[1:])
policy = torch.jit.load(str(FOLDER / "policy.pt"))
start_m = robot.state()["positions"][0, 0]
for _ in range(128):
    robot.step(policy(robot.state()))
print(f"{float(robot.state()['positions'][0, 0] - start_m) * 15 / 128:.3f} m/s forwards")
