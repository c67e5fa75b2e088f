"""Rollouts as a Minari data set, in the observation and action spaces of `RoboGrammar-v0`.

All bodies are in one data set, padded to the largest; the description of a body is part of its observations, as in the
environment. Every episode's metadata names the elite and its rules. Needs `pip install "minari[hdf5]"`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from map_elites.errors import UserError
from map_elites.trainer.rollouts import INDEX, BodyRollouts
from robogrammar_env.observation import CLIP

FOLDER = "minari"


def write_minari(rollouts: Path, name: str) -> Path:
    """Writes the rollouts in a folder as a Minari data set.

    Args:
        rollouts: Folder that `write_rollouts` filled.
        name: Name of the data set, as in elites/flat-v0.

    Returns:
        Its root: set MINARI_DATASETS_PATH to it, then `minari.load_dataset(name)`.

    Raises:
        UserError: Minari is not installed, or it does not like the name.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError:
        raise UserError('Minari is not installed: pip install "minari[hdf5]"') from None
    index = [entry for entry in json.loads((rollouts / INDEX).read_text(encoding="utf-8")) if entry["file"]]
    bodies = [BodyRollouts.load(rollouts / entry["file"]) for entry in index]
    width = max(body.actions.shape[2] for body in bodies)
    buffers = [EpisodeBuffer(**episode) for body in bodies for episode in _episodes(body, width)]
    root = rollouts / FOLDER
    with _datasets_below(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for author and code of what is made for private use
        try:
            dataset = minari.create_dataset_from_buffers(
                name,
                buffers,
                observation_space=_observation_space(buffers[0].observations),
                action_space=spaces.Box(-1.0, 1.0, (width,), np.float32),
                description="Elites of a MAP-Elites archive of RoboGrammar robots under their shared policy.",
                algorithm_name="mean action of the shared policy",
            )
        except ValueError as error:
            raise UserError(f"--minari {name}: {error}") from error
        metadata = [
            {"elite": entry["id"], "design": entry["design"], "rules": body.rules.tolist(), "terrain": entry["terrain"]}
            for entry, body in zip(index, bodies, strict=True)
            for _ in body.seeds
        ]
        dataset.storage.update_episode_metadata(metadata)
    return root


def _episodes(body: BodyRollouts, width: int) -> Iterator[dict[str, Any]]:
    """The episodes of one body, padded to `width` joints, as keyword arguments of an episode buffer."""
    num_joints = body.actions.shape[2]
    missing = width - num_joints
    mask = (np.arange(width) < num_joints).astype(np.float32)
    for row, seed in enumerate(body.seeds):
        num_views = len(body.joints[row])
        static = np.broadcast_to(body.joint_static, (num_views, *body.joint_static.shape))
        whole = np.broadcast_to(body.global_static, (num_views, *body.global_static.shape))
        joints = np.concatenate([body.joints[row], static], axis=2).astype(np.float32)
        yield {
            "seed": int(seed),
            "observations": {
                "joints": np.pad(joints, ((0, 0), (0, missing), (0, 0))),
                "globals": np.concatenate([body.globals[row], whole], axis=1).astype(np.float32),
                "mask": np.broadcast_to(mask, (num_views, width)).copy(),
            },
            "actions": np.pad(body.actions[row], ((0, 0), (0, missing))),
            "rewards": body.rewards[row].astype(np.float64).tolist(),
            "terminations": body.terminated[row].tolist(),
            "truncations": body.truncated[row].tolist(),
        }


def _observation_space(observations: dict[str, np.ndarray]) -> spaces.Dict:
    low = {"joints": -CLIP, "globals": -CLIP, "mask": 0.0}
    high = {"joints": CLIP, "globals": CLIP, "mask": 1.0}
    return spaces.Dict(
        {key: spaces.Box(low[key], high[key], array.shape[1:], np.float32) for key, array in observations.items()}
    )


@contextmanager
def _datasets_below(root: Path) -> Iterator[None]:
    """Minari takes the place of its data sets from the environment only."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    root.mkdir(parents=True, exist_ok=True)
    os.environ["MINARI_DATASETS_PATH"] = str(root.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
