"""What wdtui measures of the models of a watched training. What fails once is named, and left out from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from wdtui.support.text import clean
from wdtui.training.gauges import Gauges
from wdtui.training.probes import PROBES
from wdtui.watching.points import Measured
from wdtui.watching.recorder import say

_GAUGES = "the decay gauges"


class Probing:
    """The probes, and the decay gauges of the step that leads to the next point."""

    def __init__(self, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer]) -> None:
        self._models, self._optimizers = models, optimizers
        self._failed: set[str] = set()
        self._gauges: tuple[int, Gauges] | None = None
        """With the number of their step."""

    def prepare(self, step: int) -> None:
        """Copy the weights before the step that leads to a point."""
        if not self._gauges and (gauges := self._try(_GAUGES, partial(Gauges, self._models, self._optimizers))):
            self._gauges = step, gauges

    def measure(self, point: Measured) -> None:
        """Add to a point what its step did not pass under the same name."""
        for probe in PROBES:
            point.fill(self._try(probe.__name__, partial(probe, self._models)) or {})
        if self._gauges and self._gauges[0] == point.step:
            (_, gauges), self._gauges = self._gauges, None
            point.fill(self._try(_GAUGES, gauges.measure) or {}, sparse=True)  # points that `log` adds have none

    def drop(self) -> None:
        """Free the copy of the weights."""
        self._gauges = None

    def _try(self, name: str, act: Callable[[], Any]) -> Any:
        """What `act` returns; None if it fails, or has failed before."""
        if name in self._failed:
            return None
        try:
            with torch.no_grad():
                return act()
        except Exception as error:
            self._failed.add(name)
            say(f"{name} cannot be measured: {clean(str(error))[:200]}")
            return None
