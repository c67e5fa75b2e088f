"""Known answers for advantages and losses, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared_ppo import losses

HALF = {"gamma": 0.5, "gae_lambda": 0.5}


def steps(**changes: list[float]) -> losses.Trajectory:
    """Three steps with rewards 1, 2, 3, values 1, 1, 1 and a value of 2 after the last."""
    arrays = {
        "rewards": [1.0, 2.0, 3.0],
        "values": [1.0, 1.0, 1.0],
        "next_values": [1.0, 1.0, 2.0],
        "terminated": [0.0, 0.0, 0.0],
        "ended": [0.0, 0.0, 0.0],
        "valid": [1.0, 1.0, 1.0],
    }
    return losses.Trajectory(**{name: torch.tensor(values) for name, values in (arrays | changes).items()})


def test_gae_by_hand() -> None:
    """Errors are 1+.5-1, 2+.5-1, 3+1-1 = .5, 1.5, 3; decay .25."""
    advantages, targets = losses.gae(steps(), **HALF)
    assert advantages.tolist() == pytest.approx([0.5 + 0.25 * 2.25, 1.5 + 0.25 * 3, 3.0])
    assert targets.tolist() == pytest.approx([2.0625, 3.25, 4.0])


def test_terminated_has_no_future() -> None:
    """The last error is 3 - 1 = 2."""
    advantages, _ = losses.gae(steps(terminated=[0, 0, 1.0], ended=[0, 0, 1.0]), **HALF)
    assert advantages.tolist() == pytest.approx([0.5 + 0.25 * 2.0, 2.0, 2.0])


def test_truncated_keeps_the_value_of_its_last_state() -> None:
    """Step 1 is cut off in a state worth 4: its error is 2 + 2 - 1 = 3, and nothing flows back over the cut."""
    advantages, _ = losses.gae(steps(ended=[0, 1.0, 0], next_values=[1.0, 4.0, 2.0]), **HALF)
    assert advantages.tolist() == pytest.approx([0.5 + 0.25 * 3, 3.0, 3.0])


def test_padding_changes_nothing() -> None:
    """The same three steps with a padded fourth."""
    padded = losses.Trajectory(*(torch.cat([tensor, torch.tensor([7.0])]) for tensor in steps()))
    padded = padded._replace(valid=torch.tensor([1.0, 1, 1, 0]))
    assert losses.gae(padded, **HALF)[0][:3].tolist() == losses.gae(steps(), **HALF)[0].tolist()


def test_vtrace_by_hand() -> None:
    """Ratios 2, 1/2, 1: corrections are 3, .5*1.5 + .25*.5*3 = 1.125, and .5 + .25*1*1.125."""
    log_rho = torch.log(torch.tensor([2.0, 0.5, 1.0]))
    advantages, targets = losses.vtrace(steps(), log_rho, **HALF)
    assert targets.tolist() == pytest.approx([1 + 0.78125, 1 + 1.125, 1 + 3.0])
    assert advantages.tolist() == pytest.approx([0.5 + 0.25 * 1.125, 1.5 + 0.25 * 3.0, 3.0])


@given(st.integers(0, 10_000))
def test_vtrace_of_fresh_data_is_gae(seed: int) -> None:
    """With ratios of 1 both give the same, ends and padding included."""
    rng = np.random.default_rng(seed)
    shape = (2, 9)
    ended = rng.random(shape) < 0.3
    arrays = {
        "rewards": rng.normal(size=shape),
        "values": rng.normal(size=shape),
        "next_values": rng.normal(size=shape),
        "terminated": ended & (rng.random(shape) < 0.5),
        "ended": ended,
        "valid": np.arange(9) < [[9], [6]],
    }
    trajectory = losses.Trajectory(**{name: torch.tensor(array).double() for name, array in arrays.items()})
    settings = {"gamma": 0.97, "gae_lambda": 0.9}
    stale = losses.vtrace(trajectory, torch.zeros(shape).double(), **settings)
    for one, other in zip(stale, losses.gae(trajectory, **settings), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_clipped_surrogate_is_pessimistic() -> None:
    """Ratios 2, 1/2, 2, 1/2 with advantages +1, +1, -1, -1."""
    log_ratio = torch.log(torch.tensor([2.0, 0.5, 2.0, 0.5]))
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert losses.clipped_surrogate(log_ratio, advantages, 0.2).tolist() == pytest.approx([1.2, 0.5, -2.0, -0.8])


def test_gaussian_against_torch() -> None:
    """Log-density and entropy equal those of torch's own distribution."""
    mean, log_std, actions = torch.randn(5, 3), torch.randn(5, 3), torch.randn(5, 3)
    reference = torch.distributions.Normal(mean, log_std.exp())
    assert torch.allclose(
        losses.gaussian_log_prob(actions, mean, log_std), reference.log_prob(actions).sum(-1), atol=1e-5
    )
    assert torch.allclose(losses.gaussian_entropy(log_std), reference.entropy().sum(-1), atol=1e-5)


def test_kl_estimate() -> None:
    """exp(d) - 1 - d, 0 for equal policies."""
    assert losses.kl_estimate(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.0, math.e - 2])


def test_masked_mean_and_explained_variance() -> None:
    """Masked entries do not count."""
    mask = torch.tensor([1.0, 1.0, 0.0])
    targets = torch.tensor([1.0, 3.0, 100.0])
    assert losses.masked_mean(targets, mask).item() == pytest.approx(2.0)
    assert losses.explained_variance(targets, targets, mask).item() == pytest.approx(1.0)
    assert losses.explained_variance(targets, torch.tensor([2.0, 2.0, 0.0]), mask).item() == pytest.approx(0.0)
    assert losses.explained_variance(torch.ones(3), torch.ones(3), mask).item() == 0.0


def test_effective_sample_share() -> None:
    """Equal weights count in full; one weight of two counts half."""
    ones = torch.ones(4)
    assert losses.effective_sample_share(ones, ones).item() == pytest.approx(1.0)
    assert losses.effective_sample_share(torch.tensor([1.0, 0.0]), torch.ones(2)).item() == pytest.approx(0.5)
