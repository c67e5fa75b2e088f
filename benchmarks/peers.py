"""One body, the same environment, the same cores and wall time: our trainer, Stable-Baselines3 PPO, Sample Factory 2.

    python benchmarks/peers.py --seconds 600 --seeds 0 1 2
    python benchmarks/peers.py --peers ours sb3 sample-factory --sample-factory-python OTHER_VENV/bin/python
    python benchmarks/peers.py --report

All train on `RoboGrammar-v0` with the same engine, episodes and reward. Ours: the trainer's workers and learner on some
copies of the body. Stable-Baselines3: SubprocVecEnv and an MLP on the flattened observation (`--sb3-set` tunes it).
Sample Factory needs an environment of its own: `python3.11 -m venv V; V/bin/pip install sample-factory mujoco networkx`
(`--sample-factory-set` tunes it); its speed is known at the end only. Speeds are of the mean action in full episodes
from the same start poses; the time that they take does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import yaml
from common.bodies import ROOT, robot_design
from common.options import add_settings, make_parser, positive, run_program, train_config, trial_settings
from common.parts import Parts
from common.progress import Progress
from common.references import EVALUATION_SEEDS
from common.tables import average, column, draw, machines, markdown, means, percent, planner_share, spread
from common.trial import Crew, Point, Trial, held_ready, judged_by, marks, processor_seconds
from gymnasium.utils import seeding

from map_elites.config import convert
from map_elites.errors import RunFailedError, UserError
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign

DESIGN = "flat"
SB3 = {
    "n_envs": 8,
    "n_steps": 256,
    "batch_size": 256,
    "n_epochs": 5,
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "clip_range": 0.2,
    "target_kl": 0.05,
    "log_std_init": -0.05,
    "width": 128,
    "norm_reward": True,
    "threads": 2,
}
SAMPLE_FACTORY = {
    "num_workers": 2,
    "num_envs_per_worker": 8,
    "worker_num_splits": 2,
    "rollout": 32,
    "batch_size": 1024,
    "num_batches_per_epoch": 2,
    "num_epochs": 4,
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "ppo_clip_ratio": 0.2,
    "exploration_loss_coeff": 0.0,
    "initial_stddev": 0.95,
    "adaptive_stddev": False,
    "normalize_input": False,
    "normalize_returns": True,
    "use_rnn": False,
}
TITLES = {"ours": "ours", "sb3": "Stable-Baselines3 PPO", "sample-factory": "Sample Factory 2 APPO"}
PART = ("peer", "designs", "curve")
"""What each of the parts has."""


def main(argv: list[str] | None = None) -> None:
    """Runs what is missing, then reports."""
    options = parse_arguments(argv)
    parts = Parts(options.out, PART)
    if not options.report:
        for seed in options.seeds:
            for peer in options.peers:
                train(options, peer, seed, parts)
    report(parts)


def train(options: argparse.Namespace, peer: str, seed: int, parts: Parts) -> None:
    """One seed of one peer."""
    config, design, name = train_config(options), robot_design(options.design), f"{peer}-seed{seed}"
    if config.environment.engine_settings:
        raise UserError("environment.engine_settings: RoboGrammar-v0 has none, so they cannot be compared")
    budget = {"seed": seed, "seconds": options.seconds, "points": options.points, "judge": options.judge}
    own_settings: dict[str, dict[str, Any]] = {
        "ours": {"crew": Crew(options.workers, copies=options.copies)},
        "sb3": {"sb3": SB3 | flat_settings(options.sb3_set, SB3)},
        "sample-factory": {"sample_factory": SAMPLE_FACTORY | flat_settings(options.sample_factory_set)},
    }
    own = own_settings[peer]
    trainers: dict[str, Callable[..., dict[str, Any]]]
    trainers = {"ours": train_ours, "sb3": train_sb3, "sample-factory": train_sample_factory}
    settings = trial_settings(config, **budget, **own, designs=[design.to_text()])
    progress = Progress(name, options.seconds, "seconds")
    result = partial(trainers[peer], options, config, design, seed, progress, **own)
    parts.make(name, settings, lambda: {"peer": peer, "seed": seed, "designs": [design.to_text()], **result()})


def flat_settings(pairs: list[str], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """`["gamma=0.99"]` as a dict.

    Args:
        pairs: What the command line has.
        known: Keys that there are, with values of the type that each wants; None: any, as YAML reads them.

    Raises:
        UserError: One is not KEY=VALUE, not a known key, or of another type.
    """
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or (known is not None and key not in known):
            raise UserError(f"{pair}: wants KEY=VALUE" + (f" with one of {', '.join(known)}" if known else ""))
        try:
            settings[key] = yaml.safe_load(value) if known is None else convert(yaml.safe_load(value), type(known[key]))
        except ValueError as error:
            raise UserError(f"{pair}: {error}") from error
    return settings


# -- peers -------------------------------------------------------------------------------------------------------------


def train_ours(
    options: argparse.Namespace, config: TrainConfig, design: RobotDesign, seed: int, progress: Progress, *, crew: Crew
) -> dict[str, Any]:
    """The trainer's own processes on copies of the body."""
    seeds = [episode_seed(start) for start in EVALUATION_SEEDS]
    with Trial(config, [design], seed=seed, crew=crew, judge=options.judge, evaluation_seeds=seeds) as trial:
        trial.train()
        return trial.run(marks(options.seconds, options.points), progress.point, clock="seconds")


