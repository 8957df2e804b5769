"""What a metric is: its name, how it is shown, and under which names its values are recorded. Plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal, Protocol, get_args

from wdtui.support.text import number, percent

Role = Literal["fit", "generalise"]
ROLES: tuple[str, ...] = get_args(Role)


class _Recording(Protocol):
    """What decides which values are recorded: a config."""

    def layer_names(self, kind: str) -> tuple[str, ...]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured quantity."""

    name: str
    label: str
    help: str
    aliases: tuple[str, ...] = ()
    """Short names that a person may type for it; the first also heads a column of it."""
    unit: str = ""
    share: bool = False
    """Whether it goes from 0 to 1 and is read in percent."""
    role: Role | Literal[""] = ""
    """By which of a problem's metrics, shares both, it is judged whether a run fits, and whether it generalises."""
    of_batches: bool = False
    """Whether it is measured on the batches of steps, so that its falls may be noise: they count as no blow-ups."""
    log: bool = False
    """Whether it is best read on a logarithmic scale."""
    pooled: bool = True
    """Whether one value for the whole network is recorded."""
    layers: str = ""
    """Of which kind of layers a value each is recorded too, as `Config.layer_names` knows them; empty for none."""
    sums_layers: bool = False
    """Whether the pooled value has a meaning of its own, so that it is recorded where there is no such layer too."""
    timing: bool = False
    """Whether it depends on the machine's load, so that two equal runs differ in it."""
    gaps: bool = False
    """Whether it is NaN at points where it is not defined, which ends no run."""
    every: str = ""
    """The hyperparameter that says how often it is measured: NaN at the points in between, no values at all at 0."""

    @property
    def short(self) -> str:
        """What it is called where there is little room."""
        return self.aliases[0] if self.aliases else self.label

    def written(self, value: float | None) -> str:
        """A value as it is read."""
        return percent(value) if self.share else number(value)

    def columns(self, config: _Recording) -> Iterator[str]:
        """The names under which its values are recorded, `name` and `name/layer`."""
        layers = config.layer_names(self.layers) if self.layers else ()
        if self.pooled and (layers or not self.layers or self.sums_layers):
            yield self.name
        yield from (f"{self.name}/{layer}" for layer in layers)
