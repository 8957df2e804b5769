"""The values of METRICS at the end of an epoch, computed on the device and fetched in one transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdtui.lab.losses import accuracies, loss_values
from wdtui.metrics import METRICS, layer_names

if TYPE_CHECKING:
    from wdtui.lab.training import Training


def measure(training: Training, before_last_step: Tensor) -> list[float]:
    """All values of a point but its speed, in the order of `columns(config)`.

    `before_last_step` holds the parameters as they were before the epoch's last step.
    """
    values = _performance(training) | _norms(training, before_last_step) | _batch_norm(training)
    present = [values[name].reshape(-1) for name in METRICS if name in values]
    fetched: list[float] = torch.cat(present).tolist()
    return fetched


def _performance(training: Training) -> dict[str, Tensor]:
    config, task = training.config, training.task
    loss, accuracy, bit_accuracy = training.record.sums / config.steps_per_epoch
    values = {"train_loss": loss, "train_accuracy": accuracy, "train_bit_accuracy": bit_accuracy}
    for name, split in (("validation", task.validation), ("test", task.test)):
        logits = training.network.evaluate(split.inputs)
        values[f"{name}_loss"] = loss_values(config.loss, logits, split.targets)
        values[f"{name}_accuracy"], values[f"{name}_bit_accuracy"] = accuracies(logits, split.targets)
    return values


def _norms(training: Training, before_last_step: Tensor) -> dict[str, Tensor]:
    config, network = training.config, training.network
    norms = dict(zip(network.named, torch._foreach_norm(list(network.named.values())), strict=True))
    total = torch.stack(list(norms.values())).sum()
    linear = [norms[f"{layer}.weight"] for layer in layer_names(config, "linear")]
    values = {
        "weight_norm": torch.stack([total, *linear]),
        "weight_norm_squared": network.parameters.square().sum(),
        "gradient_norm": network.gradients.norm(),
        "update_norm": (network.parameters - before_last_step).norm(),
    }
    if invariant := layer_names(config, "invariant"):
        weights = torch.stack([norms[f"{layer}.weight"] for layer in invariant])
        values["effective_learning_rate"] = _pooled(training.optimizer.learning_rate / weights.square(), torch.amax)
    return values


def _batch_norm(training: Training) -> dict[str, Tensor]:
    config, network = training.config, training.network
    if not config.norm_layers:
        return {}
    variance = training.record.variance / config.steps_per_epoch
    below = (variance < network.epsilon).float().mean(1)
    return {
        "bn_variance_min": _pooled(variance.amin(1), torch.amin),
        "bn_variance_median": torch.cat([variance.median().reshape(1), variance.median(1).values]),
        "bn_variance_max": _pooled(variance.amax(1), torch.amax),
        "bn_below_epsilon": _pooled(below, torch.mean),
        "running_variance_min": _pooled(network.running[:, 1].amin(1), torch.amin),
    }


def _pooled(layers: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """One value for the network, then one for each layer."""
    return torch.cat([pool(layers).reshape(1), layers])
