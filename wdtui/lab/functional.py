"""The network and its loss once more, as pure functions that autograd can derive twice: slower, and nothing written.

The training step has its derivatives spelled out and writes in place (`network.py`); what asks for second derivatives
uses these. The tests hold them to the engine.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from wdtui.config import RunConfig
from wdtui.lab.network import parameter_shapes


def logits(config: RunConfig, epsilon: float, parameters: Tensor, inputs: Tensor) -> Tensor:
    """The logits of training batches: [batches, pairs, inputs] -> [batches, pairs, bits].

    `parameters` is the flat vector of `parameter_shapes`. BatchNorm, with this ε, normalises within each batch, as in
    training mode, and keeps no running statistics.
    """
    shapes = dict(parameter_shapes(config))
    pieces = torch.split(parameters, [math.prod(shape) for shape in shapes.values()])
    named = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}

    def linear(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, named[f"{name}.weight"], named[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        if not config.batch_norm:
            return x
        variance, mean = torch.var_mean(x, -2, correction=0, keepdim=True)
        scale = torch.rsqrt(variance + epsilon) * named[f"{name}.weight"]  # small, so that x is multiplied only once
        return torch.addcmul(named[f"{name}.bias"], x - mean, scale)

    x = linear("input", inputs)
    for block in range(1, config.blocks + 1):
        first, second = (f"block{block}.{{}}{place}" for place in (1, 2))
        y = torch.relu(norm(first.format("norm"), linear(first.format("linear"), x)))
        y = norm(second.format("norm"), linear(second.format("linear"), y))
        x = torch.relu(x + y)
    return linear("output", x)


def loss(kind: str, logits: Tensor, targets: Tensor) -> Tensor:
    """The training loss over all pairs given: with batches of equal size, the mean of theirs."""
    if kind == "mse":
        return functional.mse_loss(torch.sigmoid(logits), targets)
    return functional.binary_cross_entropy_with_logits(logits, targets)
