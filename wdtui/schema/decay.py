"""How long weight decay takes to act. Plain Python.

Source: Wang & Aitchison 2024, arXiv 2405.13698.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from wdtui.support.text import number

_RATE, _DECAY, _MOMENTUM = ("learning_rate", "lr", "η"), ("weight_decay", "λ"), ("momentum", "μ")


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

        rate, decay = value(_RATE), value(_DECAY)
        return None if rate is None or decay is None else cls.of(rate, decay, value(_MOMENTUM) or 0.0)

    def reach(self, steps: int) -> str:
        """What λ can do in a run of so many steps; empty without decay."""
        if math.isinf(self.steps) or not steps:
            return ""
        written = f"{self.formula} is {number(self.steps)} steps"
        if self.steps > steps:
            return f"λ hardly acts: {written}, this run has {number(steps)}"
        share = 100 * self.steps / steps
        return f"{written}, {f'{share:.0f}' if share >= 1 else '<1'} % of this run"
