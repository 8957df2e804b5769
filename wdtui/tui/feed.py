"""Reads what the screens show from the store, incrementally. No Textual here.

A Feed remembers what it has read. `poll` reads only what is new and returns one immutable Snapshot, or None if nothing
has changed. Only the points of shown runs are in memory.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.forecast import Forecast, expected_blowup
from wdtui.analysis.milestones import Milestones, milestones
from wdtui.schema.curves import Curves
from wdtui.store.records import LIVE, Event, RunRecord, Status, StoreError
from wdtui.store.store import Store
from wdtui.store.sweeps import Membership

_OWNERS_SECONDS = 2.0
"""How often runs with an owner are read without a write to the store: the owner may have died."""
_OWNED = {*LIVE, Status.QUEUED}


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """A run whose curves are on the screen."""

    run: RunRecord
    curves: Curves
    events: tuple[Event, ...]
    milestones: Milestones

    @cached_property
    def forecast(self) -> Forecast | None:
        """The next blow-up of a live run, if its sharpness allows a forecast."""
        return expected_blowup(self.curves, self.milestones) if self.run.live else None


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """The last state of the store that was read: all runs, newest first, and the shown ones with their curves."""

    runs: tuple[RunRecord, ...] = ()
    shown: tuple[Shown, ...] = ()
    loaded: bool = False
    """Whether the store has been read at all."""
    sweeps: tuple[Membership, ...] = ()
    """The sweeps, oldest first."""

    def run(self, run_id: int | None) -> RunRecord | None:
        return next((run for run in self.runs if run.id == run_id), None)


class Feed:
    """Reads one store for one app, always in the same thread."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._records: dict[int, RunRecord] = {}
        self._revision = -1
        self._data_version = -1
        self._looked = -1e9
        self._wanted: tuple[int, ...] = ()
        self._curves: dict[int, _Growing] = {}
        self._shown: dict[int, Shown] = {}
        self._partly: set[int] = set()
        """The shown runs that have more points than were read."""
        self._snapshot = Snapshot()
        self._sweeps: tuple[Membership, ...] = ()
        self._sweeps_version: tuple[int, ...] = ()

    def show(self, run_ids: Iterable[int]) -> None:
        """Set the runs to show from the next `poll` on, in this order."""
        self._wanted = tuple(run_ids)
        for run_id in self._shown.keys() - set(self._wanted):
            del self._shown[run_id], self._curves[run_id]
        self._partly &= {*self._wanted}

    @property
    def wanted(self) -> tuple[int, ...]:
        """The runs that were set to be shown."""
        return self._wanted

    @property
    def behind(self) -> bool:
        """Whether the next `poll` will read more points, as there were too many for one."""
        return bool(self._partly)

    def poll(self) -> Snapshot | None:
        """Read what is new; None if nothing has changed. Raises StoreError."""
        changed, version, now = False, self._store.data_version(), self._clock()
        if self._due(version, now):
            changed = self._read_runs()
            self._data_version, self._looked = version, now  # not before, as reading may fail
        shown = tuple(shown for run_id in self._wanted if (shown := self._read_shown(run_id)))
        if not changed and shown == self._snapshot.shown and self._snapshot.loaded:
            return None
        runs = self._snapshot.runs
        if changed or not self._snapshot.loaded:
            runs = tuple(self._records[run_id] for run_id in sorted(self._records, reverse=True))
        self._snapshot = Snapshot(runs, shown, loaded=True, sweeps=self._sweeps)
        return self._snapshot

    def _due(self, version: int, now: float) -> bool:
        watching = any(run.status_text in _OWNED for run in self._records.values())
        return version != self._data_version or (watching and now - self._looked >= _OWNERS_SECONDS)

    def _read_runs(self) -> bool:
        """Update the records, once all is read; return whether any has changed."""
        revision = self._store.revision()
        runs = self._store.runs_since(self._revision)
        changed = [run for run in runs if _differs(run, self._records.get(run.id))]
        records = self._records | {run.id: run for run in changed}
        deleted = self._store.count() != len(records)
        if deleted:
            records = {run.id: run for run in self._store.runs()}
        grouped = self._read_sweeps()
        self._records, self._revision = records, revision
        return bool(changed) or deleted or grouped

    def _read_sweeps(self) -> bool:
        """Read which runs belong to sweeps; return whether that has changed."""
        version = self._store.sweeps.memberships_version()
        if version == self._sweeps_version:
            return False
        self._sweeps_version, self._sweeps = version, tuple(self._store.sweeps.memberships())
        return True

    def _read_shown(self, run_id: int) -> Shown | None:
        run, before = self._records.get(run_id), self._shown.get(run_id)
        if run is None:
            self._shown.pop(run_id, None)
            self._curves.pop(run_id, None)
            self._partly.discard(run_id)
            return None
        if before and before.run is run and run_id not in self._partly:
            return before
        try:
            self._shown[run_id] = self._extended(run)
        except StoreError:  # deleted since its record was read
            self._partly.discard(run_id)
            return before
        return self._shown[run_id]

    def _extended(self, run: RunRecord) -> Shown:
        growing = self._curves.get(run.id)
        if growing is None or growing.reached > run.step:  # new, or truncated and being trained again
            growing = self._curves[run.id] = _Growing()
        newer = self._store.piece(run.id, growing.reached)
        if growing.names not in ((), newer.names):  # it records more than it did
            growing = self._curves[run.id] = _Growing()
            newer = self._store.piece(run.id)
        before = growing.reached
        growing.add(newer)
        if before < growing.reached < run.step:
            self._partly.add(run.id)
        else:
            self._partly.discard(run.id)
        curves = growing.curves()
        return Shown(run, curves, tuple(self._store.events(run.id)), milestones(curves, run.schema.judged))


