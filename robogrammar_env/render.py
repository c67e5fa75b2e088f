"""Pictures and films of robots, without a graphics stack and without physics.

A small ray caster in numpy: capsules, cylinders, boxes and heightfields with one light, shadows on the ground and a
checker pattern of 0.25 m, so that motion is seen. Torsos are dark (the nose is red), legs orange on the left and blue
on the right, ever lighter towards the foot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from robogrammar_env import raycast
from robogrammar_env.description import size_m
from robogrammar_env.engine.base import CONTROL_STEP_S, RobotState, link_ends
from robogrammar_env.observation import Observation
from robogrammar_env.robot_model import Link, RobotModel
from robogrammar_env.simulation import Simulation
from robogrammar_env.terrain import Terrain, make_terrain

TILE_M = 0.25
_LIGHT = np.array([-0.35, -0.45, 0.82]) / np.linalg.norm([-0.35, -0.45, 0.82])
_SKY_LOW, _SKY_HIGH = np.array([0.93, 0.95, 0.97]), np.array([0.62, 0.76, 0.90])
_GROUND_DARK, _GROUND_LIGHT = np.array([0.62, 0.66, 0.62]), np.array([0.82, 0.85, 0.80])
_VIEW = np.array([0.55, -1.0, 0.5])  # from the target to the camera, in units of the distance
_HAZE_M = 8.0  # boxes farther away are not drawn
_FIELD_OF_VIEW = 0.6  # half the picture's width at distance 1
_CATCH_UP = 0.3  # share of its error that the camera makes up for in a frame
_SPEED_UP = 2 - _CATCH_UP - 2 * (1 - _CATCH_UP) ** 0.5  # share that its speed changes by: critical damping


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that stands upright.

    Attributes:
        position: (3,) m.
        target: (3,) point in the middle of the picture, m.
    """

    position: np.ndarray
    target: np.ndarray

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors to the right, up and ahead."""
        ahead = self.target - self.position
        ahead = ahead / np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right = right / np.linalg.norm(right)
        return right, np.cross(right, ahead), ahead

    def rays(self, width: int, height: int) -> np.ndarray:
        """(height * width, 3) unit directions through the pixels, row by row from the top."""
        right, up, ahead = self.axes()
        x = (np.arange(width) + 0.5) / width * 2 - 1
        y = (1 - (np.arange(height) + 0.5) / height * 2) * height / width
        across = ahead + _FIELD_OF_VIEW * (x[None, :, None] * right + y[:, None, None] * up)
        rays = across.reshape(-1, 3)
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)


@dataclass(frozen=True)
class Solid:
    """One link as it is drawn: axis end points (3,), radius, shape and (3,) colour."""

    start: np.ndarray
    end: np.ndarray
    radius: float
    shape: str
    colour: np.ndarray

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """(k,) distances along (k, 3) rays."""
        cast = raycast.hit_cylinder if self.shape == "cylinder" else raycast.hit_capsule
        return cast(origin, rays, self.start, self.end, self.radius)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """(k, 3) outward normals at (k, 3) surface points."""
        axis = self.end - self.start
        along = (points - self.start) @ axis / (axis @ axis)
        if self.shape == "capsule":
            along = np.clip(along, 0, 1)
        away = points - self.start - along[:, None] * axis
        if self.shape == "cylinder":
            on_end = np.abs(along - 0.5) > 0.4999
            away[on_end] = np.sign(along[on_end] - 0.5)[:, None] * axis
        return away / np.linalg.norm(away, axis=1, keepdims=True)


class Renderer:
    """Draws one robot on one terrain; the camera follows smoothly, and keeps pace with a fast robot.

    Args:
        robot: whom to draw.
        terrain: where.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        oversampling: rays per pixel along each side; 2 smooths edges and takes 4 times as long.
        closeness: 1 leaves a robot room to move; a larger one brings the camera nearer.
    """

    def __init__(
        self,
        robot: RobotModel,
        terrain: Terrain,
        *,
        width: int = 480,
        height: int = 320,
        oversampling: int = 1,
        closeness: float = 1.0,
    ) -> None:
        self._robot, self._terrain = robot, terrain
        self._width, self._height, self._oversampling = width, height, oversampling
        self._distance_m = (0.35 + 1.6 * size_m(robot)) / closeness
        self._colours = [_colour(robot, link) for link in robot.links]
        self._target: np.ndarray | None = None
        self._pace = np.zeros(3)  # of the target, m a frame

    def frame(self, state: RobotState) -> np.ndarray:
        """(height, width, 3) uint8 picture of a state."""
        return self.picture(state.link_positions, state.link_rotations)

    def picture(self, positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """(height, width, 3) uint8 picture of (L, 3) link centres and (L, 3, 3) link frames."""
        camera = self._follow(positions)
        start, end = link_ends(self._robot, positions, rotations)
        solids = [
            Solid(start[i], end[i], link.radius_m, link.shape, self._colours[i])
            for i, link in enumerate(self._robot.links)
        ]
        size = self._height * self._oversampling, self._width * self._oversampling
        colours = _paint(camera, solids, self._terrain, size).reshape(*size, 3)
        return _shrunk(colours, self._oversampling)

    def _follow(self, positions: np.ndarray) -> Camera:
        middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
        expected = middle if self._target is None else self._target + self._pace
        self._target = expected + _CATCH_UP * (middle - expected)
        self._pace = self._pace + _SPEED_UP * (middle - expected)  # else a fast robot runs out of the picture
        position = self._target + self._distance_m * _VIEW
        ground = float(self._terrain.height_at(position[0], position[1]))
        position = np.array([*position[:2], max(position[2], ground + 0.1)])
        return Camera(position, self._target)


def portrait(robot: RobotModel, *, width: int = 320, height: int = 240) -> np.ndarray:
    """(height, width, 3) uint8 picture of a robot at rest on a floor; needs no physics."""
    positions, rotations = robot.rest_pose()
    flat = make_terrain("flat")
    renderer = Renderer(robot, flat, width=width, height=height, oversampling=2, closeness=1.4)
    return renderer.picture(positions + np.array(robot.spawn_position_m), rotations)


def film(
    simulation: Simulation, act: Callable[[Observation], np.ndarray], *, seed: int | None = None, **size: int
) -> Iterator[np.ndarray]:
    """Plays one full episode and yields its pictures, 15 a second.

    Args:
        simulation: of the body.
        act: from observation to (n,) action.
        seed: of the episode; None is without noise.
        size: `width`, `height` and `oversampling` of the pictures.
    """
    observation = simulation.reset(seed, training=False)
    renderer = Renderer(simulation.robot, simulation.terrain, **size)
    yield renderer.frame(simulation.state)
    over = False
    while not over:
        step = simulation.step(act(observation))
        observation, over = step.observation, step.terminated or step.truncated
        yield renderer.frame(simulation.state)


def save_film(path: str | Path, pictures: Iterable[np.ndarray]) -> None:
    """Writes pictures as .gif or .mp4, in real time.

    Raises:
        ValueError: the name ends otherwise.
    """
    path = Path(path)
    if path.suffix == ".gif":
        _save_gif(path, list(pictures))
    elif path.suffix == ".mp4":
        imageio.imwrite(path, list(pictures), fps=1 / CONTROL_STEP_S, macro_block_size=2)
    else:
        raise ValueError(f"a film's name ends in .gif or .mp4, got {path.name!r}")


def _save_gif(path: Path, pictures: list[np.ndarray]) -> None:
    """One palette for the whole film, so that colours do not flicker; GIF counts time in 1/100 s."""
    samples = np.concatenate(pictures[:: max(1, len(pictures) // 6)])
    palette = Image.fromarray(samples).quantize(256, method=Image.Quantize.MAXCOVERAGE)
    frames = [Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    ends_ms = 10 * np.rint(100 * CONTROL_STEP_S * np.arange(len(frames) + 1)).astype(int)
    durations = np.diff(ends_ms).tolist()
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, disposal=1)


def _colour(robot: RobotModel, link: Link) -> np.ndarray:
    if link.kind == "torso":
        return np.array([0.80, 0.25, 0.22]) if link.parent < 0 else np.array([0.27, 0.30, 0.36])
    if link.kind == "wheel":
        return np.array([0.15, 0.15, 0.15])
    base = {1: np.array([0.93, 0.55, 0.20]), -1: np.array([0.22, 0.50, 0.78])}.get(link.side, np.full(3, 0.5))
    deepest = max(other.depth for other in robot.links) or 1
    return base + (1 - base) * 0.45 * link.depth / deepest


def _paint(camera: Camera, solids: list[Solid], terrain: Terrain, size: tuple[int, int]) -> np.ndarray:
    """(pixels, 3) colours in 0..1."""
    height, width = size
    rays = camera.rays(width, height)
    colours = _SKY_LOW + (_SKY_HIGH - _SKY_LOW) * np.clip(2 * rays[:, 2:3], 0, 1)
    distance = _paint_ground(colours, camera.position, rays, solids, terrain)
    for solid in solids:
        pixels = _pixels_near(camera, solid, width, height)
        hit = solid.hit(camera.position, rays[pixels])
        closer = hit < distance[pixels]
        pixels, hit = pixels[closer], hit[closer]
        distance[pixels] = hit
        points = camera.position + rays[pixels] * hit[:, None]
        colours[pixels] = solid.colour * _brightness(solid.normals(points))[:, None]
    return colours


def _paint_ground(
    colours: np.ndarray, origin: np.ndarray, rays: np.ndarray, solids: list[Solid], terrain: Terrain
) -> np.ndarray:
    """Paints what rays hit of the terrain; returns their (pixels,) distances."""
    distance = np.full(len(rays), raycast.NEVER)
    for box in terrain.boxes:
        apart = np.abs(origin - box.center_m) - box.half_extents_m
        if np.linalg.norm(np.maximum(apart, 0)) > _HAZE_M:
            continue
        hit = raycast.hit_box(origin, rays, np.array(box.center_m), np.array(box.half_extents_m))
        distance = np.minimum(distance, hit)
    if terrain.heightfield is not None:
        distance = np.minimum(distance, raycast.hit_heightfield(origin, rays, terrain.heightfield))
    seen = np.flatnonzero(np.isfinite(distance))
    points = origin + rays[seen] * distance[seen, None]
    near = np.exp(-((distance[seen] / 5.0) ** 2))[:, None]  # far tiles blend into haze, which also hides their flicker
    odd = np.floor((points + 1e-4) / TILE_M).sum(axis=1) % 2 == 1
    tiles = np.where(odd[:, None], _GROUND_DARK, _GROUND_LIGHT)
    light = np.where(_is_shadowed(points, solids), 0.55, 1.0) * _slope_light(points, terrain)
    colours[seen] = near * tiles * light[:, None] + (1 - near) * _SKY_LOW
    return distance


def _slope_light(points: np.ndarray, terrain: Terrain) -> np.ndarray:
    """(k,) brightness of ground points: level parts are light, flanks of boxes dark, hills between."""
    step = 0.02
    x, y = points[:, 0], points[:, 1]
    if terrain.heightfield is None:
        level = terrain.height_at(x, y) - points[:, 2] < 1e-3
        return np.where(level, 1.0, 0.75)
    rise_x = (terrain.height_at(x + step, y) - terrain.height_at(x - step, y)) / (2 * step)
    rise_y = (terrain.height_at(x, y + step) - terrain.height_at(x, y - step)) / (2 * step)
    normals = np.stack([-rise_x, -rise_y, np.ones_like(x)], axis=1)
    return _brightness(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _is_shadowed(points: np.ndarray, solids: list[Solid]) -> np.ndarray:
    """(k,) bool: a robot's link stands between a ground point and the light."""
    ends = np.array([[solid.start, solid.end] for solid in solids]).reshape(-1, 3)
    reach = np.linalg.norm(ends - ends.mean(axis=0), axis=1).max() + 0.1
    offset = points - ends.mean(axis=0)
    apart = np.linalg.norm(offset - (offset @ _LIGHT)[:, None] * _LIGHT, axis=1)
    near = np.flatnonzero(apart < reach)
    shadowed = np.zeros(len(points), dtype=bool)
    rays = np.broadcast_to(_LIGHT, (len(near), 3))
    for solid in solids:
        shadowed[near] |= np.isfinite(solid.hit(points[near], rays))
    return shadowed


