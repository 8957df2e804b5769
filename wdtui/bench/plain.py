"""The reference network with autograd and PyTorch's own optimisers: the baseline of the engine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.residual import ResidualNetwork, residual_network
from wdtui.problems.addition.engine.tasks import Split


def plain_network(config: RunConfig) -> ResidualNetwork:
    """The network with PyTorch's default initialisation under `seed`."""
    torch.manual_seed(config.seed)
    return residual_network(config)


def plain_optimizer(
    config: RunConfig, network: nn.Module, fused: bool = True, capturable: bool = False
) -> torch.optim.Optimizer:
    """PyTorch's own optimiser for a config. PyTorch has no decoupled SGD: the caller must apply its decay.

    A CUDA graph can record Adam's steps if they are `capturable`.
    """
    l2 = 0.0 if config.decoupled else config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=l2, fused=fused
        )
    if config.optimizer not in ("adamw", "adam"):
        raise ValueError(f"PyTorch has no optimiser of its own that does what {config.optimizer} does here.")
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    return kind(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=fused,
        capturable=capturable,
    )


def plain_steps(
    config: RunConfig, network: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, pairs: Split
) -> None:
    """One epoch of the plain loop, in the fixed order."""
    for start in range(0, config.steps_per_epoch * config.batch_size, config.batch_size):
        batch = slice(start, start + config.batch_size)
        loss = loss_value(config.loss, network(pairs.inputs[batch]), pairs.targets[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
