"""What an episode was like: RoboGrammar's objective, and behaviour descriptors by name."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robogrammar_env.engine.base import CONTROL_STEP_S, RobotState
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel


class Descriptor(NamedTuple):
    """A behaviour descriptor.

    Attributes:
        meaning: what it is, a mean over the episode's control steps unless it says otherwise.
        unit: SI unit, "1" for shares and ratios.
        low: lower end of the range that an archive should cover.
        high: upper end.
    """

    meaning: str
    unit: str
    low: float
    high: float


DESCRIPTORS: dict[str, Descriptor] = {
    "ground_contact_share": Descriptor("share of the feet (last leg links) that touch the ground", "1", 0.0, 1.0),
    "body_height": Descriptor("height of the base's centre above the ground under it", "m", 0.0, 0.3),
    "body_height_ratio": Descriptor("the same over its value at rest", "1", 0.0, 1.5),
    "pitch_rms_rad": Descriptor("root mean square of the base's pitch", "rad", 0.0, 1.0),
    "roll_rms_rad": Descriptor("root mean square of the base's roll", "rad", 0.0, 1.0),
    "lateral_drift_m": Descriptor("distance from the start along y, at the end", "m", 0.0, 2.0),
    "heading_change_rad": Descriptor("angle between heading and +x, at the end", "rad", 0.0, math.pi),
    "energy_w": Descriptor("mechanical power of all motors, sum of |torque * speed|", "W", 0.0, 10.0),
    "joint_speed_rad_s": Descriptor("absolute speed of a joint, mean over joints", "rad/s", 0.0, 5.0),
    "step_rate_hz": Descriptor("how often a foot comes down, per foot and second", "1/s", 0.0, 5.0),
}


def feet(robot: RobotModel) -> np.ndarray:
    """Indices of the last links of all legs; of all torso links if there are no legs."""
    carriers = {link.parent for link in robot.links}
    ends = [i for i, link in enumerate(robot.links) if i not in carriers and link.kind in ("limb", "wheel")]
    return np.array(ends or [i for i, link in enumerate(robot.links) if link.kind == "torso"])


class EpisodeRecord:
    """Sums over the control steps of one episode; one sample at the end of each step.

    RoboGrammar takes its objective in every physics step. Here the speed term is exact (net displacement over time is
    the mean of the physics steps' speeds), the two orientation terms are means of the control steps' ends.

    Args:
        robot: whose episode.
        weights: RoboGrammar's (w_d, w_u, w_v) of the terrain.
        start: state at the start.
    """

    def __init__(self, robot: RobotModel, weights: tuple[float, float, float], start: RobotState) -> None:
        self._weights, self._start = weights, start.base_position
        self._feet = feet(robot)
        self._rest_height_m = robot.spawn_position_m[2]
        self._touching = start.contacts[self._feet]
        self._sums = [0.0] * 8
        self.steps = 0

    def add(self, state: RobotState, height_m: float) -> None:
        """Counts one control step; `height_m`: of the base above the ground."""
        touching = state.contacts[self._feet]
        landed = touching & ~self._touching
        count, speeds = len(self._feet), np.abs(state.joint_velocities)
        power = np.abs(state.motor_torques).dot(speeds)
        forward, up = -state.base_rotation[0, 0], state.base_rotation[2, 2]
        roll, pitch = roll_pitch(state.base_rotation)
        posture = self._weights[0] * forward + self._weights[1] * up
        shares = np.count_nonzero(touching) / count, np.count_nonzero(landed) / count
        speed = np.add.reduce(speeds) / len(speeds)
        terms = (shares[0], height_m, pitch**2, roll**2, power, speed, shares[1], posture)
        self._sums = [total + float(term) for total, term in zip(self._sums, terms, strict=True)]
        self._touching, self._last = touching, state
        self.steps += 1

    def summary(self) -> dict[str, float]:
        """The finished episode: `speed_m_s`, `robogrammar_objective`, `steps` and every descriptor by name."""
        touching, height, pitch, roll, power, speed, landed, posture = (total / self.steps for total in self._sums)
        seconds = self.steps * CONTROL_STEP_S
        moved = (self._last.base_position - self._start).tolist()
        forward = moved[0] / seconds
        root = self._last.base_rotation @ BASE_ROTATION
        return {
            "speed_m_s": forward,
            "robogrammar_objective": posture + self._weights[2] * forward,
            "steps": float(self.steps),
            "ground_contact_share": touching,
            "body_height": height,
            "body_height_ratio": height / self._rest_height_m,
            "pitch_rms_rad": math.sqrt(pitch),
            "roll_rms_rad": math.sqrt(roll),
            "lateral_drift_m": abs(moved[1]),
            "heading_change_rad": abs(math.atan2(root[1, 0], root[0, 0])),
            "energy_w": power,
            "joint_speed_rad_s": speed,
            "step_rate_hz": landed / CONTROL_STEP_S,
        }


def roll_pitch(base_rotation: np.ndarray) -> tuple[float, float]:
    """Roll and pitch, rad, of the base seen with its nose ahead; nose down is positive pitch."""
    down = -base_rotation[2, 0], -base_rotation[2, 1], base_rotation[2, 2]  # third row of the root's rotation
    return math.atan2(down[1], down[2]), math.atan2(-down[0], math.hypot(down[1], down[2]))
