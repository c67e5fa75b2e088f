"""Pictures of robots with matplotlib, without physics or a display."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from numpy.typing import ArrayLike

from robogrammar_env.errors import unknown_name
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel

LINK_COLORS = {"torso": "#4c72b0", "mount": "#8c8c8c", "limb": "#dd8452", "wheel": "#55a868"}
"""Colour of each kind of link."""
JOINT_COLORS = {"roll": "#c44e52", "swing": "#2ca02c", "lift": "#9467bd", "wheel": "#202020", "other": "#808080"}
"""Colour of the dot at each hinge: by the motion that it makes."""

_GRID_M = 0.1
_RING = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)


class View(NamedTuple):
    """Where a picture is taken from: angle about the vertical from straight ahead, and height above the horizon."""

    azimuth_rad: float
    elevation_rad: float

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) rows: right and up in the picture, and towards the viewer, in the world."""
        ca, sa, ce, se = (f(angle) for angle in self for f in (np.cos, np.sin))
        return np.array([[-sa, ca, 0.0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]])


VIEWS = {
    "corner": View(np.radians(-55.0), np.radians(25.0)),
    "side": View(np.radians(-90.0), 0.0),
    "top": View(np.radians(-90.0), np.radians(90.0)),
    "front": View(0.0, 0.0),
}
"""Views by name: from the front right corner, from the right, from above, from ahead; the robot walks to the right."""


def draw_robot(
    axes: Axes, robot: RobotModel, *, view: str = "corner", joint_angles_rad: ArrayLike | None = None
) -> None:
    """Draws a robot standing at its start: capsules and cylinders, hinges as dots, a floor with squares of 10 cm.

    Args:
        axes: matplotlib axes to draw in; scale, limits and frame are set.
        robot: the robot.
        view: a key of `VIEWS`.
        joint_angles_rad: (num_joints,) pose; at rest by default.

    Raises:
        UnknownNameError: there is no such view.
    """
    if view not in VIEWS:
        raise unknown_name("view", view, VIEWS)
    camera = VIEWS[view].axes
    angles = np.zeros(robot.num_joints) if joint_angles_rad is None else joint_angles_rad
    positions, rotations = robot.forward_kinematics(angles, robot.spawn_position_m, BASE_ROTATION)
    _draw_floor(axes, camera, positions)
    depth = _depths(robot, positions @ camera[2])
    for i in np.argsort(depth):
        outline = _outline(_surface(robot, int(i), positions[i], rotations[i]) @ camera[:2].T)
        color = _lit(LINK_COLORS[robot.links[i].kind], depth[i], depth)
        axes.add_patch(Polygon(outline, facecolor=color, edgecolor="#303030", linewidth=0.6, zorder=2))
        _draw_hinge(axes, robot, int(i), camera[:2] @ (positions[i] - rotations[i][:, 0] * 0.5 * robot.lengths_m[i]))
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()


def robot_figure(robot: RobotModel, title: str = "") -> Figure:
    """Makes a figure of a robot from the corner, the side and above."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, view in zip(figure.subplots(1, 3, width_ratios=[1.4, 1, 1]), ("corner", "side", "top"), strict=True):
        draw_robot(axes, robot, view=view)
        axes.set_title(view, fontsize=9)
    figure.suptitle(title, fontsize=10)
    _add_key(figure, robot)
    return figure


def sheet_figure(robots: Sequence[RobotModel], titles: Sequence[str]) -> Figure:
    """Makes a figure of many robots, each from the corner with its title."""
    columns = min(6, max(1, round(len(robots) ** 0.5 * 1.3)))
    rows = -(-len(robots) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, robot, title in zip(figure.axes, robots, titles, strict=False):
        draw_robot(axes, robot)
        axes.set_title(title, fontsize=8)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure; the ending of `path` (png, svg, pdf, jpg) says in which format.

    Raises:
        UnknownNameError: the format is not known.
        OSError: the file cannot be written.
    """
    known = figure.canvas.get_supported_filetypes()
    ending = Path(path).suffix.lstrip(".").lower()
    if ending not in known:
        raise unknown_name("picture format", ending, known)
    figure.savefig(path, dpi=100)


