"""The residual network, forward and backward, written out in the calls that do the work.

Autograd, module hooks and per-tensor optimisers cost as much time as the arithmetic at these sizes. So the parameters
are one flat vector, gradients land in place in another, and the few derivatives are spelled out; the tests hold them to
the plain nn.Module of `residual.py` under autograd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.layers import Linear, StackedBatchNorm, StackedLinear, batch_norm_on
from wdtui.problems.addition.sizes import parameter_shapes

_relu_backward = torch.ops.aten.threshold_backward.default

_EVALUATION_PAIRS = 1024
"""So many pairs at most go through the network at once in evaluation."""


def initial_parameters(config: RunConfig) -> Tensor:
    """PyTorch's default initialisation, drawn on the CPU from `seed`: float32 [parameters]."""
    generator = torch.Generator().manual_seed(config.seed)
    tensors = []
    for name, shape in parameter_shapes(config).items():
        tensor = torch.empty(shape)
        if ".norm" in name:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("weight"):
            inputs = shape[1]
            torch.nn.init.kaiming_uniform_(tensor, a=math.sqrt(5), generator=generator)
        else:
            tensor.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
        tensors.append(tensor.flatten())
    return torch.cat(tensors)


class Network:
    """Linear, residual blocks of [linear, BatchNorm, ReLU, linear, BatchNorm, + input, ReLU], linear.

    `parameters` and `gradients` are flat float32 vectors in the order of `parameter_shapes`; `running` holds the
    running mean and variance of each BatchNorm layer, [layers, 2, width]. With several `configs`, which may differ in
    ε and `seed`, it is as many networks side by side: all these and all that goes in and out gains a leading axis over
    the models, and ε is a tensor [models, 1].
    """

    def __init__(self, configs: Sequence[RunConfig] | RunConfig, device: torch.device | str = "cpu") -> None:
        each = [configs] if isinstance(configs, RunConfig) else list(configs)
        several, config = each != [configs], each[0]
        epsilons = [one.bn_epsilon for one in each]
        self.epsilon: Any = torch.tensor(epsilons, device=device).view(-1, 1) if several else epsilons[0]
        parameters = torch.stack([initial_parameters(one) for one in each]).to(device)
        self.parameters = parameters if several else parameters[0]
        self.gradients = torch.zeros_like(self.parameters)
        models = self.parameters.shape[:-1]
        self.running = torch.zeros(*models, config.norm_layers, 2, config.width, device=device)
        self.running[..., 1, :] = 1
        self.named = views(self.parameters, config)
        gradients = views(self.gradients, config)
        linear_kind, norm_kind = (StackedLinear, StackedBatchNorm) if several else (Linear, batch_norm_on(device))

        def linear(name: str) -> Any:
            return linear_kind(self.named, gradients, name)

        places = [f"block{block}.{{}}{place}" for block in range(1, config.blocks + 1) for place in (1, 2)]
        self.input, self.output = linear("input"), linear("output")
        self.hidden = [linear(place.format("linear")) for place in places]
        self.norms: list[Any] = [
            norm_kind(self.named, gradients, place.format("norm"), running, config.bn_momentum)
            for place, running in zip(places, self.running.unbind(-3), strict=False)
        ]
        batch = torch.empty(*models, config.batch_size, config.width, device=device)
        self._linear_outputs = [torch.empty_like(batch) for _ in self.hidden]
        self._activations = [torch.empty_like(batch) for _ in [self.input, *self.hidden]]
        held_out = min(_EVALUATION_PAIRS, config.validation_size + config.test_size)
        self._evaluation_buffers = torch.empty(3, *models, held_out, config.width, device=device)

    def forward(self, inputs: Tensor, out: Tensor, inverse_deviations: Sequence[Tensor] = ()) -> Tensor:
        """Write the logits [batch, bits] of a training batch to `out`, and 1/sqrt(Var + ε) of each BatchNorm layer.

        What backward needs is kept until the next call.
        """
        activations, linear_outputs = self._activations, self._linear_outputs
        x = self.input.forward(inputs, activations[0])
        for i, linear in enumerate(self.hidden):
            y = activations[i + 1]
            if self.norms:
                linear.forward(x, linear_outputs[i])
                self.norms[i].forward(linear_outputs[i], self.epsilon, y, inverse_deviations[i])
            else:
                linear.forward(x, y)
            if i % 2:  # the block ends: add what came in
                y.add_(activations[i - 1])
            x = torch.relu_(y)
        self.output.forward(x, out)
        return out

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of all parameters, given that of the logits of the last forward's `inputs`."""
        activations = self._activations
        self.output.backward(gradient, activations[-1])
        gradient = self.output.input_gradient(gradient)
        skipped = gradient
        for i in reversed(range(len(self.hidden))):
            gradient = _relu_backward(gradient, activations[i + 1], 0)
            if i % 2:
                skipped = gradient
            if self.norms:
                gradient = self.norms[i].backward(gradient, self._linear_outputs[i], self.epsilon)
            linear = self.hidden[i]
            linear.backward(gradient, activations[i])
            gradient = linear.input_gradient(gradient) if i % 2 else linear.add_input_gradient(skipped, gradient)
        self.input.backward(gradient, inputs)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Logits [pairs, bits] in evaluation mode, for any number of pairs."""
        folded: list[Any] = [None for _ in self.hidden]
        if self.norms:
            folded = [norm.folded(linear, self.epsilon) for norm, linear in zip(self.norms, self.hidden, strict=True)]
        parts = torch.split(inputs, self._evaluation_buffers.shape[-2], dim=-2)
        return torch.cat([self._evaluate_part(part, folded) for part in parts], dim=-2)

    def _evaluate_part(self, inputs: Tensor, folded: Sequence[Any]) -> Tensor:
        x, middle, y = self._evaluation_buffers[..., : inputs.shape[-2], :]
        self.input.forward(inputs, x)
        for i, linear in enumerate(self.hidden):
            if i % 2 == 0:
                linear.evaluate(x, folded[i], out=middle).relu_()
            else:
                linear.evaluate(middle, folded[i], out=y).add_(x).relu_()
                x, y = y, x
        logits: Tensor = self.output.evaluate(x)
        return logits


def views(flat: Tensor, config: RunConfig) -> dict[str, Tensor]:
    """Parameters, or what else there is one of for each, by name: views into the last axis of `flat`."""
    shapes = parameter_shapes(config)
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes.values()], dim=-1)
    return {
        name: piece.view(*flat.shape[:-1], *shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }
