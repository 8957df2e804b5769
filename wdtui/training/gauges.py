"""Decay gauges: what weight decay does to each weight matrix of a model in one step, on the model's device.

Sources of the formulas: Kosson et al. 2023, arXiv 2305.17212 (rotation and its equilibrium), Wang & Aitchison 2024,
arXiv 2405.13698 (time constant).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wdtui.support.third_party import foreach_norm, foreach_subtract
from wdtui.training.probes import layer_name, whole


class Gauges:
    """A step in progress: made before it, with a copy of the weight matrices; measured once, after it."""

    def __init__(self, models: Mapping[str, nn.Module], optimizers: Iterable[Optimizer]) -> None:
        """`models` are by the prefix of their layers' names. Settings of the param groups are read here."""
        names = {
            parameter: layer_name(prefix, name).removesuffix(".weight")
            for prefix, model in models.items()
            for name, parameter in model.named_parameters()
            if not isinstance(parameter, nn.UninitializedParameter) and parameter.dim() > 1
        }
        self._groups: list[_Group] = []
        self._time_constant: Any = None
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            rate = decay_rate(group)
            if self._time_constant is None and rate is not None and not _is_zero(rate):
                self._time_constant = 1 / rate
            weights = [one for one in group["params"] if one in names and one.is_floating_point()]
            if weights:
                copies = [weight.detach().clone() for weight in weights]
                named = [names[weight] for weight in weights]
                self._groups.append(_Group(named, weights, copies, rate, equilibrium_rotation(group)))

    @torch.no_grad()
    def measure(self) -> dict[str, Tensor | float]:
        """The gauges of the step, 0-dimensional tensors by the name of a metric; uses up the copies.

        What is unknown for all layers is left out, what is unknown for some is NaN there.
        """
        layers: dict[str, dict[str, Tensor]] = {}
        for group in self._groups:
            for gauge, by_layer in group.measured().items():
                layers.setdefault(gauge, {}).update(by_layer)
        self._groups = []
        measured: dict[str, Tensor | float] = {}
        for gauge, by_layer in layers.items():
            first, *_ = by_layer.values()
            measured[gauge] = torch.stack([one.to(first) for one in by_layer.values()]).nanmedian()
            measured |= {f"{gauge}/{layer}": value for layer, value in by_layer.items()}
        return measured if self._time_constant is None else measured | {"time_constant": self._time_constant}


@dataclasses.dataclass
class _Group:
    """The weight matrices of one param group."""

    names: Sequence[str]
    weights: Sequence[Tensor]
    copies: list[Tensor]
    rate: Any
    """ηλ; None where the optimizer's decay is not a multiple of the weights."""
    equilibrium: Any
    """The predicted rotation per step, in radians; None where none is known."""

    def measured(self) -> dict[str, dict[str, Tensor]]:
        """Values by gauge and layer."""
        kept = [
            (name, weight, copy)
            for name, weight, copy in zip(self.names, self.weights, self.copies, strict=True)
            if (weight.shape, weight.dtype, weight.device) == (copy.shape, copy.dtype, copy.device)
        ]
        if not kept:
            return {}
        names, weights, before = (list(column) for column in zip(*kept, strict=True))
        weights = [weight.detach() for weight in weights]
        gradients = [weight.grad for _, weight, _ in kept]
        norms, vectors = _norms(before), {}
        if any(gradient is not None for gradient in gradients):
            vectors["scale_invariance"] = _cosines(before, gradients, norms)
        foreach_subtract(before, weights)  # now minus the update, so that no second copy is needed
        updates = _norms(before)
        vectors["rotation"] = _rotations(weights, before)
        if self.rate is not None:
            share = self.rate * norms / updates
            vectors["decay_share"] = torch.where(updates > 0, share, math.nan)
        if self.equilibrium is not None:
            vectors["rotation_of_equilibrium"] = vectors["rotation"] / self.equilibrium
        return {gauge: dict(zip(names, values.unbind(), strict=True)) for gauge, values in vectors.items()}


