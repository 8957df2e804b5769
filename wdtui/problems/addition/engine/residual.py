"""The article's residual network as a plain nn.Module: the reference for the network that `network.py` writes out.

Tests hold the step engine to it under autograd, `wdtui bench` compares speeds with it, the sharpness differentiates it
twice, and `wdtui runs script` prints its classes, which therefore use nothing but torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wdtui.problems.addition.config import RunConfig


class ResidualBlock(nn.Module):
    """Two linear layers, each followed by its normalisation; the block's input is added before the last ReLU."""

    def __init__(self, width: int, batch_norm: bool, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, width)
        self.norm1 = nn.BatchNorm1d(width, epsilon, momentum) if batch_norm else nn.Identity()
        self.linear2 = nn.Linear(width, width)
        self.norm2 = nn.BatchNorm1d(width, epsilon, momentum) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.linear1(x)))
        return torch.relu(self.norm2(self.linear2(y)) + x)


class ResidualNetwork(nn.Module):
    """Linear, residual blocks, linear: logits [batch, outputs] from inputs [batch, inputs]."""

    def __init__(
        self, inputs: int, width: int, blocks: int, outputs: int, batch_norm: bool, epsilon: float, momentum: float
    ) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, width)
        for number in range(1, blocks + 1):
            self.add_module(f"block{number}", ResidualBlock(width, batch_norm, epsilon, momentum))
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x

    def norms(self) -> list[nn.BatchNorm1d]:
        """All BatchNorm layers, in order; an ε written to their `eps` counts from the next call on."""
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm1d)]


def residual_network(config: RunConfig) -> ResidualNetwork:
    """The network of a config, initialised as PyTorch's random state has it."""
    return ResidualNetwork(
        config.inputs, config.width, config.blocks, config.bits,
        config.batch_norm, config.bn_epsilon, config.bn_momentum,
    )  # fmt: skip
