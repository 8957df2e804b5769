"""The values of METRICS at the end of an epoch, computed on the device and fetched in one transfer.

All of this works for one model and for several. The axis of several models is the last one of every value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import EpochRecord, sum_along
from wdtui.problems.addition.engine.losses import performance
from wdtui.problems.addition.engine.network import views
from wdtui.problems.addition.engine.optimizers import steps_of
from wdtui.problems.addition.engine.parts import AnyNetwork, AnyOptimizer
from wdtui.problems.addition.engine.tasks import Task
from wdtui.problems.addition.metrics import METRICS
from wdtui.problems.addition.sizes import layer_names
from wdtui.training.gauges import (
    Step,
    effective_learning_rates,
    lengths,
    pooled,
    projections,
)

if TYPE_CHECKING:
    from wdtui.problems.addition.engine.sharpness import Sharpness


class Measurable(Protocol):
    """One run, or several whose `config` says what they have in common."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def task(self) -> Task: ...

    @property
    def network(self) -> AnyNetwork: ...

    @property
    def optimizer(self) -> AnyOptimizer: ...

    @property
    def record(self) -> EpochRecord: ...

    @property
    def sharpness(self) -> Sharpness | None:
        """Measures the sharpness of one run, if that is wanted."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""


def measure(training: Measurable, before_last_step: Tensor) -> list[Any]:
    """All values of a point except its speed, in the order of `config.columns`; of several models, a list for each.

    `before_last_step` holds the parameters as they were before the epoch's last step; it is overwritten.
    """
    values = _performance(training) | _norms(training) | _batch_norm(training) | _sharpness(training)
    values |= measure_last_step(training, before_last_step, values["weight_norm"][1:])
    models = training.network.parameters.shape[:-1]
    present = [values[name].reshape(-1, *models) for name in METRICS if name in values]
    fetched: list[Any] = torch.cat(present).movedim(0, -1).tolist()
    return fetched


def _performance(training: Measurable) -> dict[str, Tensor]:
    config, task = training.config, training.task
    logits = training.network.evaluate(task.held_out)
    parts = torch.split(logits, [config.validation_size, config.test_size], dim=-2)
    measured = {
        "train": training.record.sums / config.steps_per_epoch,
        "validation": performance(config.loss, parts[0], task.validation.targets),
        "test": performance(config.loss, parts[1], task.test.targets),
    }
    names = "loss", "accuracy", "bit_accuracy"
    return {f"{kind}_{name}": value for kind, row in measured.items() for name, value in zip(names, row, strict=True)}


def _norms(training: Measurable) -> dict[str, Tensor]:
    config, network = training.config, training.network
    each = lengths([*network.named.values()], network.parameters.dim() - 1)
    norms = dict(zip(network.named, each.unbind(), strict=True))
    linear = [norms[f"{layer}.weight"] for layer in layer_names(config, "linear")]
    return {
        "weight_norm": torch.stack([sum_along(each, 0), *linear]),
        "weight_norm_squared": sum_along(each.square(), 0),
        "gradient_norm": network.gradients.norm(dim=-1),
    }


def measure_last_step(training: Measurable, before: Tensor, norms: Tensor) -> dict[str, Tensor]:
    """The length of the last step, and the decay gauges of it; overwrites the parameters `before` it.

    `norms` are those of the matrices now, [layers, ...]. What is not defined, as without decay, is NaN.
    """
    config, network, optimizer = training.config, training.network, training.optimizer
    layers = layer_names(config, "linear")
    named = [views(flat, config) for flat in (before, network.gradients)] + [network.named]
    copies, gradients, now = ([one[f"{layer}.weight"] for layer in layers] for one in named)
    projected = projections(copies, gradients, norms)
    update_norm = before.sub_(network.parameters).norm(dim=-1)  # the copies are views of it: now minus the update
    step = Step.of(now, copies, norms)
    gauges = {"scale_invariance": projected / step.norms_before, "rotation": step.rotations}
    decay = steps_of(config).decay(config, optimizer.learning_rate * optimizer.weight_decay)
    rate = norms.new_tensor(math.nan) if decay.rate is None else torch.as_tensor(decay.rate).to(norms)
    gauges["decay_share"] = step.decay_shares(decay._replace(rate=rate))
    decay = decay._replace(rate=torch.where(rate > 0, rate, math.nan))
    gauges["rotation_of_equilibrium"] = gauges["rotation"] / decay.equilibrium
    if invariant := [norms[layers.index(layer)] for layer in layer_names(config, "invariant")]:
        rates = effective_learning_rates(optimizer.learning_rate, torch.stack(invariant))
        gauges["effective_learning_rate"] = rates
    return {
        "update_norm": update_norm,
        "time_constant": decay.time_constant.expand(update_norm.shape),
        **{name: torch.cat([pooled(name, values).unsqueeze(0), values]) for name, values in gauges.items()},
    }


def _batch_norm(training: Measurable) -> dict[str, Tensor]:
    config, network = training.config, training.network
    if not config.norm_layers:
        return {}
    variance = training.record.variance / config.steps_per_epoch  # [layers, ..., width]
    below = (variance < network.epsilon).float().mean(-1)
    everywhere = variance.movedim(0, -2).flatten(-2)
    running = network.running[..., 1, :].amin(-1).movedim(-1, 0)
    return {
        "bn_variance_min": _pooled(variance.amin(-1), torch.amin),
        "bn_variance_median": torch.cat([everywhere.median(-1).values.unsqueeze(0), variance.median(-1).values]),
        "bn_variance_max": _pooled(variance.amax(-1), torch.amax),
        "bn_below_epsilon": _pooled(below, torch.mean),
        "running_variance_min": _pooled(running, torch.amin),
    }


def _sharpness(training: Measurable) -> dict[str, Tensor]:
    if not training.sharpness:
        return {}
    due = training.sharpness.due(training.epoch)
    return {"sharpness": training.sharpness.measure() if due else training.network.parameters.new_full((), torch.nan)}


def _pooled(layers: Tensor, pool: Callable[..., Tensor]) -> Tensor:
    """One value for the network, then one for each layer: the first axis."""
    return torch.cat([pool(layers, 0, keepdim=True), layers])