def _brightness(normals: np.ndarray) -> np.ndarray:
    """(k,) brightness of surfaces with (k, 3) unit normals: light from above, a little from everywhere."""
    return 0.45 + 0.2 * (normals[:, 2] * 0.5 + 0.5) + 0.45 * np.clip(normals @ _LIGHT, 0, 1)


def _pixels_near(camera: Camera, solid: Solid, width: int, height: int) -> np.ndarray:
    """Indices of the pixels in the rectangle around a link's picture."""
    right, up, ahead = camera.axes()
    ends = np.array([solid.start, solid.end]) - camera.position
    depth = np.maximum(ends @ ahead - solid.radius, 0.05)
    margin = solid.radius * 1.3
    x = np.concatenate([(ends @ right - margin) / depth, (ends @ right + margin) / depth]) / _FIELD_OF_VIEW
    y = np.concatenate([(ends @ up - margin) / depth, (ends @ up + margin) / depth]) / _FIELD_OF_VIEW * width / height
    columns = np.clip([(x.min() + 1) / 2 * width - 1, (x.max() + 1) / 2 * width + 2], 0, width).astype(int)
    rows = np.clip([(1 - y.max()) / 2 * height - 1, (1 - y.min()) / 2 * height + 2], 0, height).astype(int)
    return (np.arange(*rows)[:, None] * width + np.arange(*columns)[None, :]).ravel()


def _shrunk(colours: np.ndarray, factor: int) -> np.ndarray:
    """Averages blocks of pixels, (h * f, w * f, 3) in 0..1 to (h, w, 3) uint8."""
    height, width = colours.shape[0] // factor, colours.shape[1] // factor
    blocks = colours.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return (np.clip(blocks, 0, 1) * 255 + 0.5).astype(np.uint8)
