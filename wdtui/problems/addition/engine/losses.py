"""The two losses: for autograd, as gradients for the step, and as values beside the accuracies for the record."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def loss_value(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """The training loss over all pairs given, a scalar that autograd can differentiate."""
    if kind == "mse":
        return functional.mse_loss(torch.sigmoid(logits), targets)
    return functional.binary_cross_entropy_with_logits(logits, targets)


def loss_gradient(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """The derivative of the loss by the logits, [..., batch, bits]; p = σ(logits), N = batch · bits.

    mse: 2/N · (p − y) · p · (1 − p); cross_entropy: (p − y) / N.
    """
    outputs = torch.sigmoid(logits)
    gradient = outputs - targets
    count = logits.shape[-2] * logits.shape[-1]
    if kind == "mse":
        return gradient.mul_(outputs).mul_(1 - outputs).mul_(2 / count)
    return gradient.div_(count)


def performance(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """Loss, share of pairs with every bit right and share of bits right: [..., pairs, bits] -> [3, ...].

    A bit is right at threshold 0.5, that is, where (σ(logit) − y)² < 1/4.
    """
    errors = torch.sigmoid(logits).sub_(targets).square_()
    if kind == "mse":
        loss = errors.mean((-2, -1))
    else:
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((-2, -1))
    wrong = errors.mul_(4).floor_().clamp_max_(1)  # 0 or 1: several times faster here than comparisons
    return torch.stack([loss, 1 - wrong.amax(-1).mean(-1), 1 - wrong.mean((-2, -1))])
