"""Networks that drive a body of any joint count: no parameter belongs to a body or to a joint's place in a list.

Tensors are laid out (S, N, T, D): S bodies or segments, N joints (padded), T control steps, D features. What is
known of a body before it moves is encoded once for all of its steps (`encode`); `forward` then only sees the motion.
The layout follows URMA (Bohlinger et al. 2024, "One Policy to Run Them All"): the description of a joint decides into
which slots of the body vector its state is summed. By default it also decides out of which slots its action is read,
and the slots are Fourier features of the description, so that joints share what they learn as far as they are alike.
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
        keys: (S, N, K) weight of each joint in each slot; 0 for absent joints.
        decoder: (S, N, 1, H) offset of each joint's decoder.
        log_std: (S, N, 1, A) log standard deviation of the actions.
        globals: (S, 1, G) static whole-body values.
    """

    keys: Tensor
    decoder: Tensor
    log_std: Tensor
    globals: Tensor

    def spread(self, owner: Tensor) -> BodyCode:
        """The codes of the bodies that rows of `owner` (S, B) mark with a 1.

        A matrix product, because a GPU adds up the gradients of a body named twice in the same order only then.
        """
        return BodyCode(*((owner @ tensor.flatten(1)).view(len(owner), *tensor.shape[1:]) for tensor in self))


def _init_orthogonal(module: nn.Module, gain: float = math.sqrt(2)) -> None:
    """Orthogonal weights, zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)


class StaticEncoder(nn.Module):
    """Description of a joint -> hidden code."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.hidden = nn.Linear(spec.joint_static_dim + spec.global_static_dim, config.static_dim)
        self.norm = nn.LayerNorm(config.static_dim)
        _init_orthogonal(self)

    def forward(self, joint_static: Tensor, global_static: Tensor) -> Tensor:
        """Returns hidden codes (S, N, H) of descriptions (S, N, Js), (S, Gs)."""
        spread = global_static[:, None].expand(-1, joint_static.shape[1], -1)
        return self.activation(self.norm(self.hidden(torch.cat([joint_static, spread], dim=-1))))


class SoftmaxKeys(nn.Module):
    """URMA's keys: a softmax over the slots. At the start those of all joints are much alike (cosine about 0.9)."""

    reads_actions = False

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.encoder = StaticEncoder(spec, config)
        self.slots = nn.Linear(config.static_dim, config.slots)
        _init_orthogonal(self.slots)

    def forward(self, joint_static: Tensor, global_static: Tensor) -> Tensor:
        """Returns keys (S, N, K) of descriptions (S, N, Js), (S, Gs)."""
        return torch.softmax(self.slots(self.encoder(joint_static, global_static)), dim=-1)


class FourierKeys(nn.Module):
    """Random Fourier features (Rahimi and Recht 2007): keys of joints whose descriptions differ are nearly orthogonal.

    Two keys' product is about exp(-d^2 / 2) at the start, d the distance of the descriptions.
    """

    reads_actions = True

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.waves = nn.Linear(spec.joint_static_dim, config.slots)
        nn.init.normal_(self.waves.weight)
        nn.init.uniform_(self.waves.bias, 0.0, 2 * math.pi)

    def forward(self, joint_static: Tensor, global_static: Tensor) -> Tensor:
        """Returns keys (S, N, K), of length about 1, of descriptions (S, N, Js); (S, Gs) do not matter."""
        return math.sqrt(2 / self.waves.out_features) * torch.cos(self.waves(joint_static))


NETWORKS: dict[str, type[SoftmaxKeys] | type[FourierKeys]] = {"fourier": FourierKeys, "urma": SoftmaxKeys}
"""What makes the keys, by the names that `PolicyConfig.network` may take; `reads_actions` says that they also read."""