def decay_rate(group: Mapping[str, Any]) -> Any:
    """ηλ, by which a step shrinks the weights of a param group; None if its optimizer does not decay them so.

    SGD adds λW to the gradient, which without momentum is the same. Adam divides λW by the size of the gradient.
    """
    if _is_sgd(group) or group.get("decoupled_weight_decay"):
        return group["lr"] * group["weight_decay"]
    return None


def equilibrium_rotation(group: Mapping[str, Any]) -> Any:
    """The rotation per step, in radians, at which a scale-invariant layer comes to rest; None if none is known.

    AdamW: √(2ηλ(1−β₁)/(1+β₁)). SGD with momentum μ: √(2ηλ/(1+μ)). Kosson et al. 2023, arXiv 2305.17212, table 1.
    """
    rate = decay_rate(group)
    if rate is None or _is_zero(rate):
        return None
    if _is_sgd(group):
        known = not group["nesterov"] and not group["dampening"]
        return (2 * rate / (1 + group["momentum"])) ** 0.5 if known else None
    if "amsgrad" not in group:  # decoupled, but no AdamW
        return None
    beta = group["betas"][0]
    return (2 * rate * (1 - beta) / (1 + beta)) ** 0.5


def _is_sgd(group: Mapping[str, Any]) -> bool:
    """Known by its settings: an optimizer may be wrapped."""
    return {"momentum", "dampening", "nesterov"} <= group.keys()


def _is_zero(value: Any) -> bool:
    return not isinstance(value, Tensor) and value == 0  # asking a tensor would wait for its device


def _cosines(weights: Sequence[Tensor], gradients: Sequence[Tensor | None], norms: Tensor) -> Tensor:
    """cos(W, ∇W) of each weight, NaN without a dense gradient: 0 where the loss does not depend on ‖W‖."""
    dense = [None if gradient is None or gradient.is_sparse else gradient for gradient in gradients]
    known = [gradient for gradient in dense if gradient is not None]
    if not known:
        return torch.full_like(norms, math.nan)
    lengths = iter(_norms(known).to(norms).unbind())
    unknown = torch.full_like(norms[0], math.nan)
    products, of_gradients = [], []
    for weight, gradient in zip(weights, dense, strict=True):
        products.append(unknown if gradient is None else _dot(weight, gradient, norms))
        of_gradients.append(unknown if gradient is None else next(lengths))
    return torch.stack(products) / norms / torch.stack(of_gradients)


def _rotations(after: Sequence[Tensor], undone: Sequence[Tensor]) -> Tensor:
    """The angles between weights after a step and before it, which are `after` + `undone`, in radians.

    From the part of the update that is orthogonal to W: an arc cosine cannot tell small angles from 0 in float32. That
    part alone is left in `undone`.
    """
    norms = _norms(after)
    products = [_dot(weight, difference, norms) for weight, difference in zip(after, undone, strict=True)]
    along = torch.stack(products) / norms.square().clamp_min(torch.finfo(norms.dtype).tiny)
    for weight, difference, part in zip(after, undone, along.unbind(), strict=True):
        difference.addcmul_(weight, part.to(difference), value=-1)
    return torch.atan2(_norms(undone), norms * (1 + along))


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norms [len(tensors)], in float32 or, of doubles, in float64."""
    dtype = torch.float64 if any(one.dtype.itemsize > 4 for one in tensors) else torch.float32
    first, *others = (whole(norm) for norm in foreach_norm(list(tensors), dtype=dtype))
    return torch.stack([first, *(other.to(first) for other in others)])


def _dot(first: Tensor, second: Tensor, like: Tensor) -> Tensor:
    """The inner product of two tensors, in the precision and on the device of `like`."""
    first, second = first.to(like.dtype), second.to(like.dtype)
    if hasattr(first, "full_tensor") or not (first.is_contiguous() and second.is_contiguous()):
        return whole((first * second).sum()).to(like)
    return torch.dot(first.view(-1), second.view(-1)).to(like)  # without a tensor of the products
