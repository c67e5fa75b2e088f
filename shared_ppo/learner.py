"""SharedPPOTrainer: the PPO update on segments of many bodies, fresh or some versions old."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shared_ppo import checkpoint, losses
from shared_ppo.action import augmented_spec, make_action_space
from shared_ppo.batch import Group, Prepared, ReturnScale, make_groups
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.cuda_graphs import CapturedFunction
from shared_ppo.device import pick_device
from shared_ppo.errors import CheckpointError
from shared_ppo.optimizer import FlatAdam
from shared_ppo.policy import Actor, BodyCode, Critic, FlatParameters, make_actor
from shared_ppo.run_state import LearnerImage
from shared_ppo.segment import Segment

_log = logging.getLogger(__name__)
_POLICY_METRICS = ("policy_loss", "entropy", "kl", "clip_fraction")
_PASS_STEPS = {"cpu": 1024, "cuda": 65536}
"""Control steps at a time in the pass without gradients: what fits into a CPU's cache is faster."""


class _Sums:
    """Weighted means of metrics over gradient steps."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, weight: float, **values: float) -> None:
        """Adds one observation of each metric."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * value
            self._weights[name] = self._weights.get(name, 0.0) + weight

    def means(self) -> dict[str, float]:
        """Means of all metrics."""
        return {name: total / max(self._weights[name], 1e-12) for name, total in self._sums.items()}


