"""Schema: what a problem declares, as it travels with each of its runs. Plain Python.

The store keeps it as JSON beside a run, so that lists, filters, charts and exports need neither the problem's code nor
torch, and a run of a problem that has changed or gone is still shown as what it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple, Self, TypeVar

from wdtui.schema.chart import Chart, Trace, plain_charts
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, nearest
from wdtui.schema.metric import Metric
from wdtui.schema.recorded import Traits, charts_of, recorded
from wdtui.schema.source import Source

_Declared = TypeVar("_Declared", Hyperparameter, Metric, Chart)


class Judged(NamedTuple):
    """The metrics that decide whether a run fits, generalises and blows up; empty if there is none."""

    fit: str = ""
    generalise: str = ""
    blow_up: str = ""
    """That of the fit, unless its falls may be the noise of batches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """The hyperparameters and metrics of a problem, each by its name and in the order of declaration."""

    problem: str
    title: str = ""
    """What the problem is, in a few words."""
    groups: Mapping[str, str]
    """The groups of the fields, and their titles."""
    fields: Mapping[str, Hyperparameter]
    metrics: Mapping[str, Metric]
    charts: tuple[Chart, ...] = ()
    """The charts of a run: the first few are the overview, the later ones come where one run has the whole screen."""
    derived: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Fields that only set another, and which."""
    source: Source | None = None
    """The file that declares the problem; None for a built-in one and for a run that a script trains itself."""
    watched: bool = False
    """Whether a script trains the run itself, which wdtui watches."""

    @property
    def code(self) -> str:
        """What trains its runs: the problem's name, and for a file the hash of what it was."""
        return f"{self.problem}@{self.source.hash}" if self.source else self.problem

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each hyperparameter."""
        return {name: field.default for name, field in self.fields.items()}

    @cached_property
    def main(self) -> dict[str, str]:
        """The fields that name a run without a name, by symbol: those with a symbol, and the seed."""
        fields = [field for name, field in self.fields.items() if field.symbol and name not in self.derived]
        return {field.symbol: field.name for field in fields} | ({"s": "seed"} if "seed" in self.fields else {})

    @cached_property
    def names(self) -> dict[str, str]:
        """The field names by everything a person may type for one, in lower case: names, symbols and aliases.

        Where fields are typed (axes, `--set`, the filter) all of these count. Files and Python take full names alone.
        """
        said = ((name, (field.symbol, *field.aliases)) for name, field in self.fields.items())
        others = {text.lower(): name for name, texts in said for text in texts if text}
        return others | {name.lower(): name for name in self.fields}

    @cached_property
    def metric_names(self) -> dict[str, str]:
        """The metric names by everything a person may type for one: names and aliases."""
        return {text: name for name, metric in self.metrics.items() for text in (name, *metric.aliases)}

    @cached_property
    def judged(self) -> Judged:
        """The metrics that decide a run's milestones. Roles that only another version knows count as none."""
        roles = {metric.role: name for name, metric in self.metrics.items()}
        fit, generalise = roles.get("fit", ""), roles.get("generalise", "")
        return Judged(fit, generalise, blow_up="" if not fit or self.metrics[fit].of_batches else fit)

    @cached_property
    def headline(self) -> tuple[str, ...]:
        """The two metrics shown for a run in little room: the judged ones, or else the first ones."""
        pooled = [name for name, metric in self.metrics.items() if metric.pooled and not metric.timing]
        return tuple(dict.fromkeys([*filter(None, self.judged), *pooled]))[:2]

    @cached_property
    def length(self) -> str:
        """The field that says how long a run is."""
        return "epochs" if "epochs" in self.fields else "steps"

    def recording(self, columns: Iterable[str], traits: Traits | None = None) -> Schema:
        """This schema with the metrics that these columns are of, and charts for them unless the problem has its own.

        `traits` are properties of the new ones among them that their names do not say.
        """
        metrics = recorded(self.metrics, columns, traits)
        charts = charts_of(metrics) if self.source or self.watched else self.charts
        return dataclasses.replace(self, metrics=metrics, charts=charts)

    def field(self, name: str) -> Hyperparameter:
        """The field with this name. Raises ConfigError, with the nearest name, if there is none."""
        if name not in self.fields:
            meant = self.names.get(name.lower())
            hint = f"; did you mean {meant}?" if meant else nearest(name, self.fields)
            raise ConfigError(f"{name} is not a field of a run{hint}", name)
        return self.fields[name]

    def find(self, text: str) -> Hyperparameter:
        """The field that a person names by its name, symbol or alias, in any case. Raises ConfigError."""
        name = text.strip().lower().replace("-", "_")
        if name not in self.names:
            raise ConfigError(f"{text} is not a field of a run{nearest(name, self.names)}", text)
        return self.fields[self.names[name]]

    @cached_property
    def live_fields(self) -> tuple[Hyperparameter, ...]:
        """The fields that can be changed while a run is live."""
        return tuple(field for field in self.fields.values() if field.steerable)

    @cached_property
    def sweepable(self) -> dict[str, Hyperparameter]:
        """The fields that can be an axis of a sweep."""
        return {name: field for name, field in self.fields.items() if field.sweep}

    @cached_property
    def seeds(self) -> tuple[str, ...]:
        """The fields in which repetitions of a run differ."""
        return tuple(name for name, field in self.fields.items() if field.identifier)

    def symbol(self, name: str) -> str:
        """A field's symbol, or its label if it has no symbol; the name itself if there is no such field."""
        field = self.fields.get(name)
        return (field.symbol or field.label) if field else name

    def metric(self, column: str) -> Metric | None:
        """The metric of a column of a run's points, `metric` or `metric/layer`; None if there is none."""
        return self.metrics.get(column.partition("/")[0])

    def trace(self, metric: str) -> tuple[Chart, Trace] | None:
        """The first chart in which a metric is a labelled curve, with that curve; None if there is none."""
        traces = ((chart, trace) for chart in self.charts for trace in chart.traces if trace.label)
        return next((found for found in traces if found[1].metric == metric), None)

    def charts_of(self, columns: Iterable[str]) -> tuple[Chart, ...]:
        """The charts for a run that records these columns, in order."""
        columns = {column.partition("/")[0] for column in columns}
        charts = self.charts or plain_charts(self.metrics)
        others = {chart.instead: chart for chart in charts if chart.instead and chart.main in columns}
        return tuple(others.get(chart.name, chart) for chart in charts if not chart.instead)

    def chart(self, columns: Sequence[str], x: str = "") -> Chart:
        """A chart of these columns of a run's points, over the steps or over another column.

        If they are one metric of several layers, the metric is its title, and the layers are the names of its curves.
        """
        known = [metric for column in columns if (metric := self.metric(column))]
        parts = [column.partition("/") for column in columns]
        names = [*map(self.written_column, columns)]
        title = ", ".join(names) if len(columns) < 3 else f"{len(columns)} metrics"
        if len(columns) > 1 and all(layer for _, _, layer in parts) and len({base for base, _, _ in parts}) == 1:
            title, names = self.written_column(parts[0][0]), [layer for _, _, layer in parts]
        return Chart(
            name=":".join([*columns, x]),
            title=f"{title} over {self.written_column(x)}" if x else title,
            traces=tuple(Trace(column, name, "") for column, name in zip(columns, names, strict=True)),
            compared=tuple(columns),
            log=bool(known) and all(metric.log for metric in known),
            x=x,
        )

    def written_column(self, column: str) -> str:
        """What a column of a run's points is called on the screen, as 'weight norm of block1.linear1'."""
        metric, (_, _, layer) = self.metric(column), column.partition("/")
        name = metric.label if metric else column
        return f"{name} of {layer}" if layer else name

    def to_json(self) -> str:
        """The schema as JSON; equal schemas give equal texts. Properties with their default value are left out."""
        return self._json

    @cached_property
    def _json(self) -> str:
        return json.dumps(
            {
                "problem": self.problem,
                "groups": dict(self.groups),
                "fields": [_compact(field) for field in self.fields.values()],
                "metrics": [_compact(metric) for metric in self.metrics.values()],
                "charts": [_compact(chart) for chart in self.charts],
                "derived": dict(self.derived),
            }
            | ({"title": self.title} if self.title else {})
            | ({"source": self.source.to_json()} if self.source else {})
            | ({"watched": True} if self.watched else {}),
            ensure_ascii=False,
        )

    @classmethod
    @cache  # without a bound: a store has a schema for each version of a user's file, and reads them all for a list
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` gave, also where another version of wdtui has further properties.

        Equal texts give the same object.
        """
        data = json.loads(text)
        fields = [_read(Hyperparameter, entry) for entry in data["fields"]]
        metrics = [_read(Metric, entry) for entry in data["metrics"]]
        charts = [
            _read(Chart, entry | {"traces": [Trace(*one) for one in entry.get("traces", ())]})
            for entry in data.get("charts", ())
        ]
        return cls(
            problem=data["problem"],
            groups=data["groups"],
            fields={field.name: field for field in fields},
            metrics={metric.name: metric for metric in metrics},
            charts=tuple(charts),
            derived=data["derived"],
            title=data.get("title", ""),
            source=Source(**data["source"]) if data.get("source") else None,
            watched=data.get("watched", False),
        )


def _compact(declared: Hyperparameter | Metric | Chart) -> dict[str, Any]:
    """The properties that differ from those that are assumed."""
    properties = ((field.name, getattr(declared, field.name), field.default) for field in dataclasses.fields(declared))
    told = {name: value for name, value, assumed in properties if value != assumed or name == "default"}
    return told | {"traces": list(map(dataclasses.astuple, told["traces"]))} if "traces" in told else told


def _read(kind: type[_Declared], entry: Mapping[str, Any]) -> _Declared:
    known = {field.name for field in dataclasses.fields(kind)}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items() if name in known
    }
    return kind(**given)
