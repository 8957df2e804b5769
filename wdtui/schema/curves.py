"""Points, and the curves that a run's points make. Plain Python and numpy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """What was measured at the end of one logged epoch; `values` are in the order of `Config.columns`."""

    step: int
    epoch: int
    values: tuple[float, ...]

    def under(self, names: Sequence[str], others: Sequence[str]) -> Point:
        """This point, whose values have `names`, with the values that have other names; NaN where there is none."""
        if tuple(names) == tuple(others):
            return self
        known = dict(zip(names, self.values, strict=True))
        return Point(self.step, self.epoch, tuple(known.get(name, math.nan) for name in others))


class Curves:
    """The points of one run as arrays: `curves["test_accuracy"]` is float64 [points], all NaN where not measured."""

    def __init__(
        self,
        names: Sequence[str],
        steps: NDArray[np.int64],
        epochs: NDArray[np.int64],
        values: NDArray[np.float64],
        lost: tuple[int, ...] = (),
    ) -> None:
        self.names = tuple(names)
        self.steps = steps
        self.epochs = epochs
        self.values = values
        """Shape [points, metrics]."""
        self.lost = lost
        """Steps of points that were measured and are damaged or missing, as far as they are known."""

    @classmethod
    def of(cls, names: Sequence[str], points: Iterable[Point]) -> Curves:
        """Collect points as a training yields them; `names` are those of their values."""
        points = list(points)
        values = np.array([point.values for point in points], dtype=np.float64).reshape(len(points), len(names))
        steps = np.array([point.step for point in points], dtype=np.int64)
        return cls(names, steps, np.array([point.epoch for point in points], dtype=np.int64), values)

    def __len__(self) -> int:
        return len(self.steps)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        place = self._places.get(name)
        return np.full(len(self), np.nan) if place is None else self.values[:, place]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @property
    def reached(self) -> int:
        """The step of the newest point, also if that is lost; -1 without points."""
        return int(max([-1, *self.steps[-1:], *self.lost[-1:]]))

    def measured(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and values of a metric at the points that have a finite one, [measurements] each."""
        values = self[name]
        finite = np.isfinite(values)
        return self.steps[finite], values[finite]

    def last(self) -> dict[str, float]:
        """The newest point, by metric; empty before the first."""
        return dict(zip(self.names, self.values[-1].tolist(), strict=True)) if len(self) else {}

    def downsample(self, bucket: int, names: Iterable[str]) -> NDArray[np.intp]:
        """Indices of the points without which a chart would look different, of a long run's many.

        Of every `bucket` points: the first, and those at which one of the metrics `names` is smallest or largest.
        """
        whole = len(self) // bucket * bucket
        first = np.arange(0, whole, bucket)
        kept = [first, np.arange(whole, len(self))]
        for name in names:
            rows = self[name][:whole].reshape(-1, bucket)
            gap = ~np.isfinite(rows)
            kept += [first + np.where(gap, np.inf, rows).argmin(1), first + np.where(gap, -np.inf, rows).argmax(1)]
        return np.unique(np.concatenate(kept))
