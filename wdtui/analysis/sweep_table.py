"""The results of a sweep: for each combination of its axes' values, the median and the range over its seeds.

Pure: no torch, no store. It uses the newest point and the milestones in a run's row, never its curves.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from wdtui.schema.hyperparameters import Value
from wdtui.schema.schema import Schema
from wdtui.support.text import number

MILESTONES = {
    "fit_step": ("milestones", "fit_step", "fit step"),
    "generalise_step": ("milestones", "generalise_step", "generalise step"),
    "delay": ("milestones", "delay", "delay"),
    "blowups": ("blowups", "count", "blow-ups"),
    "blowup_period": ("blowups", "median_period", "blow-up period"),
}
"""The milestones in a run's row: the two keys of each value, and a label."""

_FINISHED = ("done", "diverged")


class Measured(Protocol):
    """The part of a run that a table needs; a RunRecord is one."""

    @property
    def status(self) -> str: ...
    @property
    def steered(self) -> bool: ...
    @property
    def latest(self) -> Mapping[str, float]: ...
    @property
    def milestones(self) -> Mapping[str, Any]: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over the seeds, from `count` runs."""

    median: float
    low: float
    high: float
    count: int


@dataclasses.dataclass(frozen=True)
class Row:
    """The runs of one combination of values, one per seed; None if a run is missing."""

    values: tuple[Value, ...]
    runs: tuple[Measured | None, ...]

    @property
    def states(self) -> Counter[str]:
        """The number of its runs in each state."""
        return Counter(map(state, self.runs))

    def spread(self, name: str) -> Spread | None:
        """A metric or milestone over the finished runs that have it; None if none has."""
        return _spread(name, [run for run in self.runs if run is not None and state(run) in _FINISHED])

    def so_far(self, name: str) -> Spread | None:
        """The same, but over the newest points of all its runs if none has finished."""
        if self.finished:
            return self.spread(name)
        return _spread(name, [run for run in self.runs if run is not None and not run.steered])

    @property
    def progress(self) -> float | None:
        """The share of the steps of all its runs that are trained, while one of them is training; None otherwise."""
        if not (self.states["running"] or self.states["paused"]):
            return None
        known = [run for run in self.runs if run]
        return sum(run.step for run in known) / max(sum(run.steps for run in known), 1)

    @property
    def finished(self) -> bool:
        """Whether any of its runs has finished."""
        return any(self.states[state] for state in _FINISHED)


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a sweep, in the order of its axes' values, the last axis fastest."""

    schema: Schema
    """The schema of its runs."""
    axes: Mapping[str, Sequence[Value]]
    """The values by field."""
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        schema: Schema,
        axes: Mapping[str, Sequence[Value]],
        measured: Iterable[tuple[tuple[Value, ...], Measured | None]],
    ) -> Table:
        """Group runs by their values on the axes. Combinations without a run are left out."""
        runs: dict[tuple[Value, ...], list[Measured | None]] = {}
        for values, run in measured:
            runs.setdefault(values, []).append(run)
        if schema.source:  # what it records is known from its runs
            schema = schema.recording(name for row in runs.values() for run in row if run for name in run.latest)
        combinations = itertools.product(*axes.values())
        return cls(schema, axes, tuple(Row(values, tuple(runs[values])) for values in combinations if values in runs))

    @property
    def measured(self) -> bool:
        """Whether any run has finished."""
        return any(row.finished for row in self.rows)

    def row(self, values: tuple[Value, ...]) -> Row | None:
        """The row of one combination."""
        return next((row for row in self.rows if row.values == values), None)

    def at(self, fixed: Mapping[str, Value]) -> Table:
        """The rows where some axes have these values, as a table over the other axes."""
        kept = [index for index, axis in enumerate(self.axes) if axis not in fixed]
        wanted = [(index, fixed[axis]) for index, axis in enumerate(self.axes) if axis in fixed]
        rows = [row for row in self.rows if all(row.values[index] == value for index, value in wanted)]
        cut = (Row(tuple(row.values[index] for index in kept), row.runs) for row in rows)
        return Table(self.schema, {axis: values for axis, values in self.axes.items() if axis not in fixed}, tuple(cut))

    def threshold(self) -> Value:
        """On a single axis, the interpolation threshold: the largest λ, or smallest width, that still fits.

        A value fits if at least half of the finished seeds reached the fit. None if no value fits, and for axes without
        a threshold.
        """
        names = tuple(self.axes)
        side = self.schema.field(names[0]).fits if len(names) == 1 else ""
        if not side:
            return None
        fitting: list[Any] = [row.values[0] for row in self.rows if row.values[0] is not None and _fits(row)]
        if not fitting:
            return None
        return max(fitting) if side == "below" else min(fitting)  # type: ignore[no-any-return]

    def to_json(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The rows as plain JSON types, with these quantities."""
        names = list(names)
        return [
            {"axes": dict(zip(self.axes, row.values, strict=True)), "states": dict(row.states)}
            | {name: spread and dataclasses.asdict(spread) for name in names for spread in [row.spread(name)]}
            for row in self.rows
        ]


def state(run: Measured | None) -> str:
    """A run's status, or "steered" for one that ended with other values than its config's and so is not counted."""
    if run is None:
        return "missing"
    return "steered" if run.steered and run.status in _FINISHED else str(run.status)


def quantity(run: Measured, name: str) -> float | None:
    """A metric at a run's newest point, or one of its milestones; None if the run has none."""
    if name not in MILESTONES:
        return run.latest.get(name)
    part, key, _ = MILESTONES[name]
    value: float | None = run.milestones.get(part, {}).get(key)
    return value


def _spread(name: str, runs: Iterable[Measured]) -> Spread | None:
    values = [quantity(run, name) for run in runs]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return Spread(statistics.median(finite), min(finite), max(finite), len(finite)) if finite else None


def label(schema: Schema, name: str) -> str:
    """The label of a metric or milestone."""
    return MILESTONES[name][2] if name in MILESTONES else schema.metrics[name].label


def written(schema: Schema, name: str, value: float | None) -> str:
    """The value of a metric, also of one layer, or of a milestone as text."""
    metric = schema.metric(name)
    return metric.written(value) if metric else number(value)


def columns(schema: Schema) -> tuple[str, ...]:
    """The quantities shown for each cell of a sweep: headline metrics, those of the first charts, milestones."""
    shown = (chart.main for chart in schema.charts_of(())[:2])
    seen = ("fit_step", "generalise_step", "blowups") if any(schema.judged) else ()
    return tuple(dict.fromkeys([*schema.headline, *shown, *seen]))


def _fits(row: Row) -> bool:
    finished = sum(row.states[state] for state in _FINISHED)
    fitted = row.spread("fit_step")
    return fitted is not None and 2 * fitted.count >= finished
