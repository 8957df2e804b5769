"""The steps of the optimisers, a module each, on one flat vector of parameters or on a stack of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.optimizers import OPTIMIZERS
from wdtui.training.gauges import Decay


class Step(Protocol):
    """One model's optimiser: its state, and its step."""

    state: dict[str, Tensor]
    """What it keeps from step to step, by name. Writing into these tensors restores it."""

    def denominator(self) -> Tensor:
        """What the next update divides the gradient by: [parameters], or a number that holds for all."""

    def step(self, parameters: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        """Decay the parameters and move them along the gradients, [parameters] each."""


class StackedStep(Protocol):
    """The same for several models, [models, parameters], after the decay."""

    state: dict[str, Tensor]

    def step(
        self, parameters: Tensor, gradients: Tensor, learning_rates: Sequence[float], learning_rate: Tensor
    ) -> None:
        """Move the parameters. `learning_rate` has the `learning_rates` as a tensor [models]."""


_MakeStacked = Callable[[RunConfig, Tensor], StackedStep]


class _Module(Protocol):
    """What a module here defines."""

    Step: Callable[[RunConfig, Tensor], Step]
    StackedStep: _MakeStacked
    RecordedStep: _MakeStacked
    """One that a graph can record: it takes the learning rates from the tensor alone."""
    decay: Callable[[RunConfig, Any], Decay]
    """How it shrinks the parameters, given learning rate · λ, a number or a tensor."""


def steps_of(config: RunConfig) -> _Module:
    """The steps of a config's optimiser."""
    return cast(_Module, importlib.import_module(f"{__name__}.{OPTIMIZERS[config.optimizer].module}"))
