"""What a table says of a run's whole curve: its best value, its newest smoothed one, and its shape in a few numbers.

A digest is folded over a run's points, so that of a live run only the new points are read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.metric import Metric
from wdtui.store.records import RunRecord, StoreError
from wdtui.store.store import Store

PLACES = 32
"""Into how many equal parts a run's steps are divided for the shape of its curve."""
_PAST = 0.95
"""The weight of the past in a smoothed value: the middle one of the charts' three."""


@dataclasses.dataclass(frozen=True)
class Digest:
    """A metric over all points of a run; NaN where nothing was measured."""

    best: float
    """The largest value of a share, the smallest of another metric."""
    smoothed: float
    """The newest value of the exponential moving average that the charts draw; of logarithms where the scale is so."""
    shape: tuple[float, ...]
    """The newest value in each of PLACES parts of the planned steps."""


NOT_READ = Digest(math.nan, math.nan, (math.nan,) * PLACES)


class Digested(Protocol):
    """Where a table finds the digest of a run's metric: None while it is not read."""

    def of(self, run: RunRecord, metric: str) -> Digest | None: ...


class Fold:
    """A metric of a run, folded over its points in order."""

    def __init__(self, metric: Metric, steps: int) -> None:
        """`steps` are those of the complete run."""
        self._metric, self._steps = metric, max(steps, 1)
        self._best = math.nan
        self._total, self._weight = 0.0, 0.0
        self._shape = np.full(PLACES, np.nan)

    def add(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add later points, [points] each."""
        finite = np.isfinite(values)
        steps, values = steps[finite], values[finite]
        if not len(values):
            return
        largest = self._metric.share
        best = values.max() if largest else values.min()
        self._best = float(np.fmax(self._best, best) if largest else np.fmin(self._best, best))
        self._shape[np.clip((steps - 1) * PLACES // self._steps, 0, PLACES - 1)] = values
        if self._metric.log:
            values = np.log(values[values > 0])
        left = _PAST ** np.arange(len(values) - 1, -1, -1.0)
        self._total = self._total * _PAST ** len(values) + (1 - _PAST) * float(values @ left)
        self._weight = 1 - (1 - self._weight) * _PAST ** len(values)

    def digest(self) -> Digest:
        average = self._total / self._weight if self._weight else math.nan
        smoothed = math.exp(average) if self._metric.log else average
        return Digest(self._best, smoothed, tuple(self._shape.tolist()))


class Digests:
    """The digests of a store's runs that were read so far. One thread reads while others ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[int, _Reading] = {}

    def of(self, run: RunRecord, metric: str) -> Digest | None:
        """The last digest that was read of a run's metric."""
        reading = self._read.get(run.id)
        return reading.digests.get(metric) if reading else None

    def outdated(self, run: RunRecord, metrics: Collection[str]) -> bool:
        """Whether a run has points that are in no digest of these metrics."""
        reading = self._read.get(run.id)
        known = [metric for metric in metrics if metric in run.schema.metrics]
        if not known or run.damaged or run.latest_text == "{}":
            return False
        return reading is None or reading.step != run.step or not reading.folds.keys() >= {*known}

    def read(self, runs: Iterable[RunRecord], metrics: Collection[str]) -> None:
        """Read what is new of these metrics of some runs. Those that were deleted meanwhile are left out."""
        for run in runs:
            known = {metric: run.schema.metrics[metric] for metric in metrics if metric in run.schema.metrics}
            reading = self._read.get(run.id)
            if reading is None or not reading.continues(run) or not reading.folds.keys() >= known.keys():
                reading = _Reading(run, {name: Fold(metric, _span(run)) for name, metric in known.items()})
            try:
                for newer in self._store.pieces(run.id, reading.step):
                    known_points = int(np.searchsorted(newer.steps, run.step, side="right"))
                    for name, fold in reading.folds.items():
                        fold.add(newer.steps[:known_points], newer[name][:known_points])
                    reading.step = min(newer.reached, run.step)  # a later piece may fail
            except StoreError:
                continue
            reading.step = run.step
            reading.digests = {name: fold.digest() for name, fold in reading.folds.items()}
            self._read[run.id] = reading


class _Reading:
    """How far a run was read."""

    def __init__(self, run: RunRecord, folds: dict[str, Fold]) -> None:
        self.folds = folds
        self.digests: dict[str, Digest] = {}
        self.step = -1
        self._span = _span(run)

    def continues(self, run: RunRecord) -> bool:
        """Whether the run has only grown since; it may have been truncated and trained again."""
        return run.step >= self.step and self._span == _span(run)


def _span(run: RunRecord) -> int:
    """The steps of the complete run. One that does not know them is shown over the next power of two."""
    return run.steps if run.steps >= run.step else 1 << run.step.bit_length()
