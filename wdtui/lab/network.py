"""The residual network, forward and backward, written out in the calls that do the work.

Autograd, module hooks and per-tensor optimisers cost as much time as the arithmetic at these sizes. So the parameters
are one flat vector, gradients land in place in another, and the few derivatives are spelled out; the tests hold them to
a plain nn.Module under autograd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wdtui.config import RunConfig

_batch_norm_backward = torch.ops.aten.native_batch_norm_backward.default
_relu_backward = torch.ops.aten.threshold_backward.default

_EVALUATION_PAIRS = 1024
"""So many pairs at most go through the network at once in evaluation."""


def parameter_shapes(config: RunConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all parameters, in the order in which an nn.Module of this network holds them."""

    def linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (outputs, inputs)
        yield f"{name}.bias", (outputs,)

    yield from linear("input", config.inputs, config.width)
    for block in range(1, config.blocks + 1):
        for place in (1, 2):
            yield from linear(f"block{block}.linear{place}", config.width, config.width)
            if config.batch_norm:
                yield f"block{block}.norm{place}.weight", (config.width,)
                yield f"block{block}.norm{place}.bias", (config.width,)
    yield from linear("output", config.width, config.bits)


def initial_parameters(config: RunConfig) -> Tensor:
    """PyTorch's default initialisation, drawn on the CPU from `seed`: float32 [parameters]."""
    generator = torch.Generator().manual_seed(config.seed)
    tensors = []
    for name, shape in parameter_shapes(config):
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


class Linear:
    """y = x·Wᵀ + b, with the views of the flat vectors that it needs."""

    def __init__(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], name: str) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.weight_gradient, self.bias_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.transposed = self.weight.t()

    def forward(self, inputs: Tensor, out: Tensor) -> Tensor:
        return torch.addmm(self.bias, inputs, self.transposed, out=out)

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of W and b, given that of y."""
        torch.mm(gradient.t(), inputs, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)


class BatchNorm:
    """y = γ·(x − E[x]) / sqrt(Var[x] + ε) + β over the batch, with running statistics for evaluation."""

    def __init__(
        self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], name: str, running: Tensor, momentum: float
    ) -> None:
        self.scale, self.shift = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.scale_gradient, self.shift_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.running_mean, self.running_variance = running
        self.momentum = momentum
        self.mean = torch.empty_like(self.scale)
        self.inverse_deviation = torch.empty_like(self.scale)

    def forward(self, inputs: Tensor, epsilon: float, out: Tensor, inverse_deviation: Tensor) -> Tensor:
        """Normalise; leave 1 / sqrt(Var[x] + ε) of each channel in `inverse_deviation`, for backward and metrics."""
        self.inverse_deviation = inverse_deviation
        running = self.running_mean, self.running_variance
        results = out, self.mean, inverse_deviation
        torch.native_batch_norm(inputs, self.scale, self.shift, *running, True, self.momentum, epsilon, out=results)
        return out

    def backward(self, gradient: Tensor, inputs: Tensor, epsilon: float) -> Tensor:
        """Write the gradients of γ and β and return that of x, given that of y."""
        statistics = self.running_mean, self.running_variance, self.mean, self.inverse_deviation
        gradient, scale_gradient, shift_gradient = _batch_norm_backward(
            gradient, inputs, self.scale, *statistics, True, epsilon, [True, True, True]
        )
        self.scale_gradient.copy_(scale_gradient)
        self.shift_gradient.copy_(shift_gradient)
        return gradient

    def folded(self, linear: Linear, epsilon: float) -> tuple[Tensor, Tensor]:
        """Weight and bias of the linear layer before, with the normalisation by the running statistics folded in."""
        scale = self.scale * torch.rsqrt(self.running_variance + epsilon)
        return linear.weight * scale.unsqueeze(1), self.shift + (linear.bias - self.running_mean) * scale


class Network:
    """Linear, residual blocks of [linear, BatchNorm, ReLU, linear, BatchNorm, + input, ReLU], linear.

    `parameters` and `gradients` are flat float32 vectors in the order of `parameter_shapes`; `running` holds the
    running mean and variance of each BatchNorm layer, [layers, 2, width].
    """

    def __init__(self, config: RunConfig, device: torch.device | str = "cpu") -> None:
        self.epsilon = config.bn_epsilon
        self.parameters = initial_parameters(config).to(device)
        self.gradients = torch.zeros_like(self.parameters)
        self.running = torch.zeros(config.norm_layers, 2, config.width, device=device)
        self.running[:, 1] = 1
        self.named = _views(self.parameters, config)
        gradients = _views(self.gradients, config)

        def linear(name: str) -> Linear:
            return Linear(self.named, gradients, name)

        places = [f"block{block}.{{}}{place}" for block in range(1, config.blocks + 1) for place in (1, 2)]
        self.input, self.output = linear("input"), linear("output")
        self.hidden = [linear(place.format("linear")) for place in places]
        self.norms = [
            BatchNorm(self.named, gradients, place.format("norm"), running, config.bn_momentum)
            for place, running in zip(places, self.running, strict=False)
        ]
        batch = torch.empty(config.batch_size, config.width, device=device)
        self._linear_outputs = [torch.empty_like(batch) for _ in self.hidden]
        self._activations = [torch.empty_like(batch) for _ in [self.input, *self.hidden]]
        held_out = min(_EVALUATION_PAIRS, config.validation_size + config.test_size)
        self._evaluation_buffers = torch.empty(3, held_out, config.width, device=device)

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
        return self.output.forward(x, out)

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of all parameters, given that of the logits of the last forward's `inputs`."""
        activations = self._activations
        self.output.backward(gradient, activations[-1])
        gradient = gradient.mm(self.output.weight)
        skipped = gradient
        for i in reversed(range(len(self.hidden))):
            gradient = _relu_backward(gradient, activations[i + 1], 0)
            if i % 2:
                skipped = gradient
            if self.norms:
                gradient = self.norms[i].backward(gradient, self._linear_outputs[i], self.epsilon)
            linear = self.hidden[i]
            linear.backward(gradient, activations[i])
            gradient = gradient.mm(linear.weight) if i % 2 else skipped.addmm_(gradient, linear.weight)
        self.input.backward(gradient, inputs)

    def evaluate(self, inputs: Tensor) -> Tensor:
        """Logits [pairs, bits] in evaluation mode, for any number of pairs."""
        layers = [(linear.weight, linear.bias) for linear in self.hidden]
        if self.norms:
            layers = [norm.folded(linear, self.epsilon) for norm, linear in zip(self.norms, self.hidden, strict=True)]
        parts = torch.split(inputs, self._evaluation_buffers.shape[1])
        return torch.cat([self._evaluate_part(part, layers) for part in parts])

    def _evaluate_part(self, inputs: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        x, middle, y = self._evaluation_buffers[:, : len(inputs)]
        self.input.forward(inputs, x)
        for i, (weight, bias) in enumerate(layers):
            if i % 2 == 0:
                torch.addmm(bias, x, weight.t(), out=middle).relu_()
            else:
                torch.addmm(bias, middle, weight.t(), out=y).add_(x).relu_()
                x, y = y, x
        return torch.addmm(self.output.bias, x, self.output.transposed)


def _views(flat: Tensor, config: RunConfig) -> dict[str, Tensor]:
    shapes = dict(parameter_shapes(config))
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes.values()])
    return {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
