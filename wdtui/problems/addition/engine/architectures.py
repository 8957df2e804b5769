"""The networks that a training can train, and which of them a config means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.network import Network
from wdtui.problems.addition.engine.transformer import Transformer


class Trainable(Protocol):
    """What a training needs of a network."""

    epsilon: float
    """Added to the variance in each normalisation; may be changed between steps."""
    parameters: Tensor
    """Flat, [parameters]; the optimiser writes into it."""
    gradients: Tensor
    """Flat, [parameters], in the same order."""
    named: dict[str, Tensor]
    """Views of `parameters`, by name and in their own shapes."""
    running: Tensor
    """Running mean and variance of each BatchNorm layer, [layers, 2, width]."""

    def forward(self, inputs: Tensor, out: Tensor, inverse_deviations: Sequence[Tensor] = ()) -> Tensor:
        """Write the logits [batch, bits] of a training batch to `out`, and 1/sqrt(Var + ε) of each BatchNorm layer."""

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of all parameters, given that of the logits of the last forward's `inputs`."""

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Logits [pairs, bits] in evaluation mode, for any number of pairs."""


def make_network(config: RunConfig, device: torch.device | str = "cpu") -> Trainable:
    """The network of a config with its initial parameters."""
    return Transformer(config, device) if config.architecture == "transformer" else Network(config, device)
