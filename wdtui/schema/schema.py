"""Schema: what a problem declares, as it travels with each of its runs. Plain Python.

The store keeps it as JSON beside a run, so that lists, filters, charts and exports need neither the problem's code nor
torch, and a run of a problem that has changed or gone is still shown as what it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Self, TypeVar

from wdtui.hyperparameters import ConfigError, Hyperparameter, nearest
from wdtui.schema.metric import Metric

_Declared = TypeVar("_Declared", Hyperparameter, Metric)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """The hyperparameters and metrics of a problem, each by its name and in the order of declaration."""

    problem: str
    groups: Mapping[str, str]
    """The groups of the fields, and their titles."""
    fields: Mapping[str, Hyperparameter]
    metrics: Mapping[str, Metric]
    derived: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Fields that only set another, and which."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each hyperparameter."""
        return {name: field.default for name, field in self.fields.items()}

    @cached_property
    def main(self) -> dict[str, str]:
        """What a run without a name is called by, its fields that have a symbol and its seed: the fields by symbol."""
        fields = [field for name, field in self.fields.items() if field.symbol and name not in self.derived]
        return {field.symbol: field.name for field in fields} | {"s": "seed"}

    def field(self, name: str) -> Hyperparameter:
        """A field by its name; raises ConfigError for one that there is not."""
        if name not in self.fields:
            raise ConfigError(f"{name} is no field of a run{nearest(name, self.fields)}", name)
        return self.fields[name]

    def to_json(self) -> str:
        """As text; equal schemas give equal texts. What is as `Hyperparameter` and `Metric` have it is left out."""
        return json.dumps(
            {
                "problem": self.problem,
                "groups": dict(self.groups),
                "fields": [_told(field) for field in self.fields.values()],
                "metrics": [_told(metric) for metric in self.metrics.values()],
                "derived": dict(self.derived),
            },
            ensure_ascii=False,
        )

    @classmethod
    @lru_cache(maxsize=64)
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` gave, also where another version of wdtui has further properties."""
        data = json.loads(text)
        fields = [_read(Hyperparameter, entry) for entry in data["fields"]]
        metrics = [_read(Metric, entry) for entry in data["metrics"]]
        return cls(
            problem=data["problem"],
            groups=data["groups"],
            fields={field.name: field for field in fields},
            metrics={metric.name: metric for metric in metrics},
            derived=data["derived"],
        )


def _told(declared: Hyperparameter | Metric) -> dict[str, Any]:
    """The properties that differ from those that are assumed."""
    properties = ((field.name, getattr(declared, field.name), field.default) for field in _properties(declared))
    return {name: value for name, value, assumed in properties if value != assumed or name == "default"}


def _read(kind: type[_Declared], entry: Mapping[str, Any]) -> _Declared:
    known = {field.name for field in _properties(kind)}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items() if name in known
    }
    return kind(**given)


def _properties(declared: Any) -> Iterable[dataclasses.Field[Any]]:
    return dataclasses.fields(declared)
