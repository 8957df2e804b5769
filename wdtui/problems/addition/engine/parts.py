"""What a training needs of its network and its optimiser, which are those of one model or of several.

For several, each tensor has a leading axis over the models, and each number is a tensor with one for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class AnyNetwork(Protocol):
    """A network, or several of one shape."""

    parameters: Tensor
    """Flat, [parameters]; the optimiser writes into it."""
    gradients: Tensor
    """Flat, [parameters], in the same order."""
    named: dict[str, Tensor]
    """Views of `parameters`, by name and in their own shapes."""
    running: Tensor
    """Running mean and variance of each BatchNorm layer, [layers, 2, width]."""

    @property
    def epsilon(self) -> float | Tensor:
        """Added to the variance in each normalisation."""

    def forward(self, inputs: Tensor, out: Tensor, inverse_deviations: Sequence[Tensor] = ()) -> Tensor:
        """Write the logits [batch, bits] of a training batch to `out`, and 1/sqrt(Var + ε) of each BatchNorm layer."""

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of all parameters, given that of the logits of the last forward's `inputs`."""

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Logits [pairs, bits] in evaluation mode, for any number of pairs."""


class AnyOptimizer(Protocol):
    """The optimiser of one model or of several."""

    @property
    def state(self) -> dict[str, Tensor]: ...

    @property
    def learning_rate(self) -> float | Tensor: ...

    @property
    def weight_decay(self) -> float | Tensor: ...

    def step(self) -> None: ...
