"""The rules by which weights can decay, and how long decay takes to act. Plain Python.

Source of the time constant: Wang & Aitchison 2024, arXiv 2405.13698.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from wdtui.support.text import number

DECAY_RULES = ("decoupled", "l2", "independent", "cautious", "squared")
"""What a step takes from weights W, with the learning rate η, and with η₀, at which its schedule began:

- decoupled: ηλW, as AdamW does (Loshchilov & Hutter 2019, arXiv 1711.05101).
- l2: nothing. λW is added to the gradient.
- independent: λW, whatever the learning rate is (Kosson et al. 2025, arXiv 2510.19093).
- cautious: ηλW, from those weights alone that the update makes smaller too (Chen et al. 2025, arXiv 2510.12402).
- squared: (η²/η₀)λW (Defazio 2025, arXiv 2506.02285; Chou 2025, arXiv 2512.08217).
"""
_RATE, _DECAY, _MOMENTUM = ("learning_rate", "lr", "η"), ("weight_decay", "λ"), ("momentum", "μ")
_FORMULAS = {"independent": "1/λ", "squared": "η₀/(η²λ)"}


def decay_rate(group: Mapping[str, Any]) -> Any:
    """δ: a weight without gradient loses δ·W in a step, by the rule of a param group; that of l2 without momentum."""
    rate, decay = group["lr"], group["weight_decay"]
    match group.get("decay_rule"):
        case "independent":
            return decay
        case "squared":
            return rate * decay * (rate / (group["initial_lr"] or 1))
        case _:
            return rate * decay


def through_momentum(rate: Any, momentum: Any) -> Any:
    """δ = ηλ/(1−μ) of an SGD that adds λW to the gradient, given ηλ: its momentum keeps each λW for 1/(1−μ) steps."""
    return rate / (1 - momentum)


class TimeConstant(NamedTuple):
    """The steps in which decay alone shrinks weights to 1/e, and the formula that they are known by."""

    steps: float
    """∞ without decay."""
    formula: str

    @classmethod
    def of(cls, learning_rate: float, weight_decay: float, momentum: float = 0.0) -> Self:
        """`momentum` is that of an SGD whose decay is part of the gradient: it multiplies decay by 1/(1 − μ)."""
        rate = through_momentum(learning_rate * weight_decay, momentum)
        return cls(1 / rate if rate else math.inf, "(1 − μ)/(ηλ)" if momentum else "1/(ηλ)")

    @classmethod
    def named(cls, names: Mapping[str, str], values: Mapping[str, Any]) -> Self | None:
        """By hyperparameters with the usual names; None if the learning rate or λ is not among them.

        `names` are the hyperparameters by what a person may type for them, as in `Schema.names`.
        """

        def value(of: tuple[str, ...]) -> float | None:
            found = next((values.get(names[name]) for name in of if name in names), None)
            return float(found) if isinstance(found, (int, float)) else None

        rate, decay, momentum = value(_RATE), value(_DECAY), value(_MOMENTUM)
        rule = values.get(names.get("decay_rule", ""))
        if rate is None or decay is None or (rule == "l2" and momentum is None):  # Adam divides λW by the gradient
            return None
        if rule in (None, "l2"):
            return cls.of(rate, decay, momentum or 0.0)
        lost = decay_rate({"decay_rule": rule, "lr": rate, "initial_lr": rate, "weight_decay": decay})
        return cls(1 / lost if lost else math.inf, _FORMULAS.get(rule, "1/(ηλ)"))

    def reach(self, steps: int) -> str:
        """What λ can do in a run of so many steps; empty without decay."""
        if math.isinf(self.steps) or not steps:
            return ""
        written = f"{self.formula} is {number(self.steps)} steps"
        if self.steps > steps:
            return f"λ hardly acts: {written}, this run has {number(steps)}"
        share = 100 * self.steps / steps
        return f"{written}, {f'{share:.0f}' if share >= 1 else '<1'} % of this run"
