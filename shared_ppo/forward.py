"""The actor's forward pass in numpy, for a few bodies at one control step.

It computes what `policy.Actor` does. Between two steps of physics the code and data of torch's operators have left the
processor's cache, and such small products then cost several times what they do in a loop of their own; numpy's way to
them is much shorter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import nn

from shared_ppo.policy import Actor, BodyCode


def _silu(values: np.ndarray) -> np.ndarray:
    scale = np.exp(-values)
    scale += 1
    return values / scale


def _elu(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.expm1(np.minimum(values, 0)))


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"silu": _silu, "elu": _elu, "relu": _relu}


class _Layer:
    """A copy of a linear layer."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight = np.ascontiguousarray(layer.weight.numpy().T)
        self.bias = layer.bias.numpy().copy()

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Maps (K, inputs) to (K, outputs)."""
        outputs = inputs.dot(self.weight)
        outputs += self.bias
        return outputs


class ForwardPass:
    """Mean actions of B bodies; a copy of the weights and of the encoded bodies as they are now.

    Args:
        actor: without gradients.
        code: of the bodies.
    """

    def __init__(self, actor: Actor, code: BodyCode) -> None:
        core = actor.core
        self._activation = _ACTIVATIONS[actor.config.activation]
        self._value_dim = actor.config.value_dim
        self._joint, self._second = _Layer(actor.joint), _Layer(core.second)
        self._from_core, self._head = _Layer(actor.from_core), _Layer(actor.head)
        self._slot_head = None if actor.slot_head is None else _Layer(actor.slot_head)
        self._norm, self._norm_bias = core.norm.weight.numpy().copy(), core.norm.bias.numpy().copy()
        self._epsilon = core.norm.eps
        self._keys = np.ascontiguousarray(code.keys.transpose(1, 2).numpy())
        self._decoder = code.decoder[:, :, 0].numpy().copy()
        first, fixed = _Layer(core.first), code.globals[:, 0].numpy()
        pooled, static = self._keys.shape[1] * self._value_dim, len(first.weight) - fixed.shape[1]
        self._from_pooled, self._from_globals = first.weight[:pooled], first.weight[pooled:static]
        self._from_fixed = fixed.dot(first.weight[static:]) + first.bias

    def __call__(self, joints: np.ndarray, globals_: np.ndarray) -> np.ndarray:
        """Returns mean actions (B, N, A) for float32 observations (B, N, J) and (B, G)."""
        bodies, count, width = joints.shape
        hidden = self._joint(joints.reshape(-1, width)).reshape(bodies, count, -1)
        pooled = np.matmul(self._keys, self._activation(hidden[:, :, : self._value_dim])).reshape(bodies, -1)
        local = hidden[:, :, self._value_dim :]
        core = self._core(pooled, globals_)
        local += self._from_core(core)[:, None]
        local += self._decoder
        means = self._head(self._activation(local).reshape(bodies * count, -1)).reshape(bodies, count, -1)
        if self._slot_head is not None:
            slots = self._slot_head(core).reshape(bodies, self._keys.shape[1], -1)
            means += np.matmul(slots.transpose(0, 2, 1), self._keys).transpose(0, 2, 1)
        return means

    def _core(self, pooled: np.ndarray, globals_: np.ndarray) -> np.ndarray:
        """State of the whole body (B, C) from the body vector (B, K V) and whole-body values (B, G)."""
        values = pooled.dot(self._from_pooled)
        values += globals_.dot(self._from_globals)
        values += self._from_fixed
        values -= values.mean(axis=1, keepdims=True)
        values /= np.sqrt(np.square(values).mean(axis=1, keepdims=True) + self._epsilon)
        values *= self._norm
        values += self._norm_bias
        return self._activation(self._second(self._activation(values)))