def _descend(losses_of_groups: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Adds the gradients of the groups' losses to those of the parameters; returns the sum of the groups' metrics."""
    metrics = []
    for loss, share in losses_of_groups:
        loss.backward()
        metrics.append(share)
    return torch.stack(metrics).sum(dim=0)


class SharedPPOTrainer:
    """The one owner of parameters and optimiser.

    Attributes:
        version: of the current weights; moves on with every update.
        updates: updates made so far, over all resumed runs.
        skipped_steps: gradient steps left out because a loss or gradient was not finite.
        while_learning: called before each gradient step, as a sign of life.
    """

    def __init__(self, spec: ObservationSpec, config: SharedPPOConfig, *, seed: int = 0) -> None:
        self.config = config
        self.device = pick_device(config.ppo.device)
        space = make_action_space(config.action)
        spec = augmented_spec(spec, space)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = make_actor(spec, config.policy, space.outputs_per_joint).to(self.device)
            self.critic = Critic(spec, config.policy).to(self.device)
        self.num_actor_parameters = sum(parameter.numel() for parameter in self.actor.parameters())
        self.flat = FlatParameters(self.actor, self.critic)
        self.optimizer = FlatAdam(self.flat.vector.numel(), config.ppo.learning_rate, self.device)
        self.return_scale = ReturnScale()
        self.version = 1
        self.updates = 0
        self.skipped_steps = 0
        self.while_learning: Callable[[], None] = lambda: None
        self._critic_thread: ThreadPoolExecutor | None = None
        if config.ppo.threads > 1 and self.device.type == "cpu":
            # A new thread would multiply matrices with as many threads as there are cores.
            self._critic_thread = ThreadPoolExecutor(1, "critic", torch.set_num_threads, (config.ppo.threads_of_each,))
        self._rng = np.random.default_rng(seed)
        self._log_fresh_share = 0.5 * math.log(1 - config.action.noise_correlation**2)

    # --- one update ---------------------------------------------------------------------------------------------

    def update(self, segments: Sequence[Segment]) -> dict[str, float]:
        """Trains on segments and moves the version on; segments that are too old or not finite are dropped.

        Args:
            segments: of any bodies; their order decides the result, so sort them for reproducible runs.

        Returns:
            Metrics by name ("batch_steps": the control steps used); an empty dict if no segment was left to train on.
        """
        started = time.perf_counter()
        usable = [segment for segment in segments if self._is_usable(segment)]
        if not usable:
            return {}
        lags = [self.version - segment.policy_version for segment in usable]
        metrics = self._learn(usable)
        self.version += 1
        self.updates += 1
        return metrics | {
            "policy_lag_mean": float(np.average(lags, weights=[segment.num_steps for segment in usable])),
            "policy_lag_max": float(max(lags)),
            "batch_steps": float(sum(segment.num_steps for segment in usable)),
            "batch_bodies": float(len({segment.body_id for segment in usable})),
            "reward_mean": float(np.mean(np.concatenate([segment.rewards for segment in usable]))),
            "updates": float(self.updates),
            "policy_version": float(self.version),
            "skipped_steps": float(self.skipped_steps),
            "learning_rate": self.optimizer.learning_rate,
            "learn_seconds": time.perf_counter() - started,
        }

    def _is_usable(self, segment: Segment) -> bool:
        """Whether a segment is young enough and finite."""
        if not segment.is_finite():
            _log.warning("dropped a segment of body %d: it holds numbers that are not finite", segment.body_id)
            return False
        return self.version - segment.policy_version <= self.config.ppo.max_policy_lag

    def _learn(self, segments: Sequence[Segment]) -> dict[str, float]:
        """Scales rewards, prepares advantages, and runs the epochs."""
        ppo = self.config.ppo
        # On a GPU padding costs less than another group's kernels.
        num_groups = ppo.joint_groups if self.device.type == "cpu" else 1
        groups = make_groups(segments, num_groups, self.device)
        if ppo.reward_scaling:
            self.return_scale.update(np.concatenate([segment.running_return for segment in segments]))
            for group in groups:
                group.rewards = self.return_scale.scaled(group.rewards) * group.valid
        prepared = [self._prepare(group) for group in groups]
        self._normalise(prepared)
        before = self._quality(prepared)
        self.optimizer.learning_rate = self._decayed_rate()
        metrics = self._epochs(prepared, sum(segment.num_steps for segment in segments))
        return before | metrics | {"return_std": self.return_scale.std}

    @torch.no_grad()
    def _prepare(self, group: Group) -> Prepared:
        """One pass with the current weights: values, proximal log-probabilities, advantages, weights."""
        ppo = self.config.ppo
        width = max(1, _PASS_STEPS[self.device.type] // group.rows.shape[1])
        parts = [group.some(slice(start, start + width)) for start in range(0, len(group.rows), width)]
        critic = self._beside(lambda: torch.cat([self._row_values(part) for part in parts]))
        log_prob = torch.cat([self._log_prob(part)[0] for part in parts])
        row_values = critic.result()
        log_rho = ((log_prob * group.mask[:, :, None]).sum(dim=1) - group.log_prob) * group.valid
        values = torch.take_along_dim(row_values, group.rows, dim=1)
        next_values = torch.take_along_dim(row_values, group.rows + group.valid.long(), dim=1)
        steps = losses.Trajectory(group.rewards, values, next_values, group.terminated, group.ended, group.valid)
        advantages, targets = losses.vtrace(steps, log_rho, gamma=ppo.gamma, gae_lambda=ppo.gae_lambda)
        return Prepared(
            **{name: getattr(group, name) for name in Prepared.FROM_GROUP},
            log_prob=log_prob,
            values=values,
            advantages=advantages,
            targets=targets,
            weights=torch.exp(log_rho).clamp(max=ppo.max_weight),
        )

    @torch.no_grad()
    def _row_values(self, group: Group) -> Tensor:
        """Values of all rows (S, R), without gradients in whatever thread."""
        return self.critic(self._encode(self.critic, group), group.row_joints, group.row_globals)

    @staticmethod
    def _encode(network: Actor | Critic, part: Group | Prepared) -> BodyCode:
        """Codes of all segments; every body is encoded once, however many segments it has."""
        return network.encode(part.joint_static, part.global_static, part.body_mask).spread(part.owner)

    def _log_prob(self, group: Group | Prepared) -> tuple[Tensor, Tensor]:
        """Log-probabilities per joint (S, N, T) and log standard deviations (S, N, 1, A) under the current weights."""
        code = self._encode(self.actor, group)
        mean = self.actor(code, group.joints, group.globals) + group.noise_bias
        log_prob = losses.gaussian_log_prob(group.actions, mean, code.log_std + self._log_fresh_share)
        return log_prob, code.log_std

    def _normalise(self, prepared: Sequence[Prepared]) -> None:
        """Shifts and scales advantages to mean 0 and deviation 1 per body or over the batch."""
        kind = self.config.ppo.advantage_norm
        if kind == "none":
            return
        bodies = [part.body if kind == "body" else torch.zeros_like(part.body) for part in prepared]
        size = 1 + max(int(index.max()) for index in bodies)
        owners = [functional.one_hot(index, size).float() for index in bodies]

        def total(terms: Iterable[Tensor]) -> Tensor:
            return torch.stack([term.sum(dim=1) @ owner for owner, term in zip(owners, terms, strict=True)]).sum(dim=0)

        counts = total(part.valid for part in prepared).clamp(min=1)
        means = total(part.advantages * part.valid for part in prepared) / counts
        for index, part in zip(bodies, prepared, strict=True):
            part.advantages = (part.advantages - means[index, None]) * part.valid
        stds = (total(part.advantages.square() for part in prepared) / counts).sqrt()
        for index, part in zip(bodies, prepared, strict=True):
            part.advantages = part.advantages / (stds[index, None] + 1e-8)

    def _quality(self, prepared: Sequence[Prepared]) -> dict[str, float]:
        """How well the critic knew the returns, and how much the stale data is worth."""
        values, targets, weights, valid = (
            torch.cat([tensor.reshape(-1) for tensor in tensors])
            for tensors in zip(*((p.values, p.targets, p.weights, p.valid) for p in prepared), strict=True)
        )
        return {
            "explained_variance": float(losses.explained_variance(targets, values, valid)),
            "effective_sample_size": float(losses.effective_sample_share(weights, valid)),
        }

    def _epochs(self, prepared: Sequence[Prepared], num_steps: int) -> dict[str, float]:
        """Gradient steps over time slices of all segments, until the KL stop."""
        ppo, sums = self.config.ppo, _Sums()
        longest = max(part.valid.shape[1] for part in prepared)
        valid = [part.valid.sum(dim=0).cpu().numpy() for part in prepared]
        num_minibatches = min(longest, max(1, round(num_steps / ppo.minibatch_size)))
        gradient = self._gradient_of(prepared)
        for epoch in range(ppo.epochs):
            orders = [self._rng.permutation(part.valid.shape[1]) for part in prepared]
            slices = [np.array_split(order, num_minibatches) for order in orders]
            for number in range(num_minibatches):
                cuts = [cut[number] for cut in slices]
                num_valid = float(sum(steps[cut].sum() for steps, cut in zip(valid, cuts, strict=True)))
                if not self._gradient_step(gradient, cuts, num_valid, sums):
                    return sums.means() | {"epochs_done": epoch + number / num_minibatches}
        return sums.means() | {"epochs_done": float(ppo.epochs)}

    def _gradient_of(self, prepared: Sequence[Prepared]) -> Callable[..., Tensor]:
        """A function that makes the gradient of a minibatch, and returns what `_minibatch_gradient` does.

        It takes the number of real steps (), then, for each group, the indices (K,) of the time steps to use. On a
        GPU it is captured: a small network's time goes into launching its kernels one by one.
        """

        def gradient(num_valid: Tensor, *cuts: Tensor) -> Tensor:
            return self._minibatch_gradient([part.at(cut) for part, cut in zip(prepared, cuts, strict=True)], num_valid)

        return gradient if self.device.type == "cpu" else CapturedFunction(gradient)

    def _minibatch_gradient(self, minibatch: Sequence[Prepared], num_valid: Tensor) -> Tensor:
        """Sets the gradient of a minibatch of `num_valid` real steps; returns policy metrics, value loss and its norm.

        Actor and critic have no parameter in common, so that their gradients are made side by side.
        """
        self.flat.zero_grad()
        critic = self._beside(lambda: _descend(self._value_loss(part, num_valid) for part in minibatch))
        policy_metrics = _descend(self._policy_loss(part, num_valid) for part in minibatch)
        return torch.cat([policy_metrics, critic.result(), self.flat.gradient.norm()[None]])

    def _gradient_step(
        self, gradient_of: Callable[..., Tensor], cuts: Sequence[np.ndarray], num_valid: float, sums: _Sums
    ) -> bool:
        """One step of Adam on `num_valid` real steps; False if the policy has already moved too far for another one.

        Numbers come from the device once, all together: each look at one would wait for everything before it.
        """
        self.while_learning()
        ppo = self.config.ppo
        if num_valid == 0:
            return True
        indices = [torch.from_numpy(cut).to(self.device) for cut in cuts]
        *numbers, norm = gradient_of(torch.tensor(num_valid, device=self.device), *indices).tolist()
        metrics = dict(zip((*_POLICY_METRICS, "value_loss"), numbers, strict=True))
        metrics["loss"] = (
            metrics["policy_loss"]
            + ppo.value_coefficient * metrics["value_loss"]
            - ppo.entropy_coefficient * metrics["entropy"]
        )
        sums.add(num_valid, **metrics)
        if ppo.target_kl and metrics["kl"] > 1.5 * ppo.target_kl:
            return False
        if not (math.isfinite(norm) and math.isfinite(metrics["loss"])):
            self.skipped_steps += 1
            _log.warning("skipped a gradient step: loss %s, gradient norm %s", metrics["loss"], norm)
            return True
        self.flat.gradient.mul_(min(1.0, ppo.max_grad_norm / (norm + 1e-6)))
        self.optimizer.step(self.flat.vector, self.flat.gradient)
        sums.add(num_valid, grad_norm=norm)
        return True

    def _beside(self, call: Callable[[], Tensor]) -> Future[Tensor]:
        """Makes a call beside what the caller does next, or at once if there is to be one thread only."""
        if self._critic_thread is not None:
            return self._critic_thread.submit(call)
        done: Future[Tensor] = Future()
        done.set_result(call())
        return done

    def _policy_loss(self, part: Prepared, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's loss on one group as its share of the minibatch mean, and its metrics, likewise shares."""
        ppo = self.config.ppo
        log_prob, log_std = self._log_prob(part)
        log_ratio = (log_prob - part.log_prob) * part.mask[:, :, None] * part.valid[:, None]
        per_joint = part.valid / part.mask.sum(dim=1, keepdim=True)
        surrogate, clipped = self._surrogate(part, log_ratio)
        policy_loss = -(part.weights * surrogate * part.valid).sum() / num_valid
        joint_entropy = losses.gaussian_entropy(log_std + self._log_fresh_share).squeeze(-1) * part.mask
        entropy = (joint_entropy.sum(dim=1, keepdim=True) * per_joint).sum() / num_valid
        loss = policy_loss - ppo.entropy_coefficient * entropy
        kl = (losses.kl_estimate(log_ratio.detach()).sum(dim=1) * per_joint).sum() / num_valid
        clip_fraction = (clipped * part.valid).sum() / num_valid
        return loss, torch.stack([policy_loss, entropy, kl, clip_fraction]).detach()

    def _value_loss(self, part: Prepared, num_valid: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's loss on one group as its share of the minibatch mean, and its unweighted value, likewise."""
        errors = self.critic(self._encode(self.critic, part), part.joints, part.globals) - part.targets
        value_loss = 0.5 * (errors.square() * part.valid).sum() / num_valid
        return self.config.ppo.value_coefficient * value_loss, value_loss.detach()[None]

    def _surrogate(self, part: Prepared, log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        """PPO's objective and the share of clipped ratios, each (S, T), from log-ratios per joint (S, N, T)."""
        clip = self.config.ppo.clip
        if self.config.ppo.ratio == "body":
            joined = log_ratio.sum(dim=1)
            outside = ((joined.detach().exp() - 1).abs() > clip).float()
            return losses.clipped_surrogate(joined, part.advantages, clip), outside
        outside = ((log_ratio.detach().exp() - 1).abs() > clip).float().sum(dim=1)
        surrogate = losses.clipped_surrogate(log_ratio, part.advantages[:, None], clip)
        return (surrogate * part.mask[:, :, None]).sum(dim=1), outside / part.mask.sum(dim=1, keepdim=True)

    def _decayed_rate(self) -> float:
        """Learning rate of the next update: large steps find a gait, small ones refine it."""
        ppo = self.config.ppo
        return ppo.learning_rate / math.sqrt(1 + self.updates / ppo.decay_updates if ppo.decay_updates else 1)

    # --- state --------------------------------------------------------------------------------------------------

    def actor_vector(self) -> np.ndarray:
        """Copy of the actor's parameters, (P,) float32."""
        return self.flat.vector[: self.num_actor_parameters].cpu().numpy().copy()

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything that the next update depends on: arrays, and values that JSON can hold."""
        arrays = {
            "parameters": self.flat.vector,
            "adam_mean": self.optimizer.mean,
            "adam_square": self.optimizer.square,
        }
        scale = self.return_scale
        meta = {
            "adam_steps": self.optimizer.steps,
            "return_scale": [scale.count, scale.mean, scale.squares],
            "version": self.version,
            "updates": self.updates,
            "skipped_steps": self.skipped_steps,
            "rng": self._rng.bit_generator.state,
        }
        return {name: tensor.cpu().numpy().copy() for name, tensor in arrays.items()}, meta

    def image(self) -> LearnerImage:
        """The learner as it is now, ready to be published."""
        return LearnerImage(checkpoint.to_bytes(*self.state()), self.actor_vector(), self.version)

    def load_bytes(self, state: bytes, source: str) -> None:
        """Goes on from an earlier image's state; `source` says in errors where it came from.

        Raises:
            CheckpointError: if it is damaged or does not fit this network.
        """
        self.load_state(*checkpoint.from_bytes(state, source))

    def load_state(self, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        """Goes on from an earlier `state`.

        Raises:
            CheckpointError: if the parameters do not fit this network.
        """
        wanted, got = self.flat.vector.numel(), arrays["parameters"].shape
        if got != (wanted,):
            raise CheckpointError(f"checkpoint holds parameters of shape {got}, this network has ({wanted},)")
        tensors = {name: torch.from_numpy(array.copy()).to(self.device) for name, array in arrays.items()}
        self.flat.load(tensors["parameters"])
        self.optimizer.mean, self.optimizer.square = tensors["adam_mean"], tensors["adam_square"]
        self.optimizer.steps = int(meta["adam_steps"])
        self.return_scale.count, self.return_scale.mean, self.return_scale.squares = meta["return_scale"]
        self.version, self.updates = int(meta["version"]), int(meta["updates"])
        self.skipped_steps = int(meta["skipped_steps"])
        self._rng.bit_generator.state = meta["rng"]
