"""The steps of a run that deserve a name, read off its curves by pure functions.

It stands beside `metrics.py` rather than in the laboratory, because screens and listings need it and know no torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged

FIT = 0.999
"""The metric of the fit, as the training accuracy, above this means that what is trained on is fitted."""
GENERALISED = 0.95
"""That of generalisation, as the test accuracy, from here on means that the network generalises."""
CRASHED, RECOVERED = 0.95, 0.99
"""A blow-up is a fall of the fit's metric below the first; the next counts only after a rise above the second."""


@dataclasses.dataclass(frozen=True, slots=True)
class Milestones:
    """Steps worth a name; None where the run has not come so far."""

    fit_step: int | None
    generalise_step: int | None
    blowup_steps: tuple[int, ...]

    @property
    def delay(self) -> int | None:
        """Steps from fit to generalisation; negative where the test came first."""
        if self.fit_step is None or self.generalise_step is None:
            return None
        return self.generalise_step - self.fit_step

    @property
    def blowup_period(self) -> float | None:
        """Median number of steps from one blow-up to the next; None with fewer than two."""
        gaps = np.diff(self.blowup_steps)
        return float(np.median(gaps)) if len(gaps) else None

    def to_json(self) -> dict[str, Any]:
        """The two parts of a run's summary that come from its milestones."""
        return {
            "milestones": {"fit_step": self.fit_step, "generalise_step": self.generalise_step, "delay": self.delay},
            "blowups": {
                "count": len(self.blowup_steps),
                "steps": list(self.blowup_steps),
                "median_period": self.blowup_period,
            },
        }


def milestones(curves: Curves, judged: Judged) -> Milestones:
    """Find the milestones of a run among its logged points; a problem that judges by no metric has none."""
    fit, generalised = curves[judged.fit], curves[judged.generalise]
    return Milestones(
        fit_step=_step(curves, _first(fit > FIT)),
        generalise_step=_step(curves, _first(generalised >= GENERALISED)),
        blowup_steps=tuple(int(step) for step in curves.steps[blowups(fit)]),
    )


def blowups(accuracy: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the points at which a blow-up begins: after the fit, a fall below CRASHED from above RECOVERED."""
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