def _surface(robot: RobotModel, index: int, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Points whose hull is the link: the rims of a cylinder, or the spheres at both ends of a capsule."""
    half, radius = 0.5 * robot.lengths_m[index] * rotation[:, 0], robot.radii_m[index]
    if robot.links[index].shape == "cylinder":
        rim = radius * (np.cos(_RING)[:, None] * rotation[:, 1] + np.sin(_RING)[:, None] * rotation[:, 2])
    else:
        rim = radius * _sphere_points()
    return np.concatenate([position - half + rim, position + half + rim])


@cache
def _sphere_points(count: int = 500) -> np.ndarray:
    """(count, 3) points spread evenly over the unit sphere, on a Fibonacci spiral."""
    k = np.arange(count)
    z = 1.0 - (2.0 * k + 1.0) / count
    angle = k * np.pi * (3.0 - np.sqrt(5.0))
    r = np.sqrt(1.0 - z * z)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)


def _outline(points: np.ndarray) -> np.ndarray:
    """Convex hull of (N, 2) points, counter-clockwise (Andrew's monotone chain)."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    return np.array(_half_hull(ordered)[:-1] + _half_hull(ordered[::-1])[:-1])


def _half_hull(points: np.ndarray) -> list[np.ndarray]:
    hull: list[np.ndarray] = []
    for point in points:
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
    return hull


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _depths(robot: RobotModel, depth: np.ndarray) -> np.ndarray:
    """Puts mounts behind their torso segment, which their inner ends are buried in."""
    behind = [i for i, link in enumerate(robot.links) if link.kind == "mount"]
    parents = [robot.links[i].parent for i in behind]
    depth = depth.copy()
    depth[behind] = np.minimum(depth[behind], depth[parents] - 1e-3)
    return depth


def _lit(color: str, depth: float, depths: np.ndarray) -> np.ndarray:
    """Makes a colour lighter the further away its link is."""
    span = np.ptp(depths)
    far = 0.35 * (depths.max() - depth) / span if span > 1e-9 else 0.0
    return (1.0 - far) * np.array(to_rgb(color)) + far


def _draw_hinge(axes: Axes, robot: RobotModel, index: int, point: np.ndarray) -> None:
    joint = robot.links[index].joint
    if joint is not None and joint.hinge:
        axes.plot(*point, marker="o", markersize=4, color=JOINT_COLORS[_motion(joint.kind)], zorder=3)


def _motion(kind: str) -> str:
    return next((motion for motion in JOINT_COLORS if kind.endswith(motion)), "other")


def _draw_floor(axes: Axes, camera: np.ndarray, positions: np.ndarray) -> None:
    low, high = positions[:, :2].min(axis=0) - 0.15, positions[:, :2].max(axis=0) + 0.15
    low, high = np.floor(low / _GRID_M) * _GRID_M, np.ceil(high / _GRID_M) * _GRID_M
    for along in (0, 1):
        for value in np.arange(low[1 - along], high[1 - along] + 1e-9, _GRID_M):
            ends = np.zeros((2, 3))
            ends[:, along], ends[:, 1 - along] = (low[along], high[along]), value
            axes.plot(*(camera[:2] @ ends.T), color="#d8d8d8", linewidth=0.5, zorder=1)


def _add_key(figure: Figure, robot: RobotModel) -> None:
    kinds = {link.kind for link in robot.links}
    motions = {_motion(link.joint.kind) for link in robot.links if link.joint is not None and link.joint.hinge}
    parts = [Polygon([(0, 0)], facecolor=color, label=kind) for kind, color in LINK_COLORS.items() if kind in kinds]
    dots = [
        Line2D([], [], linestyle="", marker="o", markersize=4, color=color, label=f"{motion} hinge")
        for motion, color in JOINT_COLORS.items()
        if motion in motions
    ]
    figure.legend(handles=[*parts, *dots], loc="outside lower center", ncols=8, fontsize=7, frameon=False)
