"""Milestones: the named steps of a run, computed from its curves by pure functions. No torch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged

FIT = 0.999
"""The training data are fitted if the metric of the fit, such as the training accuracy, is above this."""
GENERALISED = 0.95
"""The network generalises if the metric of generalisation, such as the test accuracy, is at least this."""
CRASHED, RECOVERED = 0.95, 0.99
"""A blow-up is a fall of the fit's metric below the first. The next one counts only after a rise above the second."""


@dataclasses.dataclass(frozen=True, slots=True)
class Milestones:
    """The named steps of a run; None if the run has not reached one."""

    fit_step: int | None
    generalise_step: int | None
    blowup_steps: tuple[int, ...]

    @property
    def reached(self) -> dict[str, int]:
        """The steps of the fit and of generalisation by their names in charts, without those that were not reached."""
        steps = {"fit": self.fit_step, "generalised": self.generalise_step}
        return {name: step for name, step in steps.items() if step is not None}

    @property
    def delay(self) -> int | None:
        """Steps from the fit to generalisation; negative if generalisation came first."""
        if self.fit_step is None or self.generalise_step is None:
            return None
        return self.generalise_step - self.fit_step

    @property
    def blowup_period(self) -> float | None:
        """Median number of steps from one blow-up to the next; None with fewer than two."""
        gaps = np.diff(self.blowup_steps)
        return float(np.median(gaps)) if len(gaps) else None

    def to_json(self) -> dict[str, Any]:
        """The keys "milestones" and "blowups" of a run's summary."""
        return {
            "milestones": {"fit_step": self.fit_step, "generalise_step": self.generalise_step, "delay": self.delay},
            "blowups": {
                "count": len(self.blowup_steps),
                "steps": list(self.blowup_steps),
                "median_period": self.blowup_period,
            },
        }


def milestones(curves: Curves, judged: Judged) -> Milestones:
    """Find the milestones of a run in its logged points. A problem without judged metrics has none."""
    return Milestones(
        fit_step=_step(curves, _first(curves[judged.fit] > FIT)),
        generalise_step=_step(curves, _first(curves[judged.generalise] >= GENERALISED)),
        blowup_steps=tuple(int(step) for step in curves.steps[blowups(curves[judged.blow_up])]),
    )


def blowups(accuracy: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the points at which blow-ups begin: after the fit, a fall below CRASHED from above RECOVERED."""
    fit = _first(accuracy > FIT)
    if fit is None:
        return np.array([], dtype=np.intp)
    crashed, recovered = accuracy < CRASHED, accuracy > RECOVERED
    turning = np.flatnonzero(crashed | recovered)
    turning = turning[turning >= fit]
    falls = crashed[turning[1:]] & recovered[turning[:-1]]
    return turning[1:][falls]


def _first(condition: NDArray[np.bool_]) -> int | None:
    return int(condition.argmax()) if condition.any() else None


def _step(curves: Curves, index: int | None) -> int | None:
    return None if index is None else int(curves.steps[index])
