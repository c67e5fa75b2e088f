"""Our Adam is torch's."""

from __future__ import annotations

import torch

from shared_ppo.optimizer import FlatAdam


def test_same_as_torch() -> None:
    """Fifty steps with changing gradients and learning rates end at the same place."""
    torch.manual_seed(0)
    ours, theirs = torch.randn(40), torch.nn.Parameter(torch.zeros(40))
    theirs.data.copy_(ours)
    adam = FlatAdam(40, 1e-2, torch.device("cpu"))
    reference = torch.optim.Adam([theirs], lr=1e-2, eps=1e-5)
    for step in range(50):
        gradient = torch.randn(40) * 10 ** (step % 5 - 2)
        adam.learning_rate = reference.param_groups[0]["lr"] = 1e-2 / (1 + step)
        theirs.grad = gradient.clone()
        reference.step()
        adam.step(ours, gradient)
    assert torch.allclose(ours, theirs.detach(), atol=1e-6)