def train_sb3(
    options: argparse.Namespace,
    config: TrainConfig,
    design: RobotDesign,
    seed: int,
    progress: Progress,
    *,
    sb3: dict[str, Any],
) -> dict[str, Any]:
    """Stable-Baselines3: one process an environment; sampling and learning take turns."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor, VecNormalize

    from shared_ppo.process import process_context

    process_context(held_ready(config, training=1))  # the fork server that SubprocVecEnv uses as well
    torch.set_num_threads(sb3["threads"])
    environment = partial(make_environment, config, design.to_text())
    with environment_processes():
        simulations = SubprocVecEnv([environment] * sb3["n_envs"], start_method="forkserver")
    simulations.seed(seed)
    envs = VecNormalize(VecMonitor(simulations), norm_obs=False, norm_reward=sb3["norm_reward"], gamma=sb3["gamma"])
    special = ("n_envs", "log_std_init", "width", "norm_reward", "threads")
    model = PPO(
        "MlpPolicy",
        envs,
        seed=seed,
        device="cpu",
        policy_kwargs={"log_std_init": sb3["log_std_init"], "net_arch": [sb3["width"]] * 2},
        **{key: value for key, value in sb3.items() if key not in special},
    )
    judge = make_environment(judged_by(config, options.judge), design.to_text(), early_stops=False)
    clock = {"steps": 0, "seconds": 0.0, "cpu_seconds": 0.0, "version": 0}

    def score() -> Point:
        return clock | {"speeds_m_s": [speed_of(judge, lambda seen: model.predict(seen, deterministic=True)[0])]}

    curve = [score()]
    for mark in marks(options.seconds, options.points):
        while clock["seconds"] < mark:
            start, busy = time.perf_counter(), processor_seconds()
            with environment_processes():
                model.learn(sb3["n_envs"] * sb3["n_steps"], reset_num_timesteps=False)  # one rollout, one update
            clock["seconds"] += time.perf_counter() - start
            clock["cpu_seconds"] += processor_seconds() - busy
            clock["steps"], clock["version"] = model.num_timesteps, clock["version"] + 1
        curve.append(score())
        progress.point(curve[-1])
    envs.close()
    judge.close()
    return {"curve": curve}


@contextmanager
def environment_processes() -> Iterator[None]:
    """Tells the death of an environment's process from that of whoever reads what this program prints.

    Raises:
        RunFailedError: The pipe to such a process is broken.
    """
    try:
        yield
    except (BrokenPipeError, ConnectionResetError, EOFError) as error:
        raise RunFailedError("an environment process of Stable-Baselines3 ended; what it said is above") from error


def train_sample_factory(
    options: argparse.Namespace,
    config: TrainConfig,
    design: RobotDesign,
    seed: int,
    progress: Progress,
    *,
    sample_factory: dict[str, Any],
) -> dict[str, Any]:
    """Sample Factory under an interpreter of its own; the program beside this one runs and scores it.

    Raises:
        RunFailedError: It ended with an error, which it has printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        judge = judged_by(config, options.judge).environment.engine
        wanted = {
            "design": design.to_text(),
            "terrain": config.environment.terrain,
            "engine": config.environment.engine,
            "judge": judge,
            "episode": trial_settings(config)["episode"],
            "reward": trial_settings(config)["reward"],
            "seed": seed,
            "seconds": options.seconds,
            "evaluation_seeds": EVALUATION_SEEDS,
            "settings": sample_factory,
            "folder": folder,
        }
        job.write_text(json.dumps(wanted), encoding="utf-8")
        command = [
            str(options.sample_factory_python),
            str(Path(__file__).with_name("peers_sample_factory.py")),
            str(job),
        ]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
        result = Path(folder) / "result.json"
        if done.returncode or not result.exists():
            raise RunFailedError(f"Sample Factory ended with exit code {done.returncode}")
        curve = json.loads(result.read_text(encoding="utf-8"))["curve"]
    progress.point(curve[-1])
    return {"curve": curve}


