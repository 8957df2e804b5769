"""Forecasts the next blow-up by extrapolating a rising gauge. Pure functions of a run's curves.

The sharpness of a run with repeated blow-ups is a saw-tooth: it rises about exponentially and falls in the blow-up. A
forecast extrapolates the current tooth to the level at which blow-ups happen. It uses only earlier measurements, so a
live run and a backtest (`backtest.py`) give the same forecast. No torch, no UI.
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
"""The sharpness at blow-ups, until the run has had one. Measured on one run, see crash-forecast.md."""
_FALLEN = 0.7
"""A value below this fraction of the tooth's maximum ends the tooth, as after a blow-up too small to be counted."""
_FEWEST, _MOST = 4, 5
"""The minimum and maximum number of measurements of the current tooth for a slope; the newest are used."""
_CLEAR = 1.5
"""The minimum slope in standard errors."""
_SPREAD = 0.3
"""The spread of the level at blow-ups, in its logarithm. About two thirds of the measured ones are within it."""
_REACH = 2.0
"""How far a forecast looks ahead, as a multiple of the steps that its slope was computed from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast blow-up, in steps. `earliest` and `latest` are one standard error of the slope away."""

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
    """The forecast of the next blow-up from a run's sharpness, or None if that does not clearly rise."""
    if seen.fit_step is None:
        return None
    steps, values = curves.measured("sharpness")
    return forecast(steps, values, seen.blowup_steps, THRESHOLD)


def threshold(curves: Curves, seen: Milestones) -> float:
    """The sharpness at which the next blow-up of a run is expected."""
    steps, values = curves.measured("sharpness")
    return _level(steps, values, seen.blowup_steps, THRESHOLD)


def forecast(
    steps: NDArray[np.int64], values: NDArray[np.float64], blowup_steps: Sequence[int], default: float
) -> Forecast | None:
    """Extrapolate a positive gauge. `default` is its level at blow-ups until one was seen.

    None if the current tooth has too few measurements, their slope is not clearly positive, or the level is too far
    ahead.
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
    """The index at which the current tooth begins: the minimum since the gauge last fell."""
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
