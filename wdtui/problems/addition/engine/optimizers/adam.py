"""Adam (Kingma & Ba 2015), with the decay of the parameters (AdamW, Loshchilov & Hutter 2019) or of the gradient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.support.third_party import fused_adam, fused_adamw
from wdtui.training.gauges import Decay

COUNTER = torch.float32
"""Of the step counters, also in float64: the fused update on CUDA reads them as float32."""


def decay(config: RunConfig, rate: Any) -> Decay:
    """Decay of the gradient is divided by the gradient's size, and then no multiple of the parameters."""
    return Decay(rate if config.decoupled else None, config.betas[0])


class Step:
    """One fused call that also does the decay, which saves a pass over the parameters."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.beta1, self.beta2 = config.betas
        self.epsilon = config.adam_epsilon
        self._fused = fused_adamw if config.decoupled else fused_adam
        self.state = {
            "mean": torch.zeros_like(parameters),
            "square": torch.zeros_like(parameters),
            "steps": torch.zeros((), dtype=COUNTER, device=parameters.device),
        }

    def denominator(self) -> Tensor:
        """sqrt(v̂) + epsilon, v̂ the bias-corrected running square; before the first step only epsilon."""
        square = self.state["square"]
        corrected = square / (1 - self.beta2 ** self.state["steps"].to(square.dtype)).clamp_min(1e-12)
        return corrected.sqrt() + self.epsilon

    def step(self, parameters: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        mean, square, steps = self.state.values()
        steps += 1
        self._fused(
            [parameters], [gradients], [mean], [square], [], [steps],
            weight_decay=weight_decay,  # the article hangs on this: θ ← θ·(1 − lr·λ) first; as L2, g ← g + λ·θ instead
            lr=learning_rate, beta1=self.beta1, beta2=self.beta2, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip


class StackedStep:
    """One fused call for all neighbours with the same learning rate. Each gets the bits it gets without the others."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.beta1, self.beta2 = config.betas
        self.epsilon = config.adam_epsilon
        self.state = {
            "mean": torch.zeros_like(parameters),
            "square": torch.zeros_like(parameters),
            "steps": torch.zeros(len(parameters), dtype=COUNTER, device=parameters.device),
        }

    def step(
        self, parameters: Tensor, gradients: Tensor, learning_rates: Sequence[float], learning_rate: Tensor
    ) -> None:
        self.state["steps"] += 1
        start = 0
        for rate, same in itertools.groupby(learning_rates):
            rows = slice(start, start := start + len(list(same)))
            self._move(parameters, gradients, rows, rate)

    def _move(self, parameters: Tensor, gradients: Tensor, rows: slice, learning_rate: float) -> None:
        """Move the models of some rows, which have taken equally many steps."""
        mean, square, steps = self.state.values()
        fused_adam(
            [parameters[rows]], [gradients[rows]], [mean[rows]], [square[rows]], [], [steps[rows.start]],
            weight_decay=0.0, lr=learning_rate,
            beta1=self.beta1, beta2=self.beta2, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip


class RecordedStep(StackedStep):
    """One fused call for all models, with the learning rates from a tensor, as a recorded step needs them.

    The fused update takes one learning rate. So it moves zeros with 1, and each model goes its rate along that.
    """

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        super().__init__(config, parameters)
        self._moves = torch.empty_like(parameters)

    def step(
        self, parameters: Tensor, gradients: Tensor, learning_rates: Sequence[float], learning_rate: Tensor
    ) -> None:
        self.state["steps"] += 1
        self._move(self._moves.zero_(), gradients, slice(0, len(parameters)), 1.0)
        parameters.addcmul_(self._moves, learning_rate.unsqueeze(1))
