"""Runs of one sweep as one row of the run table. Pure functions of what the feed has read."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from wdtui.analysis.sweep_table import quantity, written
from wdtui.schema.hyperparameters import format_value
from wdtui.store.records import FINISHED, RunRecord, Status
from wdtui.store.sweeps import Membership
from wdtui.support.text import NOTHING, clean, number

_LEAST = 2
"""With fewer runs in sight, a sweep has no row of its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """The runs of a sweep that are in the table, in the table's order."""

    sweep: Membership
    runs: tuple[RunRecord, ...]
    folded: bool

    @property
    def state(self) -> str:
        """How many runs are done, or what most of the others are, after a sign that says whether they are shown."""
        sign, states = "▸" if self.folded else "▾", Counter(run.status for run in self.runs)
        live = next((state for state in (Status.RUNNING, Status.PAUSED, Status.QUEUED) if states[state]), None)
        if live:
            return f"{sign} {states[live]} {live}"
        done = sum(states[state] for state in FINISHED)
        return f"{sign} {done}/{max(self.sweep.cells, len(self.runs))} done"

    @property
    def live(self) -> bool:
        return any(run.live for run in self.runs)

    @property
    def name(self) -> str:
        return f"{self.sweep.label} {clean(self.sweep.name) or f'{number(len(self.runs))} runs'}"

    @property
    def share(self) -> float:
        """The share of all steps that is trained."""
        total = sum(run.steps for run in self.runs) / max(len(self.runs), 1) * max(self.sweep.cells, len(self.runs))
        return min(sum(run.step for run in self.runs) / max(total, 1), 1.0)

    def field(self, name: str) -> str:
        """The value that all runs share, or the smallest and the largest one."""
        values = {run.in_force[name] for run in self.runs if not run.damaged and name in run.values}
        if len(values) < 2:
            return next((format_value(value) for value in values), NOTHING)
        if all(isinstance(value, (int, float)) for value in values):
            low, high = min(values), max(values)
            return f"{number(low)}…{number(high)}"
        return f"{len(values)} values"

    @cached_property
    def measure(self) -> str:
        """The metric by which the runs are compared: the last headline metric of their problem; "" if none has one."""
        headline = self.runs[0].schema.headline if self.runs else ()
        return headline[-1] if headline else ""

    @cached_property
    def best(self) -> RunRecord | None:
        """The run with the best newest value of the measure: the largest share, or the smallest of other quantities."""
        metric = self.runs[0].schema.metrics.get(self.measure) if self.runs else None
        known = [run for run in self.runs if not run.damaged and _finite(quantity(run, self.measure))]
        if metric is None or not known:
            return None
        sign = 1 if metric.share else -1
        return max(known, key=lambda run: sign * (quantity(run, self.measure) or 0.0))

    @property
    def best_seeds(self) -> list[RunRecord]:
        """The best run and those that differ from it only in their seeds."""
        if self.best is None:
            return []
        seeds, values = self.best.schema.seeds, self.best.values
        return [
            run
            for run in self.runs
            if not run.damaged and all(run.values.get(name) == values[name] for name in values if name not in seeds)
        ]

    @property
    def summary(self) -> str:
        """The best run's values of the fields that differ, and the spread of the measure; "" without one."""
        if self.best is None:
            return ""
        values = [value for run in self.runs if _finite(value := quantity(run, self.measure))]
        schema = self.best.schema
        fields = [
            name
            for name in schema.main.values()
            if len({run.in_force.get(name) for run in self.runs if not run.damaged}) > 1
        ]
        where = " ".join(f"{schema.symbol(name)}{format_value(self.best.in_force[name])}" for name in fields)
        low, high = (written(schema, self.measure, value) for value in (min(values), max(values)))  # type: ignore[type-var]
        return f"best {where} · {low.removesuffix(' %')}–{high}" if low != high else ""


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def grouped(
    runs: Sequence[RunRecord], sweeps: Iterable[Membership], open_sweeps: Collection[int]
) -> list[RunRecord | Group]:
    """The rows of the table: runs in order, and each sweep's runs together, where its first one is.

    A run of several sweeps counts for the newest. A folded sweep shows only its own row.
    """
    sweep_of = {run_id: sweep for sweep in sweeps for run_id in sweep.run_ids}
    of_runs = [(run, sweep_of.get(run.id)) for run in runs]
    members: dict[int, list[RunRecord]] = {}
    for run, sweep in of_runs:
        if sweep:
            members.setdefault(sweep.id, []).append(run)
    rows: list[RunRecord | Group] = []
    for run, sweep in of_runs:
        if sweep is None or (sweep.id in members and len(members[sweep.id]) < _LEAST):
            rows.append(run)
        elif group := members.pop(sweep.id, None):
            folded = sweep.id not in open_sweeps
            rows += [Group(sweep, tuple(group), folded), *([] if folded else group)]
    return rows
