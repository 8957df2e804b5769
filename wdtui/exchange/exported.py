"""A complete run read from the store, for the export formats and the Python API."""

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

_COLUMN_BYTES = 32_000_000
"""The memory for columns that are collected at the same time. A single column may take more."""


class ExchangeError(WdtuiError):
    """Says in one sentence what could not be exported or imported and what to do about it."""


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A complete run at the moment it was read."""

    id: int
    name: str
    note: str
    status: str
    """queued, running, paused, done, failed, diverged, interrupted or stopped."""
    config: Config
    plan: Plan
    """The steering: changes of hyperparameters and their steps."""
    milestones: Milestones
    lost: tuple[int, ...]
    """Steps of points that are damaged or missing in the store, and therefore not in `curves`."""
    events: tuple[Event, ...]
    """Steerings, refusals, errors and the like, by step."""
    record: RunRecord
    """The row in the store: device, threads, versions, times in unix seconds."""
    metrics: tuple[str, ...]
    """The names of the recorded metrics."""
    count: int
    """The number of points."""
    parts: Callable[[], Iterator[Curves]]
    """Reads the points in order, in chunks. There is at least one chunk, even if there are no points."""

    def __repr__(self) -> str:
        """One line, as a prompt shows it and the curves have thousands of numbers."""
        return f"<Run {self.id}{f' {self.name!r}' if self.name else ''}: {self.status}, {len(self):,} points>"

    def __len__(self) -> int:
        """The number of points."""
        return self.count

    @cached_property
    def curves(self) -> dict[str, Column]:
        """Arrays [points]: the counts, int64, and every recorded metric, float64 with NaN for gaps."""
        return self._collected(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a point's values: its counts, then the metrics."""
        return (*self.counts, *self.metrics)

    @property
    def counts(self) -> tuple[str, ...]:
        """ "step", and "epoch" where the problem has epochs."""
        return ("step", "epoch") if self.record.schema.length == "epochs" else ("step",)

    def counted(self, part: Curves) -> list[NDArray[np.int64]]:
        """The values of the counts, [points] each."""
        return [part.steps, part.epochs][: len(self.counts)]

    def rows(self) -> Iterator[tuple[int | float, ...]]:
        """The points one by one, with values in the order of `columns`."""
        for part in self.parts():
            counts = (count.tolist() for count in self.counted(part))
            for *counted, values in zip(*counts, part.values.tolist(), strict=True):
                yield (*counted, *values)

    def by_column(self) -> Iterator[tuple[str, Column]]:
        """Each column with its name. Only a few are in memory at a time."""
        several = max(1, _COLUMN_BYTES // (8 * max(1, self.count)))
        for first in range(0, len(self.columns), several):
            yield from self._collected(self.columns[first : first + several]).items()

    def about(self) -> dict[str, Any]:
        """Everything except the points, as plain JSON."""
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
            whole = dict(zip(self.counts, self.counted(part), strict=True))
            for name in names:
                parts[name].append(whole[name] if name in whole else np.ascontiguousarray(part[name]))
        return {name: np.concatenate(several) for name, several in parts.items()}


def load(store: Store, run: str | int) -> Run:
    """Read a run, given its number, its name or "last", with all its points. Raises StoreError."""
    record = store.find(str(run))
    curves = store.curves(record.id)
    return _run(store, record, curves, curves.names, lambda: iter([curves]))


def stream(store: Store, run: str | int) -> Run:
    """The same, but the points are read in chunks whenever they are used. The store must stay open.

    A live run ends with its present last point. Reading raises ExchangeError if the points have changed since.
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
    """`curves` need only the columns that milestones are computed from."""
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
    """The points up to a step, in chunks."""
    for part in store.pieces(run_id):
        if last is not None and part.reached >= last:
            kept = part.steps <= last
            yield Curves(part.names, part.steps[kept], part.epochs[kept], part.values[kept], part.lost)
            return
        yield part


def _judging(part: Curves, judged: Judged) -> Curves:
    """Copies of the columns for milestones. Views would keep the whole chunk in memory."""
    return Curves(judged, part.steps, part.epochs, np.stack([part[name] for name in judged], axis=1), part.lost)