# -- the environment ---------------------------------------------------------------------------------------------------


def make_environment(config: TrainConfig, design: str, *, early_stops: bool = True) -> gymnasium.Env:
    """`RoboGrammar-v0` with the settings of the config and a flat observation."""
    import robogrammar_env  # noqa: F401

    env = gymnasium.make(
        "RoboGrammar-v0",
        disable_env_checker=True,
        design=design,
        terrain=config.environment.terrain,
        engine=config.environment.engine,
        early_stops=early_stops,
        settings=config.episode,
        reward=config.reward,
    )
    return gymnasium.wrappers.FlattenObservation(env)


def episode_seed(seed: int) -> int:
    """The seed that `RoboGrammar-v0` gives its simulation after `reset(seed=seed)`: the same start pose for all."""
    return int(seeding.np_random(seed)[0].integers(2**31))


def speed_of(env: gymnasium.Env, act: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean speed in m/s of full episodes from the start poses of an evaluation."""
    speeds = []
    for seed in EVALUATION_SEEDS:
        observation, info = env.reset(seed=seed)
        while "speed_m_s" not in info:
            observation, _, terminated, _, info = env.step(np.clip(act(observation), -1.0, 1.0))
            if terminated:
                return 0.0
        speeds.append(info["speed_m_s"])
    return float(np.mean(speeds))


# -- report ------------------------------------------------------------------------------------------------------------


def report(parts: Parts) -> None:
    """Table and picture of what is there."""
    found = {peer: parts.all(f"{peer}-seed*") for peer in TITLES}
    header = ["trainer", "seeds", "seconds", "control steps", "steps/s", "m/s at the end", "of the planner"]
    print(markdown(header, (row(TITLES[peer], runs) for peer, runs in found.items() if runs)))
    print(machines(parts.all("*-seed*")))
    panels = [
        (
            label,
            "speed, m/s",
            {
                TITLES[peer]: [(column(run["curve"], clock), means(run["curve"])) for run in runs]
                for peer, runs in found.items()
                if runs
            },
        )
        for clock, label in (("seconds", "seconds of training"), ("steps", "training control steps"))
    ]
    if any(found.values()):
        draw(parts.folder / "peers.png", panels)


def row(title: str, runs: list[dict[str, Any]]) -> list[str]:
    """A line of the table: means over seeds, with the range."""
    ends = [run["curve"][-1] for run in runs]
    shares = [planner_share(run["curve"][-1]["speeds_m_s"], run["designs"]) for run in runs]
    return [
        title,
        str(len(runs)),
        spread((end["seconds"] for end in ends), 0),
        spread((end["steps"] for end in ends), 0),
        spread((end["steps"] / end["seconds"] for end in ends), 0),
        spread(end["speeds_m_s"][0] for end in ends),
        percent(average(shares)),
    ]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, steps=None, out="peers")
    parser.add_argument("--design", default=DESIGN, help=f"the body: words, rules or a published name ({DESIGN})")
    parser.add_argument("--peers", nargs="+", choices=list(TITLES), default=["ours", "sb3"])
    parser.add_argument("--seconds", type=float, default=600.0, help="wall time of training, each (600)")
    parser.add_argument("--copies", type=positive, default=16, help="simulations of the body side by side, ours (16)")
    add_settings(parser, "--sb3-set", f"first are {' '.join(f'{key}={value}' for key, value in SB3.items())}")
    add_settings(parser, "--sample-factory-set", "its flags without the dashes")
    parser.add_argument("--sample-factory-python", type=Path, help="interpreter that has sample_factory")
    parser.add_argument("--points", type=positive, default=10, help="evaluations along the way (10)")
    options = parser.parse_args(argv)
    if "sample-factory" in options.peers and not options.sample_factory_python:
        parser.error("--peers sample-factory needs --sample-factory-python")
    return options


if __name__ == "__main__":
    run_program(main)
