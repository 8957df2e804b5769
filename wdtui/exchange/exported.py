"""A run taken out of the store whole: what every format hands over and what the Python API gives."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import Milestones, milestones
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged
from wdtui.schema.steering import Plan, to_json
from wdtui.store.records import Event, RunRecord
from wdtui.store.store import Store
from wdtui.support.errors import WdtuiError

Column = NDArray[np.float64] | NDArray[np.int64]

_POINTS = 8192
"""So many points are read from the store at a time: 3 MB with 45 metrics."""
_COLUMN_BYTES = 32_000_000
"""So much memory columns may take that are collected side by side; one is, whatever it takes."""


class ExchangeError(WdtuiError):
    """What could not be handed over or taken in, and what to do about it, in one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """One run with all that is known about it, as it stood when it was read."""

    id: int
    name: str
    note: str
    status: str
    """queued, running, paused, done, failed, diverged, interrupted or stopped."""
    config: Config
    plan: Plan
    """What was steered: changes of the config and the steps from which on they count."""
    milestones: Milestones
    lost: tuple[int, ...]
    """Steps of points that are damaged or missing in the store, and so are not in `curves`."""
    events: tuple[Event, ...]
    """What happened, by step: steerings, refusals, errors."""
    record: RunRecord
    """The store's own row: device, threads, versions, times in unix seconds."""
    metrics: tuple[str, ...]
    """The names of what was recorded."""
    count: int
    """The number of points."""
    parts: Callable[[], Iterator[Curves]]
    """Reads the points in order, some at a time: at least one part, also where there are no points."""

    def __repr__(self) -> str:
        """One line, because a prompt shows it; the curves alone are thousands of numbers."""
        return f"<Run {self.id}{f' {self.name!r}' if self.name else ''}: {self.status}, {len(self):,} points>"

    def __len__(self) -> int:
        """The number of points."""
        return self.count

    @cached_property
    def curves(self) -> dict[str, Column]:
        """Arrays [points]: "step" and "epoch", int64, and every recorded metric, float64 with NaN for gaps."""
        return self._collected(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what a point holds: "step", "epoch" and the metrics."""
        return ("step", "epoch", *self.metrics)

    def rows(self) -> Iterator[tuple[int | float, ...]]:
        """The points one by one, values in the order of `columns`."""
        for part in self.parts():
            for step, epoch, values in zip(
                part.steps.tolist(), part.epochs.tolist(), part.values.tolist(), strict=True
            ):
                yield (step, epoch, *values)

    def by_column(self) -> Iterator[tuple[str, Column]]:
        """Each column with its name, of which only a few are in memory at a time."""
        several = max(1, _COLUMN_BYTES // (8 * max(1, self.count)))
        for first in range(0, len(self.columns), several):
            yield from self._collected(self.columns[first : first + several]).items()

    def about(self) -> dict[str, Any]:
        """All but the points, as plain JSON."""
        record = self.record
        return {
            **{name: getattr(self, name) for name in ("id", "name", "note", "status")},
            **{name: getattr(record, name) for name in ("experiment", "reason", "device", "threads", "versions")},
            **{name: getattr(record, name) for name in ("created", "started", "ended", "parent", "parent_step")},
            "problem": record.schema.problem,
            "config": self.config.to_mapping(),
            "plan": to_json(self.plan),
            **self.milestones.to_json(),
            "lost": list(self.lost),
            "events": [{"step": event.step, "kind": event.kind, "data": event.data} for event in self.events],
        }

    def _collected(self, names: tuple[str, ...]) -> dict[str, Column]:
        parts: dict[str, list[Any]] = {name: [] for name in names}
        for part in self.parts():
            whole = {"step": part.steps, "epoch": part.epochs}
            for name in names:
                parts[name].append(whole[name] if name in whole else np.ascontiguousarray(part[name]))
        return {name: np.concatenate(several) for name, several in parts.items()}


def take(store: Store, run: str | int) -> Run:
    """Read the run that a person names by its number, its name or "last", with all its points. Raises StoreError."""
    record = store.find(str(run))
    curves = store.curves(record.id)
    return _run(store, record, curves, curves.names, lambda: iter([curves]))


def stream(store: Store, run: str | int) -> Run:
    """The same, but its points are read whenever they are used, some at a time, from the store, which must stay open.

    Of a live run they end with what is there now. Reading them raises ExchangeError where they are others meanwhile.
    """
    record = store.find(str(run))
    none = store.curves(record.id, most=0)
    seen = [_judging(part, record.schema.judged) for part in itertools.chain([none], _parts(store, record.id))]
    short = Curves(
        seen[0].names,
        np.concatenate([part.steps for part in seen]),
        np.concatenate([part.epochs for part in seen]),
        np.concatenate([part.values for part in seen]),
        tuple(step for part in seen for step in part.lost),
    )
    last = int(short.steps[-1]) if len(short) else -1

    def parts() -> Iterator[Curves]:
        count = 0
        for part in _parts(store, record.id, last):
            count += len(part)
            yield part
        if count != len(short):
            raise ExchangeError(f"Run {record.id} changed while it was read. Try again.")
        if not count:
            yield none

    return _run(store, record, short, none.names, parts)


def _run(
    store: Store, record: RunRecord, curves: Curves, metrics: tuple[str, ...], parts: Callable[[], Iterator[Curves]]
) -> Run:
    """`curves` are all points, of which what milestones are judged by suffices."""
    return Run(
        id=record.id,
        name=record.name,
        note=record.note,
        status=str(record.status),
        config=record.config,
        plan=record.plan,
        milestones=milestones(curves, record.schema.judged),
        lost=curves.lost,
        events=tuple(store.events(record.id)),
        record=record,
        metrics=metrics,
        count=len(curves),
        parts=parts,
    )


def _parts(store: Store, run_id: int, last: int | None = None) -> Iterator[Curves]:
    """The points up to a step, so many at a time."""
    after = -1
    while len(part := store.curves(run_id, after, most=_POINTS)) or part.lost:
        after = max([*part.steps[-1:].tolist(), *part.lost[-1:]])
        if last is not None and after >= last:
            kept = part.steps <= last
            yield Curves(part.names, part.steps[kept], part.epochs[kept], part.values[kept], part.lost)
            return
        yield part


def _judging(part: Curves, judged: Judged) -> Curves:
    """Copies of what milestones are made of, as an array of the store holds on to all that was read with it."""
    return Curves(judged, part.steps, part.epochs, np.stack([part[name] for name in judged], axis=1), part.lost)
