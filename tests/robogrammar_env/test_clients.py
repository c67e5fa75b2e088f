"""PyBullet clients that are used again and again: no leak, no trace of the last body, little memory after a fork."""

import multiprocessing
import re
import sys
from pathlib import Path

import numpy as np
import pybullet
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.engine import clients
from robogrammar_env.engine.pybullet import PyBulletEngine
from robogrammar_env.robot import build_robot
from robogrammar_env.robot_model import RobotModel
from robogrammar_env.sampling import sample_design
from robogrammar_env.simulation import Simulation
from robogrammar_env.terrain import make_terrain

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def private_kib() -> int:
    """Memory of this process that it shares with no other, KiB."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, flags=re.MULTILINE))


def short_life(text: str) -> np.ndarray:
    """Builds an engine, moves it, closes it; returns where the links ended."""
    engine = PyBulletEngine(robot(text), make_terrain("flat"))
    rng = np.random.default_rng(0)
    for _ in range(6):
        engine.step(rng.uniform(-1.5, 1.5, engine.robot.num_joints))
    places = engine.state().link_positions
    engine.close()
    return places


def test_used_clients_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(clients, "BODIES_PER_WORLD", 5)
    fresh = {text: short_life(text) for text in (WALKER, FLAT, RIDGED)}
    for _ in range(4):
        for text, places in fresh.items():
            assert np.array_equal(places, short_life(text))


def test_used_worlds_remember_no_pair_of_links(monkeypatch):
    """PyBullet keeps what was said of a pair of links for the next body with the same number."""
    monkeypatch.setattr(clients, "_idle", [])
    bodies = [build_robot(sample_design(np.random.default_rng(seed))) for seed in range(12)]
    fresh = []
    for body in bodies:
        fresh.append(tangle(body))
        pybullet.disconnect(clients._idle.pop().number)
    for body in bodies:  # after this, one world has seen them all
        tangle(body)
    for body, places in zip(bodies, fresh, strict=True):
        assert np.array_equal(places, tangle(body))


def tangle(body: RobotModel) -> np.ndarray:
    """Moves the legs against each other; returns where the links ended."""
    engine = PyBulletEngine(body, make_terrain("flat"))
    rng = np.random.default_rng(0)
    for _ in range(40):
        engine.step(rng.uniform(-1.5, 1.5, body.num_joints))
    places = engine.state().link_positions
    engine.close()
    return places


@linux_only
def test_many_bodies_do_not_fill_the_memory():
    """In a process of its own, since freed memory of other tests would hide or fake a growth."""
    assert in_child("spawn", _growth) < 2 * 1024  # 7 MiB if shapes were not shared


def _growth(writer) -> None:
    """Sends how much 100 bodies add after the first 60, KiB."""
    clients.BODIES_PER_WORLD = 25
    for _ in range(60):
        short_life(WALKER)
    before = private_kib()
    for _ in range(100):
        short_life(WALKER)
    writer.send(private_kib() - before)


def in_child(method: str, target) -> float:
    """Runs a function in a child process and returns the number that it sends."""
    context = multiprocessing.get_context(method)
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=target, args=(writer,))
    child.start()
    writer.close()  # so that a child that fails is seen as the end of the pipe
    found = reader.recv()
    child.join()
    return found


def test_closed_engines_hand_their_client_on():
    first = PyBulletEngine(robot(WALKER), make_terrain("flat"))
    number = first._client
    first.close()
    second = PyBulletEngine(robot(FLAT), make_terrain("flat"))
    assert second._client == number
    second.close()


def test_forgotten_engines_hand_their_client_on():
    number = Simulation(WALKER).engine._client
    engine = PyBulletEngine(robot(FLAT), make_terrain("flat"))
    assert engine._client == number


def test_damaged_worlds_are_not_used_again():
    engine = PyBulletEngine(robot(WALKER), make_terrain("flat"))
    number = engine._client
    engine._place_base(np.array([0.0, 0.0, 1e6]))
    engine.close()
    assert all(client.number != number for client in clients._idle)


@linux_only
def test_forked_workers_share_the_memory_of_open_clients():
    """In a process of its own, as above."""
    assert in_child("spawn", _cost_after_a_fork) < 2 * 1024  # 29 MiB without sharing


def _cost_after_a_fork(writer) -> None:
    """Sends what bodies cost a child of this process."""
    clients.open_ahead(4)
    writer.send(in_child("fork", _cost_of_bodies))


def _cost_of_bodies(writer) -> None:
    """Sends what each of three bodies costs after the first one, KiB."""
    bodies = [_played_body()]
    before = private_kib()
    bodies += [_played_body() for _ in range(3)]
    writer.send((private_kib() - before) / 3)


def _played_body() -> Simulation:
    simulation = Simulation(WALKER)
    simulation.reset(0, training=True)
    for _ in range(30):
        simulation.step(np.zeros(simulation.num_joints))
    return simulation
