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


def right_answers(logits: Tensor, targets: Tensor) -> Tensor:
    """Which bits are right at threshold 0.5, i.e. logit 0: bool, shaped as `targets`."""
    return (logits > 0) == (targets > 0.5)
