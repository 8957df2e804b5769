"""The optimisers, on one flat vector of parameters, and the weight decay that wdtui exists to study."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.support.third_party import fused_adam, fused_adamw


class Optimizer:
    """AdamW, Adam or SGD with momentum; λ and the learning rate may be changed between steps."""

    def __init__(self, config: RunConfig, parameters: Tensor, gradients: Tensor) -> None:
        self.weight_decay = config.weight_decay
        self.learning_rate = config.learning_rate
        self.parameters = parameters
        self.gradients = gradients
        self._update = SGD(config, parameters) if config.optimizer == "sgd" else Adam(config, parameters)

    @property
    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers from step to step, by name; writing into these tensors restores it."""
        return self._update.state

    @property
    def fixed(self) -> tuple[Hashable, ...]:
        """The numbers that a recorded step keeps, as they are not in tensors."""
        return self.weight_decay, self.learning_rate

    def denominator(self) -> Tensor:
        """What the next update divides the gradient by: [parameters] for Adam, 1 for SGD."""
        return self._update.denominator()

    def step(self) -> None:
        """Decay the parameters and move them along the gradients."""
        self._update.step(self.parameters, self.gradients, self.learning_rate, self.weight_decay)


class Adam:
    """Adam (Kingma & Ba 2015) in one fused call, which also does the decay: that saves a pass over the parameters."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.beta1, self.beta2 = config.betas
        self.epsilon = config.adam_epsilon
        self._fused = fused_adamw if config.decoupled else fused_adam
        self.state = {
            "mean": torch.zeros_like(parameters),
            "square": torch.zeros_like(parameters),
            "steps": torch.zeros((), device=parameters.device),
        }

    def denominator(self) -> Tensor:
        """sqrt(v̂) + epsilon, v̂ the bias-corrected running square; before the first step only epsilon."""
        corrected = self.state["square"] / (1 - self.beta2 ** self.state["steps"]).clamp_min(1e-12)
        return corrected.sqrt() + self.epsilon

    def step(self, parameters: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        mean, square, steps = self.state.values()
        steps += 1
        self._fused(
            [parameters], [gradients], [mean], [square], [], [steps],
            weight_decay=weight_decay,  # the article hangs on this: θ ← θ·(1 − lr·λ) first; as L2, g ← g + λ·θ instead
            lr=learning_rate, beta1=self.beta1, beta2=self.beta2, eps=self.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip


class SGD:
    """Stochastic gradient descent with heavy-ball momentum, PyTorch's convention: b ← μ·b + g, θ ← θ − lr·b."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.momentum = config.momentum
        self.decoupled = config.decoupled
        self.state = {"velocity": torch.zeros_like(parameters)}

    def denominator(self) -> Tensor:
        return torch.ones((), device=self.state["velocity"].device)

    def step(self, parameters: Tensor, gradients: Tensor, learning_rate: float, weight_decay: float) -> None:
        velocity = self.state["velocity"].mul_(self.momentum).add_(gradients)
        if self.decoupled:
            parameters.mul_(1 - learning_rate * weight_decay)
        else:
            velocity.add_(parameters, alpha=weight_decay)
        parameters.add_(velocity, alpha=-learning_rate)


class StackedOptimizer:
    """The same for several models at once, whose parameters are [models, parameters], each with a λ and lr of its own.

    The decay of all models is one operation here, as the fused update knows only one λ.
    """

    def __init__(self, configs: Sequence[RunConfig], parameters: Tensor, gradients: Tensor) -> None:
        config = configs[0]
        self.parameters, self.gradients = parameters, gradients
        self.weight_decays = [one.weight_decay for one in configs]
        self.learning_rates = [one.learning_rate for one in configs]
        self.decoupled = config.decoupled
        self.learning_rate = parameters.new_empty(len(configs))
        self._decay = parameters.new_empty(len(configs), 1)
        """What the parameters are multiplied by where decay is decoupled; else λ, for the gradient."""
        self._update = StackedSGD(config, parameters) if config.optimizer == "sgd" else StackedAdam(config, parameters)
        self.refresh()

    @property
    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers from step to step, [models, ...] by name."""
        return self._update.state

    @property
    def fixed(self) -> tuple[Hashable, ...]:
        """The numbers that a recorded step keeps, as they are not in tensors."""
        return tuple(self.learning_rates)

    def refresh(self) -> None:
        """Take over what is in `weight_decays` and `learning_rates` now."""
        rates = list(zip(self.weight_decays, self.learning_rates, strict=True))
        factors = [1 - rate * decay if self.decoupled else decay for decay, rate in rates]
        self._decay.copy_(torch.tensor(factors).unsqueeze(1))
        self.learning_rate.copy_(torch.tensor(self.learning_rates))

    def step(self) -> None:
        """Decay the parameters and move them along the gradients."""
        gradients = self.gradients
        if self.decoupled:
            self.parameters.mul_(self._decay)
        else:
            gradients = torch.addcmul(gradients, self.parameters, self._decay)
        self._update.step(self.parameters, gradients, self.learning_rates, self.learning_rate)


class StackedAdam:
    """One fused call for all neighbours with the same learning rate."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.beta1, self.beta2 = config.betas
        self.epsilon = config.adam_epsilon
        self.state = {
            "mean": torch.zeros_like(parameters),
            "square": torch.zeros_like(parameters),
            "steps": parameters.new_zeros(len(parameters)),
        }

    def step(self, parameters: Tensor, gradients: Tensor, learning_rates: Sequence[float], _: Tensor) -> None:
        mean, square, steps = self.state.values()
        steps += 1
        start = 0
        for rate, same in itertools.groupby(learning_rates):
            rows = slice(start, start := start + len(list(same)))
            fused_adam(
                [parameters[rows]], [gradients[rows]], [mean[rows]], [square[rows]], [], [steps[rows.start]],
                weight_decay=0.0, lr=rate,
                beta1=self.beta1, beta2=self.beta2, eps=self.epsilon, amsgrad=False, maximize=False,
            )  # fmt: skip


class StackedSGD:
    """Heavy-ball momentum, as `SGD`."""

    def __init__(self, config: RunConfig, parameters: Tensor) -> None:
        self.momentum = config.momentum
        self.state = {"velocity": torch.zeros_like(parameters)}

    def step(self, parameters: Tensor, gradients: Tensor, _: Sequence[float], learning_rate: Tensor) -> None:
        velocity = self.state["velocity"].mul_(self.momentum).add_(gradients)
        parameters.addcmul_(velocity, learning_rate.unsqueeze(1), value=-1)
