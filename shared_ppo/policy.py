"""Networks that drive a body of any joint count: no parameter belongs to a body or to a joint's place in a list.

Tensors are laid out (S, N, T, D): S bodies or segments, N joints (padded), T control steps, D features. What is
known of a body before it moves is encoded once for all of its steps (`encode`); `forward` then only sees the motion.
The default follows URMA (Bohlinger et al. 2024, "One Policy to Run Them All"): the description of a joint decides
into which slots of the body vector its state is summed, and how the body's state is read out for it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared_ppo.config import ObservationSpec, PolicyConfig

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "elu": functional.elu,
    "relu": functional.relu,
}
"""Names that `PolicyConfig.activation` may take. In torch on a CPU, SiLU takes a quarter of the time of ELU."""


class BodyCode(NamedTuple):
    """A body's static description, encoded.

    Attributes:
        keys: (S, N, K) weight of each joint in each slot of the body vector; 0 for absent joints.
        decoder: (S, N, 1, H) offset of each joint's decoder.
        log_std: (S, N, 1, A) log standard deviation of the actions.
        globals: (S, 1, G) static whole-body values.
    """

    keys: Tensor
    decoder: Tensor
    log_std: Tensor
    globals: Tensor

    def spread(self, index: Tensor) -> BodyCode:
        """The codes of (S,) bodies, which `index` may name more than once."""
        return BodyCode(*(tensor.index_select(0, index) for tensor in self))


def _init_orthogonal(module: nn.Module) -> None:
    """Orthogonal weights with gain sqrt(2), zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, math.sqrt(2))
            nn.init.zeros_(layer.bias)


class StaticEncoder(nn.Module):
    """Description of a joint -> where it is summed into the body vector."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.hidden = nn.Linear(spec.joint_static_dim + spec.global_static_dim, config.static_dim)
        self.norm = nn.LayerNorm(config.static_dim)
        self.keys = nn.Linear(config.static_dim, config.slots)
        self.pools_by_mean = config.network == "deepsets"

    def forward(self, joint_static: Tensor, global_static: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns hidden codes (S, N, H) and keys (S, N, K) of descriptions (S, N, Js), (S, Gs) and mask (S, N)."""
        spread = global_static[:, None].expand(-1, joint_static.shape[1], -1)
        hidden = self.activation(self.norm(self.hidden(torch.cat([joint_static, spread], dim=-1))))
        if self.pools_by_mean:
            share = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
            return hidden, share[..., None].expand(-1, -1, self.keys.out_features)
        return hidden, torch.softmax(self.keys(hidden), dim=-1) * mask[..., None]


