"""All settings of a run: the sections of the three rooms in one object, from file and flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from map_elites.config import (
    ArchiveConfig,
    ConfigError,
    EvaluationConfig,
    EvolutionConfig,
    RunConfig,
    build,
    merge,
    nest_flags,
    read_yaml,
)
from robogrammar_env.engine.base import ENGINES, wrong_settings
from robogrammar_env.errors import RobotError, unknown_name
from robogrammar_env.observation import JOINT_DIM
from robogrammar_env.reward import RewardWeights
from robogrammar_env.simulation import EpisodeSettings, needs_samples
from robogrammar_env.terrain import terrain_names
from shared_ppo.config import (
    ActionConfig,
    ExperienceConfig,
    PolicyConfig,
    PPOConfig,
    SharedPPOConfig,
    WorkerConfig,
)

FAST_ENGINE = "mujoco"  # the cheapest engine; also the module that it needs


@dataclass(frozen=True)
class EnvironmentConfig:
    """Where the robots live.

    Attributes:
        terrain: Name of a terrain, or several with commas between them: every episode takes place on one of them.
        ground_heights: Whether bodies sense the ground ahead; None: where a terrain is not flat.
        engine: Name of the physics engine that scores.
        engine_settings: Settings of that engine, whole numbers such as its solver_iterations.
        training_engine: Name of the engine that trains; "auto" is `FAST_ENGINE` where it is installed, else `engine`.
    """

    terrain: str = "flat"
    ground_heights: bool | None = None
    engine: str = "pybullet"
    engine_settings: Mapping[str, int] = field(default_factory=dict)
    training_engine: str = "auto"

    def __post_init__(self) -> None:
        problems = []
        try:
            terrain_names(self.terrain)
        except RobotError as error:
            problems.append(f"terrain: {error}")
        for key, name, known in (
            ("engine", self.engine, ENGINES),
            ("training_engine", self.training_engine, ("auto", *ENGINES)),
        ):
            if name not in known:
                problems.append(f"{key}: {unknown_name('engine', name, known)}")
        if self.engine in ENGINES:
            problems += [f"engine_settings: {problem}" for problem in wrong_settings(self.engine, self.engine_settings)]
        if problems:
            raise ConfigError(problems)

    @property
    def trains_in(self) -> str:
        """Name of the engine that trains."""
        if self.training_engine != "auto":
            return self.training_engine
        return FAST_ENGINE if find_spec(FAST_ENGINE) else self.engine

    @property
    def terrains(self) -> tuple[str, ...]:
        """Names of the run's terrains."""
        return terrain_names(self.terrain)

    @property
    def terrain_samples(self) -> bool:
        """Whether observations have ground heights."""
        return needs_samples(self.terrains) if self.ground_heights is None else self.ground_heights


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run can be told; each section belongs to the room that reads it."""

    run: RunConfig = field(default_factory=RunConfig)
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    episode: EpisodeSettings = field(default_factory=EpisodeSettings)
    reward: RewardWeights = field(default_factory=RewardWeights)
    archive: ArchiveConfig = field(default_factory=ArchiveConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    action: ActionConfig = field(default_factory=ActionConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    experience: ExperienceConfig = field(default_factory=ExperienceConfig)
    workers: WorkerConfig = field(default_factory=WorkerConfig)

    def __post_init__(self) -> None:
        problems = []
        if self.evolution.max_joints > self.policy.max_joints:
            problems.append(
                f"evolution.max_joints ({self.evolution.max_joints}) must not be above "
                f"policy.max_joints ({self.policy.max_joints})"
            )
        if self.episode.control_steps < 1:
            problems.append(f"episode.control_steps: must be at least 1, got {self.episode.control_steps}")
        for name in ("reset_noise_rad", "tilt_limit_rad", "tilt_hold_s", "stall_window_s"):
            if getattr(self.episode, name) < 0:
                problems.append(f"episode.{name}: must be at least 0, got {getattr(self.episode, name)}")
        if problems:
            raise ConfigError(problems)

    @property
    def shared_ppo(self) -> SharedPPOConfig:
        """The sections of the shared policy."""
        return SharedPPOConfig(self.policy, self.action, self.ppo, self.experience, self.workers)


LEGACY = {  # keys of training_config and model_config in older scripts -> settings
    "training_config.buffer_size": "experience.buffer_size",
    "training_config.min_batch_size": "experience.min_batch_size",
    "training_config.update_interval": "experience.update_interval",
    "model_config.hidden_dim": "policy.core_dim",
}


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> TrainConfig:
    """Defaults, then the file, then the overrides.

    Args:
        path: YAML file.
        overrides: Nested settings that win over the file.

    Raises:
        ConfigError: With everything that is wrong.
    """
    data = read_yaml(path) if path else {}
    return build(TrainConfig, merge(modernise(data), modernise(overrides)))


def config_from(base: Any) -> TrainConfig:
    """Settings from what Python callers have: a config, a mapping (nested, or flat by flag name), or a Namespace.

    Raises:
        ConfigError: With everything that is wrong.
    """
    if isinstance(base, TrainConfig):
        return base
    if isinstance(base, argparse.Namespace):
        base = {name: value for name, value in vars(base).items() if value is not None}
    if base is None:
        base = {}
    if not isinstance(base, Mapping):
        raise ConfigError([f"base_args: wants a Namespace, a dict or a TrainConfig, got a {type(base).__name__}"])
    settings = dict(base)
    path = settings.pop("config", None)
    return load_config(Path(path) if path else None, nest_flags(settings))


def modernise(data: Mapping[str, Any]) -> dict[str, Any]:
    """Translates `training_config` and `model_config`; everything else stays.

    Raises:
        ConfigError: A key of theirs is not understood, or asks for what no network here can be.
    """
    data, problems = dict(data), []
    for section in ("training_config", "model_config"):
        old = data.pop(section, {})
        if not isinstance(old, Mapping):
            raise ConfigError([f"{section}: wants a mapping, got {old!r}"])
        for key, value in old.items():
            name = f"{section}.{key}"
            if name in LEGACY:
                target, _, leaf = LEGACY[name].partition(".")
                data = merge(data, {target: {leaf: value}})
            elif name == "model_config.observation_dim":
                if value != JOINT_DIM:
                    problems.append(f"{name}: bodies here sense {JOINT_DIM} values per joint, got {value!r}")
            elif name == "model_config.action_dim":
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    problems.append(f"{name}: wants a whole number above 0 (every joint has one action), got {value!r}")
            else:
                near = [known.partition(".")[2] for known in LEGACY if known.startswith(section)]
                problems.append(f"unknown key {name}; known: {', '.join(near)}")
    if problems:
        raise ConfigError(problems)
    return data
