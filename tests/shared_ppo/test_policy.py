"""The networks: any joint count, no dependence on joint order or padding, one vector of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_ppo.config import ObservationSpec, PolicyConfig
from shared_ppo.policy import Actor, Critic, FlatParameters, FourierKeys, make_actor

SPEC = ObservationSpec(joint_dim=5, joint_static_dim=4, global_dim=3, global_static_dim=2)


def inputs(joints: int, steps: int = 3, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Description, mask and motion of one body."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((1, joints, 4), (1, 2), (1, joints, steps, 5), (1, steps, 3))
    joint_static, global_static, motion, globals_ = (torch.randn(shape, generator=generator) for shape in shapes)
    return joint_static, global_static, torch.ones(1, joints), motion, globals_


def act(actor: Actor, joint_static, global_static, mask, motion, globals_):
    """Mean actions and their spread."""
    code = actor.encode(joint_static, global_static, mask)
    return actor(code, motion, globals_), code.log_std


@pytest.mark.parametrize("network", ["fourier", "urma"])
@settings(max_examples=15, deadline=None)
@given(joints=st.integers(1, 12), seed=st.integers(0, 1000))
def test_actions_follow_the_joints(network: str, joints: int, seed: int) -> None:
    """Permuted joints give permuted actions, and the same value."""
    torch.manual_seed(seed)
    config = PolicyConfig(network=network)
    actor, critic = make_actor(SPEC, config, 2), Critic(SPEC, config)
    joint_static, global_static, mask, motion, globals_ = inputs(joints, seed=seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(joints))
    mean, log_std = act(actor, joint_static, global_static, mask, motion, globals_)
    permuted = (joint_static[:, order], global_static, mask, motion[:, order], globals_)
    mean_permuted, log_std_permuted = act(actor, *permuted)
    assert torch.allclose(mean[:, order], mean_permuted, atol=1e-5)
    assert torch.allclose(log_std[:, order], log_std_permuted, atol=1e-5)
    values = critic(critic.encode(joint_static, global_static, mask), motion, globals_)
    values_permuted = critic(critic.encode(*permuted[:3]), *permuted[3:])
    assert torch.allclose(values, values_permuted, atol=1e-4)


@pytest.mark.parametrize("network", ["fourier", "urma"])
def test_absent_joints_do_nothing(network: str) -> None:
    """Garbage in padded joints changes neither actions nor values."""
    config = PolicyConfig(network=network)
    actor, critic = make_actor(SPEC, config, 1), Critic(SPEC, config)
    joint_static, global_static, mask, motion, globals_ = inputs(4)
    mean, _ = act(actor, joint_static, global_static, mask, motion, globals_)
    value = critic(critic.encode(joint_static, global_static, mask), motion, globals_)
    padded_static = torch.cat([joint_static, torch.full((1, 3, 4), 9.0)], dim=1)
    padded_mask = torch.cat([mask, torch.zeros(1, 3)], dim=1)
    padded_motion = torch.cat([motion, torch.full((1, 3, 3, 5), -9.0)], dim=1)
    padded_mean, _ = act(actor, padded_static, global_static, padded_mask, padded_motion, globals_)
    padded_value = critic(critic.encode(padded_static, global_static, padded_mask), padded_motion, globals_)
    assert torch.allclose(mean, padded_mean[:, :4], atol=1e-5)
    assert torch.allclose(value, padded_value, atol=1e-4)


def test_a_new_policy_hardly_moves_and_explores_as_told() -> None:
    """Means near 0, the configured spread."""
    mean, log_std = act(make_actor(SPEC, PolicyConfig(initial_std=0.4), 1), *inputs(7))
    assert mean.abs().max() < 0.2
    assert torch.allclose(log_std.exp(), torch.tensor(0.4), atol=1e-5)


def test_each_joint_has_a_key_of_its_own_and_shares_it_with_its_like() -> None:
    """At the start two keys' product falls with the distance of the descriptions: exp(-d^2 / 2)."""
    torch.manual_seed(0)
    keys = FourierKeys(SPEC, PolicyConfig(slots=4096))
    joints = torch.tensor([[[0.0, 0, 0, 0], [0.1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1]]])
    found = keys(joints, torch.zeros(1, 2))[0]
    wanted = torch.exp(-0.5 * torch.cdist(joints[0], joints[0]).square())
    assert torch.allclose(found @ found.T, wanted, atol=0.1)


def spill(network: str, seed: int) -> float:
    """How far a gradient step on one joint's action moves the other joints' actions, as a share of its own move."""
    torch.manual_seed(seed)
    actor = make_actor(SPEC, PolicyConfig(network=network), 1)
    joint_static, *others = inputs(4, seed=seed)
    before, _ = act(actor, 2 * joint_static, *others)
    before[0, 0].mean().backward()
    with torch.no_grad():
        for parameter in actor.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-3 * parameter.grad)
        after, _ = act(actor, 2 * joint_static, *others)
    moved = (after - before.detach()).abs().mean(dim=(2, 3))[0]
    return float(moved[1:].mean() / moved[0])


def test_a_joint_can_learn_an_action_of_its_own() -> None:
    """What one joint learns moves the other joints of the body much less than with a decoder that all share."""
    own, shared = ([spill(network, seed) for seed in range(6)] for network in ("fourier", "urma"))
    assert np.mean(own) < 0.4
    assert np.mean(own) < 0.6 * np.mean(shared)


def test_unknown_network() -> None:
    """The known names are listed."""
    with pytest.raises(ValueError, match="fourier, urma"):
        make_actor(SPEC, PolicyConfig(network="mlp"), 1)


def test_parameters_are_views_of_one_vector() -> None:
    """Loading the vector changes what the network computes; gradients land in the vector's gradient."""
    actor = make_actor(SPEC, PolicyConfig(), 1)
    flat = FlatParameters(actor)
    other = torch.randn_like(flat.vector) * 0.1
    flat.load(other)
    assert torch.equal(torch.cat([parameter.reshape(-1) for parameter in actor.parameters()]), other)
    mean, _ = act(actor, *inputs(3))
    mean.sum().backward()
    mean, _ = act(actor, *inputs(3))
    mean.sum().backward()
    assert flat.gradient.norm() > 0
    assert torch.equal(torch.cat([p.grad.reshape(-1) for p in actor.parameters()]), flat.gradient)
    flat.zero_grad()
    assert all(float(parameter.grad.abs().sum()) == 0 for parameter in actor.parameters())