class Core(nn.Module):
    """Body vector and whole-body values -> state of the whole body."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        inputs = config.slots * config.value_dim + spec.global_dim + spec.global_static_dim
        self.first = nn.Linear(inputs, config.core_dim)
        self.norm = nn.LayerNorm(config.core_dim)
        self.second = nn.Linear(config.core_dim, config.core_dim)

    def forward(self, code: BodyCode, values: Tensor, globals_: Tensor) -> Tensor:
        """Returns (S, T, C) from joint values (S, N, T, V) and whole-body values (S, T, G)."""
        segments, joints, steps, width = values.shape
        pooled = torch.bmm(code.keys.transpose(1, 2), values.reshape(segments, joints, steps * width))
        pooled = pooled.view(segments, code.keys.shape[2], steps, width).transpose(1, 2).flatten(2)
        inputs = torch.cat([pooled, globals_, code.globals.expand(-1, steps, -1)], dim=-1)
        return self.activation(self.second(self.activation(self.norm(self.first(inputs)))))


class Actor(nn.Module):
    """Mean action per joint and its spread."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig, outputs_per_joint: int) -> None:
        super().__init__()
        self.config = config
        self.activation = ACTIVATIONS[config.activation]
        self.encoder = StaticEncoder(spec, config)
        self.joint = nn.Linear(spec.joint_dim, config.value_dim + config.decoder_dim)
        self.core = Core(spec, config)
        self.from_core = nn.Linear(config.core_dim, config.decoder_dim)
        self.from_static = nn.Linear(config.static_dim, config.decoder_dim)
        self.head = nn.Linear(config.decoder_dim, outputs_per_joint)
        self.spread = nn.Linear(config.static_dim, outputs_per_joint)
        self._initialise()

    def _initialise(self) -> None:
        """Starts with actions near 0 and the configured spread for every body."""
        _init_orthogonal(self)
        nn.init.orthogonal_(self.head.weight, 0.01)
        low, high = math.log(self.config.min_std), math.log(self.config.max_std)
        share = (math.log(self.config.initial_std) - low) / (high - low)
        nn.init.zeros_(self.spread.weight)
        nn.init.constant_(self.spread.bias, math.log(share / (1 - share)))

    def encode(self, joint_static: Tensor, global_static: Tensor, mask: Tensor) -> BodyCode:
        """Encodes descriptions (S, N, Js), (S, Gs) of bodies whose real joints `mask` (S, N) marks with 1."""
        hidden, keys = self.encoder(joint_static, global_static, mask)
        low, high = math.log(self.config.min_std), math.log(self.config.max_std)
        log_std = low + (high - low) * torch.sigmoid(self.spread(hidden))
        return BodyCode(keys, self.from_static(hidden)[:, :, None], log_std[:, :, None], global_static[:, None])

    def forward(self, code: BodyCode, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns mean actions (S, N, T, A) for joints (S, N, T, J) and whole-body values (S, T, G)."""
        values, local = self.joint(joints).split([self.config.value_dim, self.config.decoder_dim], dim=-1)
        body = self.from_core(self.core(code, self.activation(values), globals_))
        return self.head(self.activation(local + body[:, None] + code.decoder))


class Critic(nn.Module):
    """Value of a state, with the same conditioning on the body as the actor and weights of its own."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.encoder = StaticEncoder(spec, config)
        self.joint = nn.Linear(spec.joint_dim, config.value_dim)
        self.core = Core(spec, config)
        self.head = nn.Linear(config.core_dim, 1)
        _init_orthogonal(self)
        nn.init.orthogonal_(self.head.weight, 1.0)

    def encode(self, joint_static: Tensor, global_static: Tensor, mask: Tensor) -> BodyCode:
        """Encodes descriptions as `Actor.encode` does; decoder and spread stay empty."""
        _, keys = self.encoder(joint_static, global_static, mask)
        empty = keys.new_zeros(len(keys), 0)
        return BodyCode(keys, empty, empty, global_static[:, None])

    def forward(self, code: BodyCode, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns values (S, T) for joints (S, N, T, J) and whole-body values (S, T, G)."""
        return self.head(self.core(code, self.activation(self.joint(joints)), globals_)).squeeze(-1)


NETWORKS = ("urma", "deepsets")
"""Names that `PolicyConfig.network` may take."""


def make_actor(spec: ObservationSpec, config: PolicyConfig, outputs_per_joint: int) -> Actor:
    """Builds the actor that `config.network` names, for observations that include the action space's features.

    Raises:
        ValueError: if there is no such network or activation.
    """
    if config.activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {config.activation!r}; known: {', '.join(ACTIVATIONS)}")
    if config.network not in NETWORKS:
        raise ValueError(f"unknown network {config.network!r}; known: {', '.join(NETWORKS)}")
    return Actor(spec, config, outputs_per_joint)


class FlatParameters:
    """All parameters of some modules as one vector; the modules' parameters (and gradients) are views into it.

    So a whole set of weights is copied, sent or optimised as one array.

    Attributes:
        vector: (P,) float32 parameter with a gradient of its own.
    """

    def __init__(self, *modules: nn.Module) -> None:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.vector = nn.Parameter(flat)
        self.vector.grad = torch.zeros_like(flat)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = flat[start:end].view_as(parameter)
            parameter.grad = self.vector.grad[start:end].view_as(parameter)
            start = end

    def zero_grad(self) -> None:
        """Sets all gradients to 0 in place, so that they stay views."""
        assert self.vector.grad is not None
        self.vector.grad.zero_()

    def load(self, values: Tensor) -> None:
        """Copies (P,) values over all parameters."""
        with torch.no_grad():
            self.vector.copy_(values)
