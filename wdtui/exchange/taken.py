"""A run taken out of the store whole: what every format hands over and what the Python API gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.config import RunConfig
from wdtui.milestones import Milestones, milestones
from wdtui.runs.records import Event, RunRecord
from wdtui.runs.store import Store
from wdtui.schema.curves import Curves
from wdtui.steering import Plan, to_json

Column = NDArray[np.float64] | NDArray[np.int64]


class ExchangeError(Exception):
    """What could not be handed over or taken in, and what to do about it, in one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """One run with all that is known about it, as it stood when it was read."""

    id: int
    name: str
    note: str
    status: str
    """queued, running, paused, done, failed, diverged, interrupted or stopped."""
    config: RunConfig
    plan: Plan
    """What was steered: changes of the config and the steps from which on they count."""
    curves: dict[str, Column]
    """Arrays [points]: "step" and "epoch", int64, and every recorded metric, float64 with NaN for gaps."""
    milestones: Milestones
    events: tuple[Event, ...]
    """What happened, by step: steerings, refusals, errors."""
    record: RunRecord
    """The store's own row: device, threads, versions, times in unix seconds."""

    def __repr__(self) -> str:
        """One line, because a prompt shows it; the curves alone are thousands of numbers."""
        return f"<Run {self.id}{f' {self.name!r}' if self.name else ''}: {self.status}, {len(self):,} points>"

    def __len__(self) -> int:
        """The number of points."""
        return len(self.curves["step"])

    def rows(self) -> Iterator[tuple[int | float, ...]]:
        """The points one by one, values in the order of `curves`."""
        return zip(*(column.tolist() for column in self.curves.values()), strict=True)

    def about(self) -> dict[str, Any]:
        """All but the points, as plain JSON."""
        record = self.record
        return {
            **{name: getattr(self, name) for name in ("id", "name", "note", "status")},
            **{name: getattr(record, name) for name in ("experiment", "reason", "device", "threads", "versions")},
            **{name: getattr(record, name) for name in ("created", "started", "ended", "parent", "parent_step")},
            "config": self.config.to_mapping(),
            "plan": to_json(self.plan),
            **self.milestones.to_json(),
            "events": [{"step": event.step, "kind": event.kind, "data": event.data} for event in self.events],
        }


def take(store: Store, run: str | int) -> Run:
    """Read the run that a person names by its number, its name or "last". Raises StoreError."""
    record = store.find(str(run))
    curves = store.curves(record.id)
    return Run(
        id=record.id,
        name=record.name,
        note=record.note,
        status=str(record.status),
        config=record.config,
        plan=record.plan,
        curves=_columns(curves),
        milestones=milestones(curves),
        events=tuple(store.events(record.id)),
        record=record,
    )


def _columns(curves: Curves) -> dict[str, Column]:
    metrics = {name: np.ascontiguousarray(curves[name]) for name in curves.names}
    return {"step": curves.steps, "epoch": curves.epochs, **metrics}
