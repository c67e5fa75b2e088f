"""Pictures: known hits of rays, robots that are seen, films that open."""

import gymnasium
import imageio.v3 as imageio
import numpy as np
import pytest
from bodies import WALKER, robot

from robogrammar_env import raycast
from robogrammar_env.render import Renderer, film, portrait, save_film
from robogrammar_env.simulation import EpisodeSettings, Simulation
from robogrammar_env.terrain import make_terrain

ORIGIN = np.zeros(3)
AHEAD = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def test_rays_hit_what_is_ahead():
    start, end = np.array([3.0, 0.0, -1.0]), np.array([3.0, 0.0, 1.0])
    assert raycast.hit_capsule(ORIGIN, AHEAD, start, end, 0.5) == pytest.approx([2.5, np.inf, np.inf])
    assert raycast.hit_cylinder(ORIGIN, AHEAD, start, end, 0.5) == pytest.approx([2.5, np.inf, np.inf])
    assert raycast.hit_sphere(ORIGIN, AHEAD, start * [1, 1, 0], 1.0) == pytest.approx([2.0, np.inf, np.inf])
    half = np.array([1.0, 1.0, 1.0])
    assert raycast.hit_box(ORIGIN, AHEAD, np.array([4.0, 0, 0]), half) == pytest.approx([3.0, np.inf, np.inf])


def test_capsule_has_round_ends_and_cylinder_flat_ones():
    start, end = np.array([3.0, 0.0, 0.0]), np.array([4.0, 0.0, 0.0])
    assert raycast.hit_capsule(ORIGIN, AHEAD[:1], start, end, 0.5) == pytest.approx([2.5])
    assert raycast.hit_cylinder(ORIGIN, AHEAD[:1], start, end, 0.5) == pytest.approx([3.0])


def test_heightfield_is_hit_at_its_height():
    field = make_terrain("hill").heightfield
    origin = np.array([3.0, 0.0, 2.0])
    rays = np.array([[0.1, 0.2, -1.0], [0.5, 0.0, -0.5], [0.0, 0.0, 1.0]])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distance = raycast.hit_heightfield(origin, rays, field)
    points = origin + rays[:2] * distance[:2, None]
    assert points[:, 2] == pytest.approx(field.height_at(points[:, 0], points[:, 1]), abs=0.02)
    assert np.isinf(distance[2])


def test_portrait_shows_both_sides_and_the_nose():
    picture = portrait(robot(WALKER), width=160, height=120).astype(int)
    assert picture.shape == (120, 160, 3)
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    assert np.sum((red > green + 40) & (blue < green)) > 20  # nose, left legs
    assert np.sum(blue > red + 30) > 20  # right legs
    assert np.ptp(picture[-1].sum(axis=1)) > 20  # the floor has a pattern


@pytest.mark.parametrize("terrain", ["flat", "ridged", "hill"])
def test_moving_robots_change_the_picture(terrain):
    simulation = Simulation(WALKER, terrain=terrain)
    simulation.reset(None, training=False)
    renderer = Renderer(simulation.robot, simulation.terrain, width=96, height=64)
    first = renderer.frame(simulation.state)
    for _ in range(5):
        simulation.step(np.ones(simulation.num_joints))
    assert first.dtype == np.uint8
    assert not np.array_equal(first, renderer.frame(simulation.state))


def test_a_fast_robot_stays_in_the_middle():
    body = robot(WALKER)
    positions, rotations = body.rest_pose()
    renderer = Renderer(body, make_terrain("flat"), width=96, height=64)
    middles = []
    for frame in range(46):  # 3 s
        ahead = np.array([2.0 * frame / 15, 0.0, 0.0])
        picture = renderer.picture(positions + ahead, rotations).astype(int)
        legs = np.abs(picture[..., 0] - picture[..., 2]) > 30  # orange and blue
        middles.append(np.nonzero(legs)[1].mean() if legs.any() else np.inf)
    assert middles[-1] == pytest.approx(middles[0], abs=1.5)
    assert middles == pytest.approx([middles[0]] * len(middles), abs=20)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films_open_again(tmp_path, suffix):
    simulation = Simulation(WALKER, settings=EpisodeSettings(control_steps=6))
    rng = np.random.default_rng(0)
    frames = film(simulation, lambda seen: rng.uniform(-1, 1, len(seen.joints)), width=96, height=64)
    save_film(tmp_path / f"walk{suffix}", frames)
    assert imageio.imread(tmp_path / f"walk{suffix}").shape[1:] == (64, 96, 3)


def test_other_film_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        save_film(tmp_path / "walk.avi", [])


def test_environment_renders():
    environment = gymnasium.make("RoboGrammar-v0", render_mode="rgb_array")
    environment.reset(seed=0)
    assert environment.render().shape == (320, 480, 3)
    environment.close()