class Core(nn.Module):
    """Body vector and whole-body values -> state of the whole body."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        inputs = config.slots * config.value_dim + spec.global_dim + spec.global_static_dim
        self.first = nn.Linear(inputs, config.core_dim)
        self.norm = nn.LayerNorm(config.core_dim)
        self.second = nn.Linear(config.core_dim, config.core_dim)
        _init_orthogonal(self)

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
        self.keys = NETWORKS[config.network](spec, config)
        self.encoder = StaticEncoder(spec, config)
        self.joint = nn.Linear(spec.joint_dim, config.value_dim + config.decoder_dim)
        self.core = Core(spec, config)
        self.from_core = nn.Linear(config.core_dim, config.decoder_dim)
        self.from_static = nn.Linear(config.static_dim, config.decoder_dim)
        self.head = nn.Linear(config.decoder_dim, outputs_per_joint)
        self.spread = nn.Linear(config.static_dim, outputs_per_joint)
        self.slot_head: nn.Linear | None = None
        if self.keys.reads_actions:
            self.slot_head = nn.Linear(config.core_dim, config.slots * outputs_per_joint)
        self._initialise()

    def _initialise(self) -> None:
        """Starts with actions near 0 and the configured spread for every body."""
        for layer in (self.joint, self.from_core, self.from_static):
            _init_orthogonal(layer)
        for head in (self.head, self.slot_head):
            if head is not None:
                _init_orthogonal(head, gain=0.01)
        low, high = math.log(self.config.min_std), math.log(self.config.max_std)
        share = (math.log(self.config.initial_std) - low) / (high - low)
        nn.init.zeros_(self.spread.weight)
        nn.init.constant_(self.spread.bias, math.log(share / (1 - share)))

    def encode(self, joint_static: Tensor, global_static: Tensor, mask: Tensor) -> BodyCode:
        """Encodes descriptions (S, N, Js), (S, Gs) of bodies whose real joints `mask` (S, N) marks with 1."""
        keys = self.keys(joint_static, global_static) * mask[..., None]
        hidden = self.encoder(joint_static, global_static)
        low, high = math.log(self.config.min_std), math.log(self.config.max_std)
        log_std = low + (high - low) * torch.sigmoid(self.spread(hidden))
        return BodyCode(keys, self.from_static(hidden)[:, :, None], log_std[:, :, None], global_static[:, None])

    def forward(self, code: BodyCode, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns mean actions (S, N, T, A) for joints (S, N, T, J) and whole-body values (S, T, G)."""
        values, local = self.joint(joints).split([self.config.value_dim, self.config.decoder_dim], dim=-1)
        core = self.core(code, self.activation(values), globals_)
        mean = self.head(self.activation(local + self.from_core(core)[:, None] + code.decoder))
        return mean if self.slot_head is None else mean + _read(code.keys, self.slot_head(core))


def _read(keys: Tensor, slots: Tensor) -> Tensor:
    """Actions (S, N, T, A) that joints with keys (S, N, K) read out of slots (S, T, K A)."""
    segments, joints, width = keys.shape
    steps = slots.shape[1]
    columns = slots.view(segments, steps, width, -1).transpose(1, 2).reshape(segments, width, -1)
    return torch.bmm(keys, columns).view(segments, joints, steps, -1)


class Critic(nn.Module):
    """Value of a state, with the same conditioning on the body as the actor and weights of its own."""

    def __init__(self, spec: ObservationSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.keys = NETWORKS[config.network](spec, config)
        self.joint = nn.Linear(spec.joint_dim, config.value_dim)
        self.core = Core(spec, config)
        self.head = nn.Linear(config.core_dim, 1)
        _init_orthogonal(self.joint)
        _init_orthogonal(self.head, gain=1.0)

    def encode(self, joint_static: Tensor, global_static: Tensor, mask: Tensor) -> BodyCode:
        """Encodes descriptions as `Actor.encode` does; decoder and spread stay empty."""
        keys = self.keys(joint_static, global_static) * mask[..., None]
        empty = keys.new_zeros(len(keys), 0)
        return BodyCode(keys, empty, empty, global_static[:, None])

    def forward(self, code: BodyCode, joints: Tensor, globals_: Tensor) -> Tensor:
        """Returns values (S, T) for joints (S, N, T, J) and whole-body values (S, T, G)."""
        return self.head(self.core(code, self.activation(self.joint(joints)), globals_)).squeeze(-1)


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
        vector: (P,) float32.
        gradient: (P,) of the vector.
    """

    def __init__(self, *modules: nn.Module) -> None:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        self.vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.gradient = torch.zeros_like(self.vector)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = self.vector[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end

    def zero_grad(self) -> None:
        """Sets all gradients to 0 in place, so that they stay views."""
        self.gradient.zero_()

    def load(self, values: Tensor) -> None:
        """Copies (P,) values over all parameters."""
        self.vector.copy_(values)