_MOST_POINTS, _MOST_VALUES = 30_000, 20_000_000
"""The numbers of points and of values of a run that are kept. Above them old points are downsampled."""
_BUCKET = 32


class _Growing:
    """Curves that grow at their end. Arrays that were returned do not change."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._steps: NDArray[np.int64] = np.empty(0, np.int64)
        self._epochs: NDArray[np.int64] = np.empty(0, np.int64)
        self._values: NDArray[np.float64] = np.empty((0, 0))
        self._used = 0
        self._lost: tuple[int, ...] = ()
        self.reached = -1
        """The step of the newest point that was read, also if that is lost."""

    def add(self, newer: Curves) -> None:
        self.reached = max(self.reached, newer.reached)
        needed = self._used + len(newer)
        self.names = newer.names
        self._lost += newer.lost
        if needed > len(self._steps) or not self._used:
            self._grow(max(needed * 3 // 2, 64), len(newer.names))
        part = slice(self._used, needed)
        self._steps[part], self._epochs[part], self._values[part] = newer.steps, newer.epochs, newer.values
        self._used = needed
        if needed > min(_MOST_POINTS, _MOST_VALUES // max(len(self.names), 1)):
            self._thin()

    def _thin(self) -> None:
        """Drop points that a chart could not show, so that memory stays bounded over days."""
        curves = self.curves()
        kept = curves.downsample(_BUCKET, [name for name in curves.names if "/" not in name])
        self._steps, self._epochs, self._values = self._steps[kept], self._epochs[kept], self._values[kept]
        self._used = len(kept)

    def _grow(self, size: int, metrics: int) -> None:
        old, used = (self._steps, self._epochs, self._values), self._used
        self._steps, self._epochs = np.empty(size, np.int64), np.empty(size, np.int64)
        self._values = np.empty((size, metrics))
        for new, before in zip((self._steps, self._epochs, self._values), old, strict=True):
            new[:used] = before[:used] if used else new[:0]

    def curves(self) -> Curves:
        used = self._used
        return Curves(self.names, self._steps[:used], self._epochs[:used], self._values[:used], self._lost)


def _differs(run: RunRecord, before: RunRecord | None) -> bool:
    """Whether a run looks different. A heartbeat and an owner's death take no revision, but only the latter shows."""
    return before is None or (run.revision, run.state) != (before.revision, before.state)
