"""Robots that several tests of physics share."""

from robogrammar_env.design import as_design
from robogrammar_env.robot import build_robot
from robogrammar_env.robot_model import RobotModel

WALKER = "body(swing, obtuse_lift long) -lift- body(swing, obtuse_lift long)"
FLAT = "0 12 7 1 12 3 10 1 3 1 12 12 1 3 10 2 16 8 1 3 12 4 1 3 2 12 18 9 18 8 5 5 1 12 6 3"
RIDGED = "0 7 1 13 1 2 16 12 13 6 4 19 4 17 5 3 2 16 4 5 18 9 8 9 9 8"
STANDING = "body(swing, acute_lift long) -fixed- body(swing, acute_lift long)"


def robot(text: str) -> RobotModel:
    """The robot of a design's text."""
    return build_robot(as_design(text))
