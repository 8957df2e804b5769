"""Decay gauges: what weight decay does to each weight matrix of a model in one step, on the model's device.

Sources of the formulas: Kosson et al. 2023, arXiv 2305.17212 (rotation and its equilibrium), Lobacheva et al. 2021,
arXiv 2106.15739 (effective learning rate), Wang & Aitchison 2024, arXiv 2405.13698 (time constant).

The functions of tensors work for one model and for several. Those of several have a leading axis over the models.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wdtui.schema.decay import decay_rate, through_momentum
from wdtui.support.third_party import foreach_norm, foreach_subtract
from wdtui.training.probes import layer_name, whole


class Decay(NamedTuple):
    """How an optimizer shrinks weights. Numbers, or tensors for several models."""

    rate: Any
    """δ: a weight without gradient loses δ·W in a step, in the long run. None if its decay is no multiple of W."""
    memory: Any
    """β₁ of Adam or the momentum μ of SGD. None if it does not average gradients in such a way."""
    cautious: bool = False
    """Whether only those weights decay that the update makes smaller. No equilibrium is known for that."""

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> Decay:
        """That of a param group of an optimizer."""
        rule = group.get("decay_rule")
        rate = decay_rate(group) if "weight_decay" in group else None
        sgd = {"momentum", "dampening", "nesterov"} <= group.keys()  # also a wrapped one
        if sgd and rule in (None, "l2"):
            momentum, dampening = group["momentum"], group["dampening"]
            if momentum:  # without it PyTorch dampens nothing
                rate = rate * (1 - dampening)
            through = cls.through_momentum(rate, momentum)
            return through._replace(memory=None) if group["nesterov"] else through
        if rule == "l2" or not (rule or group.get("decoupled_weight_decay")):
            return cls(None, None)  # Adam divides λW by the size of the gradient
        if rule == "cautious":
            return cls(rate, None, cautious=True)
        if sgd:
            return cls(rate, None if group["nesterov"] else group["momentum"])
        return cls(rate, group["betas"][0] if "amsgrad" in group else None)  # without amsgrad it is no AdamW

    @classmethod
    def through_momentum(cls, rate: Any, momentum: Any) -> Decay:
        """That of an SGD which adds λW to the gradient, given ηλ: δ = ηλ/(1−μ).

        Its momentum b ← μb + g + λW keeps each λW, weighted by 1, μ, μ², …, so that W loses η·λW/(1−μ) in a step as
        long as W changes little within 1/(1−μ) steps. This is exact to first order in δ.
        """
        return cls(through_momentum(rate, momentum), momentum)

    @property
    def equilibrium(self) -> Any:
        """The rotation per step, in radians, at which a scale-invariant layer comes to rest: √(2δ(1−m)/(1+m)).

        Kosson et al. 2023, table 1: AdamW √(2ηλ(1−β₁)/(1+β₁)), SGD √(2ηλ/(1+μ)), which is the same with δ = ηλ/(1−μ).
        None if δ or m is unknown, or if nothing decays.
        """
        if self.rate is None or self.memory is None or _is_zero(self.rate):
            return None
        return (2 * self.rate * (1 - self.memory) / (1 + self.memory)) ** 0.5

    @property
    def time_constant(self) -> Any:
        """1/δ steps, over which weights without gradient shrink by the factor e; None if δ is unknown or 0."""
        return None if self.rate is None or _is_zero(self.rate) else 1 / self.rate


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
            decay = Decay.of(group)
            if self._time_constant is None:
                self._time_constant = decay.time_constant
            weights = [one for one in group["params"] if one in names and one.is_floating_point()]
            if weights:
                copies = [weight.detach().clone() for weight in weights]
                named = [names[weight] for weight in weights]
                rate = group["lr"] * 1  # a copy of it, which may be a tensor
                self._groups.append(_Group(named, weights, copies, rate, decay))

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
            measured[gauge] = pooled(gauge, torch.stack([one.to(first) for one in by_layer.values()]))
            measured |= {f"{gauge}/{layer}": value for layer, value in by_layer.items()}
        return measured if self._time_constant is None else measured | {"time_constant": self._time_constant}


@dataclasses.dataclass
class _Group:
    """The weight matrices of one param group."""

    names: Sequence[str]
    weights: Sequence[Tensor]
    copies: list[Tensor]
    learning_rate: Any
    decay: Decay

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
        norms, vectors = lengths(weights), {}
        if any(gradient is not None for gradient in gradients):
            vectors["scale_invariance"] = projections(before, gradients, norms)
        decaying = _decaying_norms(before, weights) if self.decay.cautious else None
        foreach_subtract(before, weights)  # now minus the update, so that no second copy is needed
        step = Step.of(weights, before, norms)
        if "scale_invariance" in vectors:
            vectors["scale_invariance"] /= step.norms_before
        vectors["rotation"] = step.rotations
        vectors["effective_learning_rate"] = effective_learning_rates(self.learning_rate, norms)
        if self.decay.rate is not None:
            vectors["decay_share"] = step.decay_shares(self.decay, decaying)
        if (equilibrium := self.decay.equilibrium) is not None:
            vectors["rotation_of_equilibrium"] = vectors["rotation"] / equilibrium
        return {gauge: dict(zip(names, values.unbind(), strict=True)) for gauge, values in vectors.items()}


def pooled(gauge: str, layers: Tensor) -> Tensor:
    """One value of a gauge for the network, [...] from [layers, ...]: the median, or the largest if it warns."""
    largest = gauge == "effective_learning_rate"
    return torch.amax(layers, 0) if largest else torch.nanmedian(layers, 0).values


def effective_learning_rates(learning_rate: Any, norms: Tensor) -> Tensor:
    """η/‖W‖² [layers, ...]: how fast a step turns a scale-invariant layer, relative to the gradient at ‖W‖ = 1."""
    squares = norms.square().clamp_min(torch.finfo(norms.dtype).tiny)  # a layer that has decayed to nothing is finite
    rates: Tensor = learning_rate / squares
    return rates


def projections(weights: Sequence[Tensor], gradients: Sequence[Tensor | None], norms: Tensor) -> Tensor:
    """W·∇W / ‖∇W‖ = ‖W‖·cos(W, ∇W) of each weight, NaN without a dense gradient; with the axes of `norms`.

    The cosine is 0 where the loss does not depend on ‖W‖.
    """
    dense = [None if gradient is None or gradient.is_sparse else gradient for gradient in gradients]
    known = [gradient for gradient in dense if gradient is not None]
    if not known:
        return torch.full_like(norms, math.nan)
    found = iter(lengths(known, norms.dim() - 1).to(norms).unbind())
    unknown = torch.full_like(norms[0], math.nan)
    products, of_gradients = [], []
    for weight, gradient in zip(weights, dense, strict=True):
        products.append(unknown if gradient is None else _dot(weight, gradient, norms))
        of_gradients.append(unknown if gradient is None else next(found))
    return torch.stack(products) / torch.stack(of_gradients)


class Step(NamedTuple):
    """What a step did to weights: W before it was (1 + along)·W and a part across W. Each is [layers, ...]."""

    norms: Tensor
    """‖W‖ after the step."""
    along: Tensor
    across: Tensor
    """The length of that part, which is orthogonal to W."""

    @classmethod
    def of(cls, after: Sequence[Tensor], undone: Sequence[Tensor], norms: Tensor) -> Step:
        """That of weights which were `after` + `undone`; leaves the part across W in `undone`.

        An arc cosine of W before and after could not tell small angles from 0 in float32.
        """
        products = [_dot(weight, difference, norms) for weight, difference in zip(after, undone, strict=True)]
        along = torch.stack(products) / norms.square().clamp_min(torch.finfo(norms.dtype).tiny)
        for weight, difference, part in zip(after, undone, along.unbind(), strict=True):
            others = [1] * (difference.dim() - part.dim())
            difference.addcmul_(weight, part.to(difference).view(*part.shape, *others), value=-1)
        return cls(norms, along, lengths(undone, norms.dim() - 1))

    @property
    def norms_before(self) -> Tensor:
        return torch.hypot(self.norms * (1 + self.along), self.across)

    @property
    def rotations(self) -> Tensor:
        """The angles between W before and after, in radians."""
        return _rounded_alike(torch.atan2, self.across, self.norms * (1 + self.along))

    def decay_shares(self, decay: Decay, decaying: Tensor | None = None) -> Tensor:
        """δ‖W‖/‖ΔW‖, with the norms of the weights that decay in place of ‖W‖ if given; NaN where nothing changed."""
        updates = _rounded_alike(torch.hypot, self.norms * self.along, self.across)
        norms = self.norms_before if decaying is None else decaying
        return torch.where(updates > 0, decay.rate * norms / updates, math.nan)


def lengths(tensors: Sequence[Tensor], leading: int = 0) -> Tensor:
    """L2 norms [len(tensors), ...], in float32 or, of doubles, in float64, over all but the leading axes."""
    dtype = torch.float64 if any(one.dtype.itemsize > 4 for one in tensors) else torch.float32
    if leading:
        return torch.stack([torch.linalg.vector_norm(one.flatten(leading), dim=-1, dtype=dtype) for one in tensors])
    first, *others = (whole(norm) for norm in foreach_norm(list(tensors), dtype=dtype))
    return torch.stack([first, *(other.to(first) for other in others)])


def _rounded_alike(function: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    """A function of two float32 tensors whose values do not depend on how many there are.

    On a CPU the last elements of a float32 tensor, which fill no vector register, may be rounded differently than the
    others: a run in a batch would not have the values that it has alone.
    """
    if one.device.type != "cpu":
        return function(one, other)
    return function(one.double(), other.double()).to(one.dtype)


def _decaying_norms(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """The norms, before a step, of the weights that cautious decay acted on: those which have not grown in size.

    Decay and an update of the same sign both make a weight smaller. Where the update makes it larger, nothing decays.
    """
    return lengths([old * ((old - new) * old >= 0) for old, new in zip(before, after, strict=True)])


def _dot(first: Tensor, second: Tensor, norms: Tensor) -> Tensor:
    """The inner products of two tensors, with the precision, device and leading axes of [layers, ...] norms."""
    first, second = first.to(norms.dtype), second.to(norms.dtype)
    if leading := norms.dim() - 1:
        return (first * second).flatten(leading).sum(-1)
    if hasattr(first, "full_tensor") or not (first.is_contiguous() and second.is_contiguous()):
        return whole((first * second).sum()).to(norms)
    return torch.dot(first.view(-1), second.view(-1)).to(norms)  # without a tensor of the products


def _is_zero(value: Any) -> bool:
    return not isinstance(value, Tensor) and value == 0  # asking a tensor would wait for its device
