"""RunConfig: what the fields of the addition problem come to. Plain Python: no torch, no UI."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from wdtui.problems.addition.consistency import check_together
from wdtui.problems.addition.decay import RIVALS, decay_by_rule, normalized_decay
from wdtui.problems.addition.fields import GROUPS, Fields
from wdtui.problems.addition.metrics import CHARTS, METRICS
from wdtui.problems.addition.optimizers import OPTIMIZERS
from wdtui.problems.addition.sizes import count_parameters, layer_names, step_flops, training_bytes
from wdtui.schema.chart import Chart
from wdtui.schema.decay import TimeConstant
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.metric import Metric
from wdtui.support.text import number

_NARROW = 64
"""Up to this width many runs are trained fastest as an ensemble."""
_SUGGESTED = 0.05
"""The λ_norm that the suggestion uses: the upper end of what Loshchilov & Hutter advise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(Fields):
    """All that decides a run: equal configs on equal hardware give equal curves, bit for bit.

    Raises ConfigError, whose message says what is allowed, for a value out of bounds and for values that clash.
    """

    problem: ClassVar[str] = "addition"
    groups: ClassVar[Mapping[str, str]] = GROUPS
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    charts: ClassVar[tuple[Chart, ...]] = CHARTS
    rivals: ClassVar[Mapping[str, str]] = RIVALS
    derived: ClassVar[Mapping[str, str]] = {"normalized_weight_decay": "weight_decay"}

    paced_by: ClassVar[tuple[str, ...]] = ("architecture", "width", "blocks", "bits", "batch_size")

    def check_together(self) -> None:
        check_together(self)

    def derive(self) -> None:
        if self.normalized_weight_decay is not None:
            by_rule = decay_by_rule(self, self.normalized_weight_decay, self.fields()["weight_decay"])
            object.__setattr__(self, "weight_decay", by_rule)

    def layer_names(self, kind: str) -> tuple[str, ...]:
        return layer_names(self, kind)

    def for_batch(self) -> RunConfig:
        """Up to a width, as an ensemble.

        On two cores ensembles made 4.5 times the model-steps/s of runs in processes at width 16, twice at 32, 1.7 times
        at 64, and no more at 256 (docs/benchmarks.md).
        """
        if self.engine != "auto" or self.width > _NARROW:
            return self
        try:
            return self.replace(engine="ensemble")
        except ConfigError:  # its architecture or its width does not allow it
            return self

    @property
    def time_constant(self) -> TimeConstant | None:
        """None for Adam with decay in its gradient, which it divides by the gradient's size."""
        if not self.decoupled and self.optimizer != "sgd":
            return None
        return TimeConstant.of(self.learning_rate, self.weight_decay, 0.0 if self.decoupled else self.momentum)

    def hints(self) -> list[str]:
        suggested = {how: float(f"{value:.2g}") for how, value in normalized_decay(self, _SUGGESTED).items()}
        return [
            *super().hints(),
            f"λ_norm {_SUGGESTED:g} suggests λ = {number(suggested['pytorch'])}",
            f"(paper's convention {number(suggested['paper'])})",
        ]

    @property
    def layer_width(self) -> int:
        return self.width

    @property
    def step_flops(self) -> int:
        return step_flops(self)

    def training_bytes(self, runs: int = 1) -> int:
        return training_bytes(self, runs)

    def steered(self, values: Mapping[str, Any]) -> RunConfig:
        return self.replace(**{"weight_decay": self.weight_decay, **values})  # which λ_norm is not to derive anew

    def why_not_forked(self, name: str, value: Any) -> str:
        if (
            name == "optimizer"
            and value in OPTIMIZERS
            and OPTIMIZERS[value].remembers != OPTIMIZERS[self.optimizer].remembers
        ):
            return f"determines the optimiser's state, which differs between {self.optimizer} and {value}"
        if name == "engine":
            return "determines how a run is computed"
        if name == "batch_size":
            return "determines the batches"
        if self.engine == "ensemble" and self.fields()[name].affects == "update":
            return "is the same for all runs of a batch"
        return super().why_not_forked(name, value)

    @cached_property
    def parameters(self) -> int:
        """How many parameters the network has."""
        return count_parameters(self)
