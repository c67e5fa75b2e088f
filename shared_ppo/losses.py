"""Advantages and losses as pure functions. Time is the last dimension: (..., T).

References: GAE, Schulman et al. 2016 (1506.02438); V-trace, Espeholt et al. 2018 (1802.01561), eq. 1; PPO, Schulman
et al. 2017 (1707.06347), eq. 7; PPO with a proximal policy apart from the behaviour policy, Hilton et al. 2021
(2110.00641); KL estimator k3, Schulman 2020 (joschu.net/blog/kl-approx.html).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_HALF_LOG_2PI_E = _HALF_LOG_2PI + 0.5


def gaussian_log_prob(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of independent Gaussians, summed over the last dimension: (..., A) -> (...)."""
    scaled = (actions - mean) * torch.exp(-log_std)
    return (-0.5 * scaled.square() - log_std - _HALF_LOG_2PI).sum(dim=-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy of independent Gaussians in nats, summed over the last dimension: (..., A) -> (...)."""
    return (log_std + _HALF_LOG_2PI_E).sum(dim=-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1 (same shape); 0 where nothing is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


class Trajectory(NamedTuple):
    """Rewards and values along segments, each (..., T). Padded steps have `valid` 0.

    Attributes:
        rewards: reward of each step.
        values: V of the state before each step.
        next_values: V of the state after each step; at the end of an episode that of its true last state.
        terminated: 1 where the episode ended in a state without a future.
        ended: 1 where the episode ended for any reason.
        valid: 1 for real steps.
    """

    rewards: Tensor
    values: Tensor
    next_values: Tensor
    terminated: Tensor
    ended: Tensor
    valid: Tensor


def _discounted_sums(terms: Tensor, decay: Tensor) -> Tensor:
    """Solves x_t = terms_t + decay_t * x_{t+1} backwards from x_T = 0."""
    result = torch.zeros_like(terms)
    after = torch.zeros_like(terms[..., 0])
    for step in range(terms.shape[-1] - 1, -1, -1):
        after = terms[..., step] + decay[..., step] * after
        result[..., step] = after
    return result


def _one_step_errors(steps: Trajectory, gamma: float) -> Tensor:
    """Temporal-difference errors; a terminated state has no future, a truncated one keeps its value."""
    bootstrapped = gamma * (1 - steps.terminated) * steps.next_values
    return steps.valid * (steps.rewards + bootstrapped - steps.values)


def gae(steps: Trajectory, *, gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation.

    Returns:
        Advantages and value targets, each (..., T).
    """
    decay = gamma * gae_lambda * (1 - steps.ended) * steps.valid
    advantages = _discounted_sums(_one_step_errors(steps, gamma), decay)
    return advantages, advantages + steps.values


def vtrace(
    steps: Trajectory, log_rho: Tensor, *, gamma: float, gae_lambda: float, max_rho: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets from data of an older policy.

    Targets are V-trace's with c_t = lambda min(1, rho_t). Advantages look one step further with the same mixing as
    GAE, r_t + gamma (V_{t+1} + lambda (v_{t+1} - V_{t+1})) - V_t, and are not multiplied by rho_t: that weight
    belongs to the action and is applied once, in the loss. With rho = 1 both are exactly those of `gae`.

    Args:
        steps: rewards and values under the current policy.
        log_rho: (..., T) log of the probability ratio of current and behaviour policy, over all joints.
        gamma: discount per step.
        gae_lambda: mixing of long and short returns.
        max_rho: truncation of the ratios.

    Returns:
        Advantages and value targets, each (..., T).
    """
    rho = torch.exp(log_rho)
    errors = _one_step_errors(steps, gamma)
    goes_on = gamma * gae_lambda * (1 - steps.ended) * steps.valid
    corrections = _discounted_sums(rho.clamp(max=max_rho) * errors, goes_on * rho.clamp(max=1.0))
    later = torch.cat([corrections[..., 1:], torch.zeros_like(corrections[..., :1])], dim=-1)
    return errors + goes_on * later, corrections + steps.values


def clipped_surrogate(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic objective min(r A, clip(r) A), to be maximised; r = pi / pi_proximal."""
    ratio = torch.exp(log_ratio)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def kl_estimate(log_ratio: Tensor) -> Tensor:
    """Per-sample estimate of KL(pi_proximal || pi), never negative: exp(d) - 1 - d."""
    return torch.expm1(log_ratio) - log_ratio


def explained_variance(targets: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(targets - values) / Var(targets) where `mask` is 1; 0 if the targets do not vary."""
    error = targets - values
    error_variance = masked_mean((error - masked_mean(error, mask)).square(), mask)
    variance = masked_mean((targets - masked_mean(targets, mask)).square(), mask)
    return torch.where(variance > 1e-12, 1 - error_variance / variance.clamp(min=1e-12), torch.zeros_like(variance))


def effective_sample_share(weights: Tensor, mask: Tensor) -> Tensor:
    """Effective sample size of importance weights as a share of the samples, in (0, 1]."""
    total, squares = (weights * mask).sum(), (weights.square() * mask).sum()
    return total.square() / (mask.sum().clamp(min=1) * squares.clamp(min=1e-12))
