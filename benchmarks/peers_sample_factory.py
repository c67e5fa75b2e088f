"""The part of `peers.py` that runs under Sample Factory's own interpreter: trains, then scores the last weights.

    OTHER_VENV/bin/python benchmarks/peers_sample_factory.py JOB.json

`peers.py` writes the job, and reads `result.json` from the job's folder.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from sample_factory.algo.learning.learner import Learner
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.algo.utils.make_env import make_env_func_batched
from sample_factory.algo.utils.misc import ExperimentStatus
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.actor_critic import create_actor_critic
from sample_factory.train import make_runner

from robogrammar_env.env import RoboGrammarEnv
from robogrammar_env.reward import RewardWeights
from robogrammar_env.simulation import EpisodeSettings

NAME = "robogrammar"


class Clock(AlgoObserver):
    """Tells the runner how long it has been training: Sample Factory 2.1.1 asks for that, but never counts."""

    def on_start(self, runner: Any) -> None:
        self.start = time.monotonic()

    def on_training_step(self, runner: Any, training_iteration_since_resume: int) -> None:
        runner.total_train_seconds = time.monotonic() - self.start


def make_environment(
    job: dict[str, Any], name: str, cfg: Any, env_config: Any, render_mode: str | None = None
) -> gymnasium.Env:
    """The job's body with a flat observation, as Sample Factory asks for it."""
    return environment(job, engine=job["engine"])


def environment(job: dict[str, Any], *, engine: str, early_stops: bool = True) -> gymnasium.Env:
    """`RoboGrammar-v0` with a flat observation."""
    env = RoboGrammarEnv(
        design=job["design"],
        terrain=job["terrain"],
        engine=engine,
        early_stops=early_stops,
        settings=EpisodeSettings(**job["episode"]),
        reward=RewardWeights(**job["reward"]),
    )
    return gymnasium.wrappers.FlattenObservation(env)


def config_of(job: dict[str, Any]) -> Any:
    """Sample Factory's settings."""
    flags = {
        "algo": "APPO",
        "env": NAME,
        "experiment": NAME,
        "train_dir": job["folder"],
        "device": "cpu",
        "seed": job["seed"],
        "train_for_seconds": int(job["seconds"]),
        "encoder_mlp_layers": (128, 128),
        "nonlinearity": "elu",
        "with_wandb": False,
        **job["settings"],
    }
    argv = []
    for key, value in flags.items():
        argv += [f"--{key}", *map(str, value)] if isinstance(value, list | tuple) else [f"--{key}={value}"]
    parser, _ = parse_sf_args(argv)
    return parse_full_cfg(parser, argv)


def trained_actor(job: dict[str, Any], cfg: Any) -> tuple[Any, dict[str, Any]]:
    """The newest saved weights, and the checkpoint they come from."""
    env = make_env_func_batched(cfg, env_config=None)
    actor = create_actor_critic(cfg, env.observation_space, env.action_space)
    actor.eval()
    found = Learner.get_checkpoints(Learner.checkpoint_dir(cfg, 0), "checkpoint_*")
    checkpoint = torch.load(found[-1], map_location="cpu", weights_only=False)  # its own file; holds more than tensors
    actor.load_state_dict(checkpoint["model"])
    return actor, checkpoint


def speed_of(job: dict[str, Any], actor: Any) -> float:
    """Mean speed in m/s of full episodes with the mean action, from the same start poses as the others."""
    env, speeds = environment(job, engine=job["judge"], early_stops=False), []
    for seed in job["evaluation_seeds"]:
        observation, info = env.reset(seed=seed)
        while "speed_m_s" not in info:
            with torch.no_grad():
                seen = actor.normalize_obs({"obs": torch.from_numpy(observation)[None].float()})
                actor(seen, torch.zeros(1, 1))
                action = actor.action_distribution().means[0].numpy()
            observation, _, terminated, _, info = env.step(np.clip(action, -1.0, 1.0))
            if terminated:
                return 0.0
        speeds.append(info["speed_m_s"])
    return float(np.mean(speeds))


def main() -> None:
    """Runs a job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    register_env(NAME, partial(make_environment, job))
    cfg = config_of(job)
    cfg, runner = make_runner(cfg)
    runner.register_observer(Clock())
    if runner.init() != ExperimentStatus.SUCCESS or runner.run() != ExperimentStatus.SUCCESS:
        sys.exit(1)
    actor, checkpoint = trained_actor(job, cfg)
    end = {"steps": int(checkpoint["env_steps"]), "seconds": job["seconds"], "version": int(checkpoint["train_step"])}
    curve = [end | {"speeds_m_s": [speed_of(job, actor)]}]
    (Path(job["folder"]) / "result.json").write_text(json.dumps({"curve": curve}), encoding="utf-8")


if __name__ == "__main__":
    main()
