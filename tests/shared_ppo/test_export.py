"""Exported policies do what the trainer's do, in a process that knows nothing of this package."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_bodies import SPEC, describe, make_body
from helpers import body, small_config

from shared_ppo import export
from shared_ppo.acting import ActingPolicy
from shared_ppo.action import ACTION_SPACES
from shared_ppo.body import Observation
from shared_ppo.config import ActionConfig, PolicyConfig
from shared_ppo.errors import CheckpointError
from shared_ppo.in_process import InProcessSupervisor


def lively_policy(config, seed=0, spread=0.15) -> ActingPolicy:
    """A policy whose actions differ from 0 and from each other."""
    policy = ActingPolicy(SPEC, config)
    policy.load(1, np.random.default_rng(seed).normal(0, spread, policy.num_parameters).astype(np.float32))
    return policy


def exported_actions(policy, description, config, path, observations) -> np.ndarray:
    """(T, n) actions of a policy that has been a file in between."""
    export.script_policy(policy, description, config.action).save(str(path))
    loaded = torch.jit.load(str(path))
    with torch.no_grad():
        return np.array(
            [loaded(torch.from_numpy(seen.joints), torch.from_numpy(seen.globals)).numpy() for seen in observations]
        )


def test_every_action_space_can_be_exported():
    assert set(export.EXPORTED_SPACES) == set(ACTION_SPACES)


@pytest.mark.parametrize("network", ["fourier", "urma"])
@pytest.mark.parametrize("space", export.EXPORTED_SPACES)
@pytest.mark.parametrize("joints", [1, 5])
def test_exported_policy_gives_the_trainers_actions(tmp_path, network, space, joints):
    config = small_config(action=ActionConfig(space=space))
    config = replace(config, policy=replace(config.policy, network=network))
    policy, description = lively_policy(config), describe(joints, seed=3)
    observations = export.random_observations(policy, description)
    actions = exported_actions(policy, description, config, tmp_path / "policy.pt", observations)
    assert export.check_actions(actions, policy, description, observations) <= export.TOLERANCE
    assert actions.shape == (64, joints)
    assert np.abs(actions).max() <= 1.0
    assert actions.std() > 0.03


def test_the_clock_runs_and_reset_sets_it_back():
    config = small_config(action=ActionConfig(space="rhythm"))
    loaded = export.script_policy(lively_policy(config, spread=0.05), describe(2, seed=0), config.action)
    still = torch.zeros(2, 2), torch.zeros(2)
    first, second = loaded(*still), loaded(*still)
    loaded.reset()
    assert not torch.allclose(first, second)
    torch.testing.assert_close(loaded(*still), first)


def test_the_file_runs_without_this_package(tmp_path):
    config = small_config(action=ActionConfig(space="clock"))
    script = export.script_policy(lively_policy(config), describe(3, seed=0), config.action)
    script.save(str(tmp_path / "policy.pt"))
    code = "import torch; p = torch.jit.load('policy.pt'); print(tuple(p(torch.zeros(3, 2), torch.zeros(2)).shape))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3,)"


def test_actions_that_differ_are_refused():
    config, description = small_config(), describe(3, seed=0)
    policy = lively_policy(config)
    with pytest.raises(export.ExportError, match="differ from the policy's by"):
        export.check_actions(np.zeros((64, 3)), policy, description, export.random_observations(policy, description))


def test_an_action_space_without_a_torchscript_form_is_named():
    config = small_config()
    with pytest.raises(export.ExportError, match="'dance' cannot be exported; known: direct, clock, rhythm"):
        export.script_policy(lively_policy(config), describe(3, seed=0), replace(config.action, space="dance"))


def test_policy_of_a_checkpoint_drives_as_the_supervisors(tmp_path):
    config = small_config()
    supervisor = InProcessSupervisor(make_body, SPEC, config, seed=5)
    supervisor.checkpoint(tmp_path / "learner.npz")
    policy = export.load_policy(tmp_path / "learner.npz", SPEC, config)
    one = make_body(body(0))
    seen = [Observation(*one.reset(0, training=False))]
    actions = exported_actions(policy, one.description, config, tmp_path / "policy.pt", seen)
    assert export.check_actions(actions, policy, one.description, seen) <= export.TOLERANCE
    with pytest.raises(CheckpointError):
        export.load_policy(tmp_path / "learner.npz", SPEC, replace(config, policy=PolicyConfig()))
    with pytest.raises(CheckpointError):
        export.load_policy(tmp_path / "policy.pt", SPEC, config)
