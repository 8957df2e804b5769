"""Config: what every problem's hyperparameters have in common. Plain Python: no torch, no UI.

A problem declares a frozen, keyword-only dataclass with `knob` fields. Forms, flags, TOML keys, the stored JSON and the
reference in the docs derive from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from wdtui.schema.chart import Chart
from wdtui.schema.decay import TimeConstant
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, hyperparameters_of
from wdtui.schema.metric import Metric
from wdtui.schema.schema import Schema

if TYPE_CHECKING:  # numpy takes longer to import than `wdtui --help` to answer
    from wdtui.schema.curves import Point


class Config:
    """All that decides a run: equal configs on equal hardware give equal curves, bit for bit.

    Raises ConfigError, whose message says what is allowed, for a value out of bounds and for values that clash.
    """

    problem: ClassVar[str]
    """The name of the problem whose hyperparameters these are."""
    groups: ClassVar[Mapping[str, str]]
    """The groups of the fields in forms and help, and their titles, in order."""
    metrics: ClassVar[Mapping[str, Metric]]
    """What runs of the problem record, by name."""
    charts: ClassVar[tuple[Chart, ...]] = ()
    """How they are best looked at; without, each has a chart of its own."""
    rivals: ClassVar[Mapping[str, str]] = {}
    """Pairs of fields, both ways, of which a config is given one."""
    derived: ClassVar[Mapping[str, str]] = {}
    """Fields that only set another, and which."""

    paced_by: ClassVar[tuple[str, ...]] = ()
    """The fields of which the time of a step is made."""

    # What every problem has

    seed: int
    epochs: int
    """How long the run is, in the unit in which `log_every` counts too."""
    log_every: int
    """Epochs from one point to the next."""
    keep_every: int
    keep_megabytes: int

    @property
    def steps_per_epoch(self) -> int:
        """What is steered counts from the next epoch on."""
        return 1

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def parameters(self) -> int | None:
        """How many parameters are trained; None where that is not known before the run."""
        return None

    @property
    def layer_width(self) -> int:
        """The width of the network's layers, by which threads and batches are sized; 0 where that is not known."""
        return 0

    @property
    def step_flops(self) -> int:
        """Floating-point operations of a step, about; 0 where that is not known."""
        return 0

    def training_bytes(self, runs: int = 1) -> int:
        """About how much memory it takes to train so many runs of this shape as a batch; 0 where that is not known."""
        return 0

    # What a problem may add

    def check_together(self) -> None:
        """Raise ConfigError for values that are fine alone and impossible together."""

    def derive(self) -> None:
        """Set the fields that follow from others; called last, may raise ConfigError."""

    def layer_names(self, kind: str) -> tuple[str, ...]:
        """The layers of which a metric of this kind records a value each."""
        return ()

    def for_batch(self) -> Self:
        """This config as one among many: with what trains many like it fastest, where that is left open."""
        return self

    @property
    def time_constant(self) -> TimeConstant | None:
        """In how many steps decay acts, as far as the hyperparameters say; None if they do not."""
        names = self.schema().names
        return TimeConstant.named(names, {name: getattr(self, name) for name in names.values()})

    def hints(self) -> list[str]:
        """What is worth knowing before such a run is started, a line each."""
        reach = self.time_constant.reach(self.steps) if self.time_constant else ""
        return [reach] if reach else []

    def why_not_forked(self, name: str, value: Any) -> str:
        """Why a fork cannot set a field to a value, as "determines …"; empty if it can."""
        return _NOT_FORKED.get(self.fields()[name].affects, "")

    def steered(self, values: Mapping[str, Any]) -> Self:
        """This config with values that were in force at the end of a plan."""
        return self.replace(**values)

    # What follows

    @classmethod
    @cache
    def schema(cls) -> Schema:
        """What the problem declares, as a run carries it."""
        return Schema(
            problem=cls.problem,
            groups=cls.groups,
            fields=cls.fields(),
            metrics=cls.metrics,
            charts=cls.charts,
            derived=cls.derived,
        )

    @classmethod
    @cache
    def fields(cls) -> dict[str, Hyperparameter]:
        """The hyperparameters by name, in the order of their declaration."""
        return hyperparameters_of(cls)

    def __post_init__(self) -> None:
        for name, field in self.fields().items():
            object.__setattr__(self, name, field.check(getattr(self, name)))
        self.check_together()
        self.derive()

    @classmethod
    def from_mapping(cls, *layers: Mapping[str, Any]) -> Self:
        """Build a config from layers of values, a later one over an earlier one, all over the defaults.

        Of two rivals the later layer's wins. Raises ConfigError, also for a name that is no field.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            for name in layer:
                cls.schema().field(name)
            given = {name for name in layer if layer[name] is not None}
            for name, rival in cls.rivals.items():
                if {name, rival} <= given:
                    raise rivals_clash(name, rival)
            values = {name: value for name, value in values.items() if cls.rivals.get(name) not in given} | dict(layer)
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """All values as plain JSON types; `from_mapping` reads them back to an equal config."""
        values = {name: getattr(self, name) for name in self.fields()}
        for name, rival in self.rivals.items():
            if self.fields()[rival].optional and values.get(rival) is not None:
                del values[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def replace(self, **changes: Any) -> Self:
        """This config with some values changed, checked anew."""
        return self.from_mapping(self.to_mapping(), changes)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the values that make up one point of such a run, in order."""
        return tuple(column for metric in self._recorded() for column in metric.columns(self))

    def may_record(self, column: str) -> bool:
        """Whether such a run has values under this name, as far as the config says."""
        return column in self.columns

    def finite(self, point: Point) -> bool:
        """Whether all that is measured at every point is a finite number."""
        if all(map(math.isfinite, point.values)):
            return True
        return all(math.isfinite(value) for value, whole in zip(point.values, self._everywhere, strict=True) if whole)

    @cached_property
    def _everywhere(self) -> list[bool]:
        """Of each column, whether every point has a value of it."""
        return [not (metric.every or metric.gaps) for metric in self._recorded() for _ in metric.columns(self)]

    def _recorded(self) -> Iterable[Metric]:
        """The metrics that such a run records: one with `every` does only where that field is not 0."""
        return [metric for metric in self.metrics.values() if not metric.every or getattr(self, metric.every)]


def rivals_clash(name: str, rival: str) -> ConfigError:
    """What to say where both of two rivals are given."""
    return ConfigError(f"{name} and {rival} clash: give one of the two.", name, rival)


_NOT_FORKED = {
    "data": "determines the data",
    "shape": "determines the shape of the network",
    "start": "determines how a run starts",
}
