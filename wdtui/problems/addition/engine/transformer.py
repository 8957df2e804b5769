"""The transformer of the original code: an encoder over the bit positions, differentiated by autograd.

A step is a few large matrix products here, beside which autograd's own cost does not show. To the training it is what
the residual network is: flat vectors of parameters and gradients, a forward, a backward and an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.network import views
from wdtui.problems.addition.sizes import parameter_shapes

_DEVIATION = 0.02
"""Of the normal distribution from which BERT draws matrices and positions (Devlin et al. 2019)."""
_EVALUATION_NUMBERS = 8_000_000
"""So many numbers of intermediate results at most does one part of an evaluation hold."""


def initial_parameters(config: RunConfig) -> Tensor:
    """The original's initialisation, drawn on the CPU from `seed`: BERT's, at both ends PyTorch's; [parameters]."""
    generator = torch.Generator().manual_seed(config.seed)
    tensors = []
    for name, shape in parameter_shapes(config).items():
        layer, _, kind = name.rpartition(".")
        tensor = torch.zeros(shape)
        if layer in ("input", "output"):
            bound = 1 / math.sqrt(2 if layer == "input" else config.width)
            tensor.uniform_(-bound, bound, generator=generator)
        elif len(shape) == 2:
            tensor.normal_(0, _DEVIATION, generator=generator)
        elif "norm" in layer and kind == "weight":
            tensor.fill_(1)
        tensors.append(tensor.flatten())
    return torch.cat(tensors)


class Transformer:
    """Linear, positions added, LayerNorm; blocks of [attention, + input, LayerNorm, linear, ReLU, linear, + input,
    LayerNorm]; linear: one logit per position.

    `parameters` and `gradients` are flat vectors in the order of `parameter_shapes`. There is no BatchNorm: `running`
    is empty, and `epsilon` is LayerNorm's. Of the original's BERT only the embedding of token types is left out: with
    one type it is a second bias.
    """

    def __init__(self, config: RunConfig, device: torch.device | str = "cpu") -> None:
        self.epsilon = config.bn_epsilon
        self.parameters = initial_parameters(config).to(device)
        self.gradients = torch.zeros_like(self.parameters)
        self.running = torch.zeros(0, 2, config.width, device=device)
        self._config = config
        self.named = views(self.parameters, config)
        self._leaf = self.parameters.detach().requires_grad_()  # the same memory, seen by autograd
        self._logits = torch.empty(0)
        numbers_per_pair = config.bits * (8 * config.width + config.heads * config.bits)
        self._part = max(1, _EVALUATION_NUMBERS // numbers_per_pair)

    def forward(self, inputs: Tensor, out: Tensor, inverse_deviations: Sequence[Tensor] = ()) -> Tensor:
        """Write the logits [batch, bits] of a training batch to `out`; what backward needs is kept until then.

        There being no BatchNorm, `inverse_deviations` is empty.
        """
        with torch.inference_mode(False):  # the training steps in inference mode, whose tensors autograd cannot keep
            self._logits = self._run(inputs.clone(), views(self._leaf, self._config))
        return out.copy_(self._logits)

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of all parameters, given that of the logits of the last forward's `inputs`."""
        with torch.inference_mode(False):
            (gradients,) = torch.autograd.grad(self._logits, self._leaf, gradient.clone())
        self.gradients.copy_(gradients)
        self._logits = torch.empty(0)

    @torch.inference_mode()
    def evaluate(self, inputs: Tensor) -> Tensor:
        """Logits [pairs, bits], for any number of pairs."""
        return torch.cat([self._run(part, self.named) for part in torch.split(inputs, self._part)])

    def _run(self, inputs: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """Logits [pairs, bits] of inputs [pairs, 2·bits]; in between x is [pairs, bits, width]."""

        def linear(name: str, x: Tensor) -> Tensor:
            return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str, x: Tensor) -> Tensor:
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            return functional.layer_norm(x, weight.shape, weight, bias, self.epsilon)

        x = linear("input", inputs.view(len(inputs), -1, 2)) + weights["position.weight"]
        x = norm("norm", x)
        for block in (f"block{number}" for number in range(1, self._config.blocks + 1)):
            attended = self._attend(linear(f"{block}.attention", x))
            x = norm(f"{block}.norm1", x + linear(f"{block}.mixing", attended))
            hidden = torch.relu_(linear(f"{block}.linear1", x))
            x = norm(f"{block}.norm2", x + linear(f"{block}.linear2", hidden))
        return linear("output", x).squeeze(2)

    def _attend(self, projected: Tensor) -> Tensor:
        """softmax(QKᵀ/√d)·V of each head (Vaswani et al. 2017), [pairs, bits, width] from [pairs, bits, 3·width]."""
        heads = projected.view(*projected.shape[:2], 3, self._config.heads, -1).transpose(1, 3)
        query, key, value = heads.unbind(2)
        return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
