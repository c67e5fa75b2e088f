"""What a run's processes cost, and that a long run does not cost more."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from matplotlib.figure import Figure

from map_elites.archive import Archive
from map_elites.memory import memory_by_kind
from map_elites.plots import save_heatmap
from map_elites.trainer.fork_server import preload_for
from map_elites.trainer.settings import load_config
from robogrammar_env.engine.base import CLIENTS_AHEAD
from tests.map_elites.fakes import AXES


def test_a_picture_leaves_nothing_behind(tmp_path: Path):
    """A figure left to Python's collector stays for minutes: a run would grow by 4 MiB with every checkpoint."""
    gc.disable()
    try:
        save_heatmap(Archive(AXES), tmp_path / "heatmap.png")
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Figure)]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("training", "scoring", "clients"),
    [("pybullet", "pybullet", 16), ("mujoco", "pybullet", 8), ("mujoco", "mujoco", 0), ("pybullet", "mujoco", 8)],
)
def test_every_pybullet_body_of_a_worker_has_a_shared_client(
    monkeypatch: pytest.MonkeyPatch, training: str, scoring: str, clients: int
):
    monkeypatch.setenv(CLIENTS_AHEAD, "")
    config = load_config(None, {"environment": {"engine": scoring, "training_engine": training}})
    modules = preload_for(config, training=8, scoring=8)
    assert os.environ[CLIENTS_AHEAD] == str(clients)
    assert ("robogrammar_env.engine.preload" in modules) == (clients > 0)
    assert ("robogrammar_env.engine.mujoco" in modules) == ("mujoco" in (training, scoring))


def test_memory_is_told_apart_by_title():
    """Children by what they do; a child with any other title is a helper."""
    script = "import setproctitle, sys; setproctitle.setproctitle(sys.argv[1]); print(flush=True); sys.stdin.read()"
    titles = ("map_elites: shared_ppo learner", "map_elites: worker 0", "map_elites: worker 1", "something else")
    before = memory_by_kind()
    children = [
        subprocess.Popen([sys.executable, "-c", script, title], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for title in titles
    ]
    try:
        for child in children:
            child.stdout.readline()
        grown = {kind: size - before.get(kind, 0) for kind, size in memory_by_kind(psutil.Process()).items()}
    finally:
        for child in children:
            child.communicate()
    assert set(grown) == {"main", "learner", "workers", "helpers"}
    assert min(grown["learner"], grown["workers"], grown["helpers"]) > 2**20
