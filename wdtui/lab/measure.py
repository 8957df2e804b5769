"""The values of METRICS at the end of an epoch, computed on the device and fetched in one transfer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wdtui.lab.losses import performance
from wdtui.metrics import METRICS, layer_names

if TYPE_CHECKING:
    from wdtui.lab.training import Training


def measure(training: Training, before_last_step: Tensor) -> list[float]:
    """All values of a point but its speed, in the order of `columns(config)`.

    `before_last_step` holds the parameters as they were before the epoch's last step; it is overwritten.
    """
    values = _performance(training) | _norms(training, before_last_step) | _batch_norm(training)
    values |= _sharpness(training)
    present = [values[name].reshape(-1) for name in METRICS if name in values]
    fetched: list[float] = torch.cat(present).tolist()
    return fetched


def _performance(training: Training) -> dict[str, Tensor]:
    config, task = training.config, training.task
    logits = training.network.evaluate(task.held_out)
    parts = torch.split(logits, [config.validation_size, config.test_size])
    measured = {
        "train": training.record.sums / config.steps_per_epoch,
        "validation": performance(config.loss, parts[0], task.validation.targets),
        "test": performance(config.loss, parts[1], task.test.targets),
    }
    names = "loss", "accuracy", "bit_accuracy"
    return {f"{kind}_{name}": value for kind, row in measured.items() for name, value in zip(names, row, strict=True)}


def _norms(training: Training, before_last_step: Tensor) -> dict[str, Tensor]:
    config, network = training.config, training.network
    norms = dict(zip(network.named, torch._foreach_norm(list(network.named.values())), strict=True))
    each = torch.stack(list(norms.values()))
    linear = [norms[f"{layer}.weight"] for layer in layer_names(config, "linear")]
    values = {
        "weight_norm": torch.stack([each.sum(), *linear]),
        "weight_norm_squared": torch.dot(each, each),
        "gradient_norm": network.gradients.norm(),
        "update_norm": before_last_step.sub_(network.parameters).norm(),
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


def _sharpness(training: Training) -> dict[str, Tensor]:
    if not training.sharpness:
        return {}
    due = training.sharpness.due(training.epoch)
    return {"sharpness": training.sharpness.measure() if due else training.network.parameters.new_full((), torch.nan)}


def _pooled(layers: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """One value for the network, then one for each layer."""
    return torch.cat([pool(layers).reshape(1), layers])
