"""Adam (Kingma and Ba 2015, 1412.6980) on one parameter vector.

`torch.optim` does the same, but importing it brings in the compiler: 70 MiB of memory and a second or two at each
start of the learner.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BETA_MEAN, _BETA_SQUARE, _EPSILON = 0.9, 0.999, 1e-5


class FlatAdam:
    """Adam with PPO's usual epsilon of 1e-5.

    Attributes:
        learning_rate: may be changed between steps.
        steps: taken so far.
        mean: (P,) running mean of the gradient.
        square: (P,) running mean of its square.
    """

    def __init__(self, size: int, learning_rate: float, device: torch.device) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self.mean = torch.zeros(size, device=device)
        self.square = torch.zeros(size, device=device)

    @torch.no_grad()
    def step(self, parameters: Tensor, gradient: Tensor) -> None:
        """Moves (P,) parameters against a (P,) gradient, in place."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - _BETA_MEAN)
        self.square.mul_(_BETA_SQUARE).addcmul_(gradient, gradient, value=1 - _BETA_SQUARE)
        correction = (1 - _BETA_SQUARE**self.steps) ** 0.5
        denominator = self.square.sqrt().div_(correction).add_(_EPSILON)
        step_size = self.learning_rate / (1 - _BETA_MEAN**self.steps)
        parameters.addcdiv_(self.mean, denominator, value=-step_size)
