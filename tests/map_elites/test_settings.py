"""All settings together: files that ship, flags, Python callers, keys of older scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from map_elites.config import ConfigError, flatten, to_plain
from map_elites.descriptors import BEHAVIOUR
from map_elites.trainer import MAPElitesEvolutionTrainer, TrainConfig, load_config
from map_elites.trainer.bodies import observation_spec
from map_elites.trainer.runs import changed_config
from map_elites.trainer.settings import config_from
from robogrammar_env.behaviour import DESCRIPTORS as MEASURED

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_are_understood(path: Path):
    load_config(path, {})


def test_default_yaml_states_the_real_defaults():
    stated, real = dict(flatten(load_config(CONFIGS / "default.yaml", {}))), dict(flatten(TrainConfig()))
    different = {name for name, value in real.items() if stated[name] != value}
    assert different <= {"episode.tilt_limit_rad"}


def test_every_measured_behaviour_is_a_descriptor_with_the_same_range():
    ours = {d.name: (d.low, d.high) for d in BEHAVIOUR}
    assert ours == {name: (d.low, d.high) for name, d in MEASURED.items()}


def test_training_config_and_model_config_are_understood(tmp_path: Path):
    path = tmp_path / "old.yaml"
    path.write_text(
        "training_config: {buffer_size: 20000, min_batch_size: 1000, update_interval: 100}\n"
        "model_config: {observation_dim: 14, action_dim: 3, hidden_dim: 256}\n"
    )
    config = load_config(path, {})
    experience = config.experience
    assert (experience.buffer_size, experience.min_batch_size, experience.update_interval) == (20000, 1000, 100)
    assert config.policy.core_dim == 256


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"training_config": {"buffer": 1}}, "unknown key training_config.buffer; known: buffer_size"),
        ({"training_config": 3}, "training_config: wants a mapping"),
        ({"model_config": {"observation_dim": 15}}, "14 values per joint, got 15"),
        ({"model_config": {"action_dim": 0}}, "action_dim: wants a whole number above 0"),
        ({"model_config": {"hidden_dim": -1}}, "core_dim must be above 0"),
        ({"evolution": {"max_joints": 20}, "policy": {"max_joints": 10}}, "must not be above policy.max_joints"),
        ({"environment": {"terrain": "moon", "engine": "x"}}, "environment.terrain: unknown terrain 'moon'"),
        ({"terrain": "flat,ridge"}, "environment.terrain: unknown terrain 'ridge', did you mean 'ridged'"),
        ({"terrain": "gap,gap"}, "environment.terrain: terrain 'gap' stands twice"),
        ({"environment": {"terrain": ["flat", "gap"]}}, "environment.terrain: wants text"),
        ({"seed": 3.5}, "run.seed: wants a whole number"),
        (
            {"environment": {"engine_settings": {"solver_iteration": 5}}},
            "engine_settings: unknown setting of pybullet 'solver_iteration', did you mean",
        ),
        ({"environment": {"engine_settings": {"substeps": 4}}}, "known: solver_iterations"),
        ({"environment": {"engine_settings": {"solver_iterations": 0}}}, "solver_iterations must be at least 1, got 0"),
        ({"environment": {"engine_settings": {"solver_iterations": 1.5}}}, "wants a whole number, got 1.5"),
        ({"sed": 3}, "unknown key sed"),
        (5, "base_args: wants a Namespace"),
    ],
)
def test_wrong_settings_are_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        config_from(data)


@pytest.mark.parametrize(
    ("environment", "samples"),
    [
        ({"terrain": "flat"}, 0),
        ({"terrain": "flat,frozen_lake"}, 0),
        ({"terrain": "flat,gap"}, 24),
        ({"terrain": "flat", "ground_heights": True}, 24),
        ({"terrain": "gap", "ground_heights": False}, 0),
    ],
)
def test_bodies_sense_the_ground_where_a_terrain_is_not_flat(environment, samples):
    assert observation_spec(config_from({"environment": environment})).global_dim == 13 + samples


def test_a_policy_is_taken_to_other_terrains_with_the_senses_it_has():
    flat, mixed = (config_from({"terrain": terrain}) for terrain in ("flat", "flat,gap"))
    moved = changed_config(flat, {})
    assert moved.environment.terrains == ("flat",)
    moved = changed_config(flat, {"environment": {"terrain": "gap"}})
    assert moved.environment.terrains == ("gap",) and observation_spec(moved) == observation_spec(flat)
    moved = changed_config(mixed, {"environment": {"terrain": "flat", "engine": "mujoco"}})
    assert moved.environment.engine == "mujoco" and observation_spec(moved) == observation_spec(mixed)


def test_settings_of_an_engine_do_not_follow_to_another_one():
    stored = config_from({"environment": {"engine": "pybullet", "engine_settings": {"solver_iterations": 50}}})
    kept, moved = (changed_config(stored, {"environment": {"engine": name}}) for name in ("pybullet", "mujoco"))
    assert kept.environment.engine_settings == {"solver_iterations": 50} and not moved.environment.engine_settings
    stored = config_from({"environment": {"engine": "mujoco", "engine_settings": {"substeps": 4}}})
    assert not changed_config(stored, {"environment": {"engine": "pybullet"}}).environment.engine_settings


def test_python_callers_may_use_a_namespace_a_dict_or_a_config(tmp_path: Path):
    base = {"seed": 3, "total_steps": 5000, "results_dir": str(tmp_path)}
    trainers = [
        MAPElitesEvolutionTrainer(argparse.Namespace(**base, run_name=None, mode=None), 8, 1500, True, 4, True),
        MAPElitesEvolutionTrainer(base, 8, 1500, True, 4, True),
        MAPElitesEvolutionTrainer({"run": dict(base)}, 8, 1500, True, 4, True),
    ]
    trainers.append(MAPElitesEvolutionTrainer(trainers[0].config))
    assert len({str(to_plain(trainer.config)) for trainer in trainers}) == 1
    config = trainers[0].config
    assert (config.run.seed, config.run.max_workers, config.run.shared, config.run.multiprocess) == (3, 4, True, True)
    assert config.evolution.num_initial_random == 8 and config.evolution.training_steps_per_individual == 1500
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_of_the_trainer_are_refused():
    with pytest.raises(ConfigError, match=r"evolution\.num_initial_random: must be at least 1, got 0"):
        MAPElitesEvolutionTrainer(num_initial_random=0)


def test_the_entry_point_offers_the_trainer_to_python():
    import map_elites_trainer

    assert map_elites_trainer.MAPElitesEvolutionTrainer is MAPElitesEvolutionTrainer
