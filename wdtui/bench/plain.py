"""The network as a plain nn.Module, trained the plain way: what this laboratory is measured against.

It is the reference in both senses: the tests hold the step engine to its numbers, the benchmark to its speed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wdtui.config import RunConfig
from wdtui.lab.tasks import Split


class PlainBlock(nn.Module):
    """Two linear layers, each with BatchNorm where wanted, around which the block's input is carried."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.width, config.width)
        self.norm1 = _norm(config)
        self.linear2 = nn.Linear(config.width, config.width)
        self.norm2 = _norm(config)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.linear1(x)))
        return torch.relu(self.norm2(self.linear2(y)) + x)


class PlainNetwork(nn.Module):
    """The article's residual network; logits [batch, bits] from inputs [batch, 2·bits]."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.input = nn.Linear(config.inputs, config.width)
        self.blocks = nn.Sequential(*(PlainBlock(config) for _ in range(config.blocks)))
        self.output = nn.Linear(config.width, config.bits)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.blocks(self.input(x)))
        return logits


def plain_network(config: RunConfig) -> PlainNetwork:
    """The network with PyTorch's default initialisation under `seed`."""
    torch.manual_seed(config.seed)
    return PlainNetwork(config)


def plain_loss(config: RunConfig, logits: Tensor, targets: Tensor) -> Tensor:
    if config.loss == "mse":
        return functional.mse_loss(torch.sigmoid(logits), targets)
    return functional.binary_cross_entropy_with_logits(logits, targets)


def plain_optimizer(config: RunConfig, network: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
    """PyTorch's own optimiser for a config; decoupled SGD, which PyTorch lacks, is left to the caller to decay."""
    l2 = 0.0 if config.decoupled else config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=l2, fused=fused
        )
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    return kind(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def plain_steps(config: RunConfig, network: nn.Module, optimizer: torch.optim.Optimizer, pairs: Split) -> None:
    """One epoch of the plain loop, in the fixed order."""
    for start in range(0, config.steps_per_epoch * config.batch_size, config.batch_size):
        batch = slice(start, start + config.batch_size)
        loss = plain_loss(config, network(pairs.inputs[batch]), pairs.targets[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _norm(config: RunConfig) -> nn.Module:
    if not config.batch_norm:
        return nn.Identity()
    return nn.BatchNorm1d(config.width, eps=config.bn_epsilon, momentum=config.bn_momentum)
