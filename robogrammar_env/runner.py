"""What an exported robot needs beside its policy: `body.json`, the simulators, and the script that a user starts."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

from robogrammar_env import exported
from robogrammar_env.engine.base import Motors, may_collide
from robogrammar_env.errors import RobotError
from robogrammar_env.robot_model import RobotModel

SCRIPTS = ("simulators.py", "run_policy.py")


def write_runner(robot: RobotModel, folder: str | Path) -> list[Path]:
    """Writes `body.json`, `simulators.py` and `run_policy.py` into a folder, which is made if needed.

    The script runs `policy.pt` on the `robot.xml` or `robot.urdf` of the same folder.

    Returns:
        The paths.

    Raises:
        RobotError: the robot has wheels, which the script cannot drive.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "body.json").write_text(json.dumps(body_tables(robot), indent=1) + "\n", encoding="utf-8")
    for name in SCRIPTS:
        shutil.copyfile(Path(exported.__file__).with_name(name), folder / name)
    return [folder / name for name in ("body.json", *SCRIPTS)]


def body_tables(robot: RobotModel) -> dict[str, Any]:
    """What a simulator has to be told beside the model file, as JSON can hold it."""
    motors = Motors.of(robot)
    if motors.wheels.any():
        raise RobotError("a robot with wheels cannot be exported together with a policy")
    pairs = combinations(range(len(robot.links)), 2)
    return {
        "links": [link.name for link in robot.links],
        "joints": [robot.links[index].name for index in robot.joints],
        "torque_n_m": motors.torque_n_m.tolist(),
        "kp": motors.kp.tolist(),
        "kd": motors.kd.tolist(),
        "spawn_position_m": list(robot.spawn_position_m),
        "passing_links": [pair for pair in pairs if not may_collide(robot, *pair)],
    }
