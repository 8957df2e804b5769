"""The optimisers, on one flat vector of parameters for each model, and the weight decay that wdtui studies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.optimizers import steps_of


class Optimizer:
    """One of OPTIMIZERS. λ and the learning rate may be changed between steps."""

    def __init__(self, config: RunConfig, parameters: Tensor, gradients: Tensor) -> None:
        self.weight_decay = config.weight_decay
        self.learning_rate = config.learning_rate
        self.parameters = parameters
        self.gradients = gradients
        self._update = steps_of(config).Step(config, parameters)

    @property
    def state(self) -> dict[str, Tensor]:
        """What the optimiser keeps from step to step, by name. Writing into these tensors restores it."""
        return self._update.state

    def denominator(self) -> Tensor:
        """What the next update divides the gradient by: [parameters] for Adam, 1 for SGD."""
        return self._update.denominator()

    def step(self) -> None:
        """Decay the parameters and move them along the gradients."""
        self._update.step(self.parameters, self.gradients, self.learning_rate, self.weight_decay)


class StackedOptimizer:
    """The same for several models, whose parameters are [models, parameters], each with its own λ and learning rate.

    The decay of all models is one operation here, as the fused update takes only one λ.
    """

    def __init__(
        self, configs: Sequence[RunConfig], parameters: Tensor, gradients: Tensor, *, recorded: bool = False
    ) -> None:
        """With `recorded` its steps can be recorded in a graph: all that may change between them is in tensors."""
        config = configs[0]
        self.parameters, self.gradients = parameters, gradients
        self.decoupled = config.decoupled
        self.learning_rate = parameters.new_empty(len(configs))
        self._decay = parameters.new_empty(len(configs), 1)
        """The factor of the parameters where decay is decoupled, else λ, which adds to the gradient."""
        steps = steps_of(config)
        self._update = (steps.RecordedStep if recorded else steps.StackedStep)(config, parameters)
        self.set_rates([one.weight_decay for one in configs], [one.learning_rate for one in configs])

    @property
    def state(self) -> dict[str, Tensor]:
        """What the optimiser keeps from step to step, [models, ...] by name."""
        return self._update.state

    @property
    def weight_decay(self) -> Tensor:
        """The λ of each model, [models], copied from the host."""
        return self.parameters.new_tensor(self._weight_decays)

    def set_rates(self, weight_decays: Sequence[float], learning_rates: Sequence[float]) -> None:
        """Use another λ and learning rate of each model from the next step on."""
        rates = zip(weight_decays, learning_rates, strict=True)
        factors = [1 - rate * decay if self.decoupled else decay for decay, rate in rates]
        self._decay.copy_(torch.tensor(factors).unsqueeze(1))
        self.learning_rate.copy_(torch.tensor(learning_rates))
        self._weight_decays, self._learning_rates = tuple(weight_decays), tuple(learning_rates)

    def step(self) -> None:
        """Decay the parameters and move them along the gradients."""
        gradients = self.gradients
        if self.decoupled:
            self.parameters.mul_(self._decay)
        else:
            gradients = torch.addcmul(gradients, self.parameters, self._decay)
        self._update.step(self.parameters, gradients, self._learning_rates, self.learning_rate)
