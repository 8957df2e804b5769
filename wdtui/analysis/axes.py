"""What the horizontal axis of a chart may be, as functions of a run's curves; and curves without their noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Axis:
    """A quantity that grows with the steps of a run."""

    name: str
    label: str
    of: Callable[[Curves, int], Floats | None]
    """Its value at each point, given the steps per epoch; None if the run does not tell it."""
    ahead: bool = False
    """Whether it is proportional to the steps, so that it is known of steps that are not trained yet."""

    def at(self, step: float, curves: Curves, steps_per_epoch: int) -> float:
        """Its value at a step, between points by interpolation. NaN if it is unknown."""
        values = self.of(curves, steps_per_epoch)
        if values is None or not len(values):
            return float(step) if self.name == "step" else np.nan
        if self.ahead and curves.steps[-1] > 0:
            return float(step * values[-1] / curves.steps[-1])
        return float(np.interp(step, curves.steps, values))


def _steps(curves: Curves, steps_per_epoch: int) -> Floats:
    return curves.steps.astype(np.float64)


def _epochs(curves: Curves, steps_per_epoch: int) -> Floats | None:
    return curves.steps / steps_per_epoch if steps_per_epoch > 1 else None


def _seconds(curves: Curves, steps_per_epoch: int) -> Floats | None:
    """The time spent training: the steps of each stretch, divided by the speed measured at its end."""
    if "steps_per_second" not in curves:
        return None
    speed = curves["steps_per_second"]
    with np.errstate(divide="ignore", invalid="ignore"):
        spent = np.diff(curves.steps, prepend=0) / speed
    return np.cumsum(np.where(np.isfinite(spent), spent, 0.0))


def _time_constants(curves: Curves, steps_per_epoch: int) -> Floats | None:
    """How many time constants of the weight decay have passed: Σ 1/τ, where without momentum τ = 1/(ηλ)."""
    if "time_constant" not in curves:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        passed = np.diff(curves.steps, prepend=0) / curves["time_constant"]
    return np.cumsum(np.where(np.isfinite(passed), passed, 0.0))


AXES = {
    axis.name: axis
    for axis in (
        Axis("step", "step", _steps, ahead=True),
        Axis("epoch", "epoch", _epochs, ahead=True),
        Axis("time", "seconds of training", _seconds),
        Axis("decay", "time constants of decay, ηλ · steps", _time_constants),
    )
}
"""The axes by name; the first is the default."""


def smoothed(values: Floats, share: float, *, log: bool = False) -> Floats:
    """An exponential moving average of values [points], in which the past weighs `share`, as in Adam corrected for its
    start. On a logarithmic scale it is of the logarithms. Values without a position are gaps and stay gaps.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        positions = np.where(values > 0, np.log(values), np.nan) if log else np.asarray(values, dtype=np.float64)
    finite = np.isfinite(positions)
    sums = accumulate(positions[finite].tolist(), lambda past, value: share * past + (1 - share) * value, initial=0.0)
    totals = np.fromiter(sums, np.float64)[1:]
    averages = totals / (1 - share ** np.arange(1.0, len(totals) + 1))
    result = np.full(len(positions), np.nan)
    result[finite] = np.exp(averages) if log else averages
    return result
