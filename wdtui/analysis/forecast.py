"""When the next blow-up is to be expected, extrapolated from how a gauge climbs: pure functions of a run's curves.

The sharpness of a run that blows up again and again is a saw-tooth: it climbs about exponentially and falls in the
blow-up. A forecast draws the climb of the current tooth on to the level at which blow-ups come. It uses only what was
measured before, so that a live run and a replay (`hindsight.py`) see the same. No torch, no UI.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import Milestones
from wdtui.schema.curves import Curves

THRESHOLD = 5.5
"""The sharpness at which blow-ups come, until the run has shown its own: measured on one run, see crash-forecast.md."""
_FALLEN = 0.7
"""A value below this share of the tooth's highest ends the tooth, as in a blow-up too shallow to be counted."""
_FEWEST, _MOST = 4, 5
"""How many measurements of the current tooth a slope is taken from: the newest."""
_CLEAR = 1.5
"""How many standard errors the slope must be above zero."""
_SPREAD = 0.3
"""Blow-ups come at the level give or take this much in its logarithm: about two thirds of those measured did."""
_REACH = 2.0
"""A forecast looks ahead at most so many times the steps that its slope was taken from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """A blow-up that is to be expected, in steps; `earliest` and `latest` are a standard error of the slope away."""

    made_at: int
    """The step of the newest measurement."""
    step: int
    earliest: int
    latest: int
    value: float
    """The gauge at its newest measurement."""
    threshold: float
    """The value at which the blow-up is expected."""


def expected_blowup(curves: Curves, seen: Milestones) -> Forecast | None:
    """The next blow-up of a run by its sharpness, or None where that does not climb clearly enough to tell."""
    if seen.fit_step is None:
        return None
    steps, values = curves.measured("sharpness")
    return forecast(steps, values, seen.blowup_steps, THRESHOLD)


def threshold(curves: Curves, seen: Milestones) -> float:
    """The sharpness at which the next blow-up of a run is to be expected."""
    steps, values = curves.measured("sharpness")
    return _level(steps, values, seen.blowup_steps, THRESHOLD)


def forecast(
    steps: NDArray[np.int64], values: NDArray[np.float64], blowup_steps: Sequence[int], default: float
) -> Forecast | None:
    """Extrapolate any positive gauge that climbs to blow-ups; `default` is its level at them until one has been seen.

    None where fewer than a few measurements belong to the current tooth, where their slope is not clearly above zero,
    and where the level lies too far ahead.
    """
    positive = values > 0
    steps, values = steps[positive], values[positive]
    if not len(steps):
        return None
    level = _level(steps, values, blowup_steps, default)
    first = _tooth(steps, values, blowup_steps)
    x, y = steps[first:][-_MOST:].astype(np.float64), np.log(values[first:][-_MOST:])
    if len(x) < _FEWEST:
        return None
    slope, error = _slope(x, y)
    now, missing = float(x[-1]), math.log(level) - float(y[-1])
    if slope <= _CLEAR * error or missing > slope * _REACH * (now - x[0]):
        return None
    nearest, expected, farthest = (
        int(now + max(missing + spread, 0) / rate)
        for spread, rate in ((-_SPREAD, slope + error), (0, slope), (_SPREAD, slope - error))
    )
    return Forecast(int(now), expected, nearest, farthest, float(values[-1]), level)


def _level(steps: NDArray[np.int64], values: NDArray[np.float64], blowup_steps: Sequence[int], default: float) -> float:
    """The median of the last values measured before each blow-up so far."""
    before = np.searchsorted(steps, blowup_steps) - 1
    levels = values[before[before >= 0]]
    return float(np.median(levels)) if len(levels) else default


def _tooth(steps: NDArray[np.int64], values: NDArray[np.float64], blowup_steps: Sequence[int]) -> int:
    """The index at which the current tooth begins: where the gauge was lowest since it last fell."""
    start = int(np.searchsorted(steps, blowup_steps[-1])) if blowup_steps else 0
    highest = 0.0
    for index in range(start, len(values)):
        if values[index] < _FALLEN * highest or values[index] <= values[start]:
            start, highest = index, 0.0
        highest = max(highest, float(values[index]))
    return start


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """The least-squares slope and its standard error."""
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    residual = y - slope * x
    return slope, math.sqrt(float(residual @ residual) / (len(x) - 2) / spread)
