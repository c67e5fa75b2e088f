"""What an exported robot needs beside its policy: `body.json` and the stand-alone script `run_policy.py`."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

from robogrammar_env import run_policy
from robogrammar_env.engine.base import Motors, may_collide
from robogrammar_env.errors import RobotError
from robogrammar_env.observation import TERRAIN_DIM, body_frame
from robogrammar_env.robot_model import RobotModel


def write_runner(robot: RobotModel, folder: str | Path, *, terrain_samples: bool = False) -> list[Path]:
    """Writes `body.json` and `run_policy.py` into a folder, which is made if needed.

    The script runs `policy.pt` on the `robot.xml` or `robot.urdf` of the same folder.

    Args:
        robot: the body.
        folder: the export's folder.
        terrain_samples: whether the policy was trained with ground heights in its observations.

    Returns:
        The two paths.

    Raises:
        RobotError: the robot has wheels, which the script cannot drive.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables = json.dumps(body_tables(robot, terrain_samples=terrain_samples))
    (folder / "body.json").write_text(tables + "\n", encoding="utf-8")
    shutil.copyfile(run_policy.__file__, folder / "run_policy.py")
    return [folder / "body.json", folder / "run_policy.py"]


def body_tables(robot: RobotModel, *, terrain_samples: bool) -> dict[str, Any]:
    """What `run_policy.observe` needs to know of a robot, as JSON can hold it; see `observation.BodyFrame`."""
    frame, motors = body_frame(robot), Motors.of(robot)
    if motors.wheels.any():
        raise RobotError("a robot with wheels cannot be exported together with a policy")
    pairs = combinations(range(len(robot.links)), 2)
    return {
        "links": [link.name for link in robot.links],
        "joints": [robot.links[index].name for index in robot.joints],
        "signs": frame.signs.tolist(),
        "mains": frame.mains.tolist(),
        "tip_m": frame.half_lengths_m.tolist(),
        "tip_radius_m": frame.tip_radius_m.tolist(),
        "group_weights": frame.group_weights.tolist(),
        "members": frame.members.astype(int).tolist(),
        "parent": frame.description.parent.tolist(),
        "torque_n_m": motors.torque_n_m.tolist(),
        "kp": motors.kp.tolist(),
        "kd": motors.kd.tolist(),
        "length_m": frame.length_m,
        "speed_m_s": frame.speed_m_s,
        "rest_height_m": frame.rest_height_m,
        "spawn_position_m": list(robot.spawn_position_m),
        "terrain_samples": TERRAIN_DIM if terrain_samples else 0,
        "passing_links": [pair for pair in pairs if not may_collide(robot, *pair)],
    }
