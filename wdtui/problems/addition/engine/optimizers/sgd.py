"""Stochastic gradient descent with heavy-ball momentum, PyTorch's convention: b ← μ·b + g, θ ← θ − lr·b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.training.gauges import Decay


def decay(config: RunConfig, rate: Any) -> Decay:
    """Decay of the gradient goes through the momentum."""
    return Decay(rate, config.momentum) if config.decoupled else Decay.through_momentum(rate, config.momentum)


class Step:
    """One model's momentum."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.momentum = config.momentum
        self.decoupled = config.decoupled
        self.state = {"velocity": torch.zeros_like(parameters)}

    def denominator(self) -> Tensor:
        return torch.ones((), device=self.state["velocity"].device)

    def step(self, parameters: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        velocity = self.state["velocity"].mul_(self.momentum).add_(gradients)
        if self.decoupled:
            parameters.mul_(1 - learning_rate * weight_decay)
        else:
            velocity.add_(parameters, alpha=weight_decay)
        parameters.add_(velocity, alpha=-learning_rate)


class StackedStep:
    """The momentum of several models."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.momentum = config.momentum
        self.state = {"velocity": torch.zeros_like(parameters)}

    def step(self, parameters: Tensor, gradients: Tensor, _: Sequence[float], learning_rate: Tensor) -> None:
        velocity = self.state["velocity"].mul_(self.momentum).add_(gradients)
        parameters.addcmul_(velocity, learning_rate.unsqueeze(1), value=-1)


RecordedStep = StackedStep  # whose learning rates are in a tensor anyway
