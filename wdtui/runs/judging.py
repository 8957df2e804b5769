"""Judging: the milestones of a run as its points come. No torch."""

from __future__ import annotations

from array import array

import numpy as np

from wdtui.analysis.milestones import Milestones, milestones
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged


class Judging:
    """What a whole run is judged by, of which each new point may make a milestone."""

    def __init__(self, judged: Judged, curves: Curves) -> None:
        """`curves` are those of the points before."""
        self._judged = judged
        self._steps, self._values = array("q"), array("d")
        self.add(curves)

    def add(self, curves: Curves) -> None:
        self._steps.extend(curves.steps.tolist())
        self._values.extend(np.stack([curves[name] for name in self._judged], 1).flatten().tolist())

    def milestones(self) -> Milestones:
        steps = np.frombuffer(self._steps, dtype=np.int64)
        values = np.frombuffer(self._values, dtype=np.float64).reshape(-1, 2)
        return milestones(Curves(self._judged, steps, steps, values), self._judged)
