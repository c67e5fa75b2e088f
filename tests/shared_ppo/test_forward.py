"""The forward pass in numpy against the network in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_ppo.config import ObservationSpec, PolicyConfig
from shared_ppo.forward import ForwardPass
from shared_ppo.policy import ACTIVATIONS, NETWORKS, make_actor

SPEC = ObservationSpec(joint_dim=5, joint_static_dim=4, global_dim=3, global_static_dim=2)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_pass_is_the_actors(network: str, activation: str) -> None:
    torch.manual_seed(0)
    config = PolicyConfig(network=network, activation=activation, slots=4, value_dim=3, core_dim=16, decoder_dim=8)
    actor = make_actor(SPEC, config, outputs_per_joint=2).requires_grad_(False)
    for parameter in actor.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))  # no bias at 0, no gain at 1
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    code = actor.encode(torch.randn(2, 3, 4), torch.randn(2, 2), mask)
    joints, globals_ = torch.randn(2, 3, 5), torch.randn(2, 3)
    wanted = actor(code, joints[:, :, None], globals_[:, None])[:, :, 0].numpy()
    before = joints.numpy().copy()
    means = ForwardPass(actor, code)(joints.numpy(), globals_.numpy())
    assert means.dtype == np.float32
    assert means == pytest.approx(wanted, abs=2e-5)
    assert np.array_equal(joints.numpy(), before)
