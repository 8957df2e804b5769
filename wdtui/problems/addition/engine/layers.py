"""The layers of the network, each forward and backward, with the views of the flat vectors that they need.

`Linear` and `BatchNorm` belong to one model. `StackedLinear` and `StackedBatchNorm` do the same for several models at
once, with tensors that have a leading axis over the models. No operation mixes two models.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_batch_norm_backward = torch.ops.aten.native_batch_norm_backward.default

Views = Mapping[str, Tensor]


class Linear:
    """y = x·Wᵀ + b for x [batch, inputs]."""

    def __init__(self, parameters: Views, gradients: Views, name: str) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.weight_gradient, self.bias_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.transposed = self.weight.t()

    def forward(self, inputs: Tensor, out: Tensor) -> Tensor:
        return torch.addmm(self.bias, inputs, self.transposed, out=out)

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of W and b, given that of y."""
        torch.mm(gradient.t(), inputs, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of x, given that of y."""
        return gradient.mm(self.weight)

    def add_input_gradient(self, total: Tensor, gradient: Tensor) -> Tensor:
        """Add the gradient of x to what else flows back into x."""
        return total.addmm_(gradient, self.weight)

    def evaluate(
        self, inputs: Tensor, folded: tuple[Tensor, Tensor] | None = None, out: Tensor | None = None
    ) -> Tensor:
        """y, with the weight and bias of `BatchNorm.folded` in place of the layer's own where they are given."""
        weight, bias = folded or (self.weight, self.bias)
        return torch.addmm(bias, inputs, weight.t(), out=out)


class BatchNorm:
    """y = γ·(x − E[x]) / sqrt(Var[x] + ε) + β over the batch, with running statistics [2, width] for evaluation."""

    def __init__(self, parameters: Views, gradients: Views, name: str, running: Tensor, momentum: float) -> None:
        self.scale, self.shift = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
        self.scale_gradient, self.shift_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.running_mean, self.running_variance = running.unbind(-2)
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
        return linear.weight * scale.unsqueeze(-1), self.shift + (linear.bias - self.running_mean) * scale


class BatchNormOfTensors:
    """`BatchNorm` by the operations of `StackedBatchNorm`, with ε in a tensor.

    PyTorch on MPS keeps a graph of its own BatchNorm for each ε as written with six decimals, so that 1.20e-5 and
    1.23e-5 share one (pytorch/aten/src/ATen/native/mps/operations/Normalization.mm).
    """

    def __init__(self, parameters: Views, gradients: Views, name: str, running: Tensor, momentum: float) -> None:
        def stacked(views: Views) -> Views:
            return {each: views[each].unsqueeze(0) for each in (f"{name}.weight", f"{name}.bias")}

        self._stacked = StackedBatchNorm(stacked(parameters), stacked(gradients), name, running.unsqueeze(0), momentum)
        self._epsilon = running.new_empty(1, 1)

    def forward(self, inputs: Tensor, epsilon: float, out: Tensor, inverse_deviation: Tensor) -> Tensor:
        """As that of `BatchNorm`, but leave x̂ in `inputs`."""
        self._stacked.forward(
            inputs.unsqueeze(0), self._epsilon.fill_(epsilon), out.unsqueeze(0), inverse_deviation.unsqueeze(0)
        )
        return out

    def backward(self, gradient: Tensor, normalised: Tensor, epsilon: float) -> Tensor:
        """As that of `BatchNorm`, but given x̂, which is overwritten."""
        return self._stacked.backward(gradient.unsqueeze(0), normalised.unsqueeze(0), self._epsilon).squeeze(0)

    def folded(self, linear: Linear, epsilon: float) -> tuple[Tensor, Tensor]:
        """As that of `BatchNorm`."""
        weight, bias = self._stacked.folded(linear, self._epsilon.fill_(epsilon))
        return weight.squeeze(0), bias.flatten()


def batch_norm_on(device: torch.device | str) -> type[BatchNorm | BatchNormOfTensors]:
    """The BatchNorm for one model on a device."""
    return BatchNormOfTensors if torch.device(device).type == "mps" else BatchNorm


class StackedLinear:
    """y = x·Wᵀ + b for x [models, batch, inputs], each model with a W and b of its own."""

    def __init__(self, parameters: Views, gradients: Views, name: str) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"].unsqueeze(1)
        self.weight_gradient, self.bias_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.transposed = self.weight.mT
        self._products = torch.empty_like(self.weight, memory_format=torch.contiguous_format)

    def forward(self, inputs: Tensor, out: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, inputs, self.transposed, out=out)

    def backward(self, gradient: Tensor, inputs: Tensor) -> None:
        """Write the gradients of W and b, given that of y."""
        # Only into contiguous memory does the CPU multiply all models in one call: that and a copy are far faster
        self.weight_gradient.copy_(torch.bmm(gradient.mT, inputs, out=self._products))
        torch.sum(gradient, 1, out=self.bias_gradient)

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """The gradient of x, given that of y."""
        return gradient.bmm(self.weight)

    def add_input_gradient(self, total: Tensor, gradient: Tensor) -> Tensor:
        """Add the gradient of x to what else flows back into x."""
        return total.baddbmm_(gradient, self.weight)

    def evaluate(
        self, inputs: Tensor, folded: tuple[Tensor, Tensor] | None = None, out: Tensor | None = None
    ) -> Tensor:
        """y, with the weight and bias of `StackedBatchNorm.folded` in place of the layer's own where given."""
        weight, bias = folded or (self.weight, self.bias)
        return torch.baddbmm(bias, inputs, weight.mT, out=out)


class StackedBatchNorm:
    """BatchNorm for x [models, batch, width]; ε is a tensor [models, 1], as the models may differ in it."""

    def __init__(self, parameters: Views, gradients: Views, name: str, running: Tensor, momentum: float) -> None:
        self.scale, self.shift = (parameters[f"{name}.{part}"].unsqueeze(1) for part in ("weight", "bias"))
        self.scale_gradient, self.shift_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self.running_mean, self.running_variance = running.unbind(-2)
        self.momentum = momentum

    def forward(self, inputs: Tensor, epsilon: Tensor, out: Tensor, inverse_deviation: Tensor) -> Tensor:
        """Normalise; leave 1 / sqrt(Var[x] + ε) in `inverse_deviation` [models, width], and x̂ in `inputs`."""
        pairs = inputs.shape[1]
        mean = inputs.mean(1)
        centred = inputs.sub_(mean.unsqueeze(1))
        variance = torch.mul(centred, centred, out=out).mean(1)
        torch.rsqrt(variance + epsilon, out=inverse_deviation)
        self.inverse_deviation = inverse_deviation.unsqueeze(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance.mul_(pairs / (pairs - 1)), self.momentum)
        return torch.addcmul(self.shift, centred.mul_(self.inverse_deviation), self.scale, out=out)

    def backward(self, gradient: Tensor, normalised: Tensor, epsilon: Tensor) -> Tensor:
        """Write the gradients of γ and β and return that of x, given that of y and x̂, which is overwritten."""
        pairs = gradient.shape[1]
        torch.sum(gradient, 1, out=self.shift_gradient)
        torch.sum(gradient * normalised, 1, out=self.scale_gradient)
        drift = normalised.mul_(self.scale_gradient.unsqueeze(1)).add_(self.shift_gradient.unsqueeze(1)).div_(pairs)
        return torch.sub(gradient, drift, out=drift).mul_(self.scale * self.inverse_deviation)

    def folded(self, linear: Linear | StackedLinear, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the linear layer before, with the normalisation by the running statistics folded in."""
        scale = self.scale * torch.rsqrt(self.running_variance + epsilon).unsqueeze(1)
        return linear.weight * scale.mT, self.shift + (linear.bias - self.running_mean.unsqueeze(1)) * scale
