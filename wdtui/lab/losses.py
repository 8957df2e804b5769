"""The two losses: their values for the record, their gradients for the step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def loss_values(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each batch: logits and targets [..., batch, bits] -> [...]."""
    if kind == "mse":
        return (torch.sigmoid(logits) - targets).square_().mean((-2, -1))
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((-2, -1))


def loss_gradient(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """The derivative of the loss by the logits, [batch, bits]; p = σ(logits), N their number.

    mse: 2/N · (p − y) · p · (1 − p); cross_entropy: (p − y) / N.
    """
    outputs = torch.sigmoid(logits)
    gradient = outputs - targets
    if kind == "mse":
        return gradient.mul_(outputs).mul_(1 - outputs).mul_(2 / logits.numel())
    return gradient.div_(logits.numel())


def accuracies(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of pairs with every bit right and of bits right at threshold 0.5, i.e. logit 0.

    Logits and targets [..., pairs, bits] -> twice [...].
    """
    right_bits = ((logits > 0) == (targets > 0.5)).sum(-1)
    bits = logits.shape[-1]
    return (right_bits == bits).float().mean(-1), right_bits.float().mean(-1) / bits
