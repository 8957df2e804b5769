"""How the steps of an optimizer decay its weights: `wdtui.decay_by` has any optimizer of PyTorch use a rule."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from wdtui.schema.decay import DECAY_RULES, decay_rate

_Optimizer = TypeVar("_Optimizer", bound=Optimizer)


def decay_by(optimizer: _Optimizer, rule: str) -> _Optimizer:
    """Have an optimizer decay by one of DECAY_RULES, in place of what it does itself; returns it.

    λ and η are `weight_decay` and `lr` of its param groups, as ever, and η₀ is `initial_lr`: that of a scheduler, or
    the first `lr`. It may be called again for another rule. Raises ValueError for a rule that is not known.
    """
    if rule not in DECAY_RULES:
        raise ValueError(f"decay rule {rule}: must be one of {', '.join(DECAY_RULES)}.")
    hooked = any("decay_rule" in group for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["decay_rule"] = rule
        group.setdefault("initial_lr", group["lr"] * 1)  # a copy of it, which may be a tensor
    if not hooked:
        decay = _Decay()
        optimizer.register_step_pre_hook(decay.before)
        optimizer.register_step_post_hook(decay.after)
    return optimizer


class _Decay:
    """What a rule does before and after a step of the optimizer, whose own λ is 0 meanwhile."""

    def __init__(self) -> None:
        self._under_way: list[tuple[dict[str, Any], float, list[Tensor], list[Tensor]]] = []
        """Each group with its λ, the weights that it moves, and what is kept of these until the step is done."""

    @torch.no_grad()
    def before(self, optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            if "decay_rule" not in group:  # one that was added since
                continue
            weights, kept, decay = [one for one in group["params"] if one.grad is not None], [], group["weight_decay"]
            if group["decay_rule"] == "l2":
                kept = [weight.grad for weight in weights]
                for weight in weights:
                    weight.grad = weight.grad.add(weight, alpha=decay)
            elif group["decay_rule"] == "cautious":
                kept = [weight.clone() for weight in weights]
            elif decay:
                for weight in weights:
                    weight.mul_(1 - decay_rate(group))
            self._under_way.append((group, decay, weights, kept))
            group["weight_decay"] = 0.0

    @torch.no_grad()
    def after(self, *_: Any) -> None:
        for group, decay, weights, kept in self._under_way:
            group["weight_decay"] = decay
            for weight, one in zip(weights, kept, strict=False):
                if group["decay_rule"] == "l2":
                    weight.grad = one
                else:
                    weight.sub_(one * ((one - weight) * one >= 0) * decay_rate(group))
        self._under_way = []
