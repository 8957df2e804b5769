"""What wdtui measures of the models of any training. What fails once is named, and left out from then on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from wdtui.support.text import clean, say
from wdtui.training.gauges import Gauges
from wdtui.training.probes import PROBES

_GAUGES = "the decay gauges"
_FREE_SECONDS = 0.2
"""What the gauges may take in any case, so that the first points of a training have them."""


class Probing:
    """The probes, and the decay gauges of the step that leads to the next point."""

    def __init__(
        self,
        models: Callable[[], Mapping[str, nn.Module]],
        optimizers: Callable[[], Sequence[Optimizer]],
        *,
        share: float | None = None,
    ) -> None:
        """`models` gives the models by the prefix of their layers' names; both are asked each time.

        With a `share`, a point is without the gauges if they have taken more than this share of the time so far.
        """
        self._models, self._optimizers, self._share = models, optimizers, share
        self._spent, self._began = 0.0, 0.0
        """The seconds that the gauges have taken, and when they were first asked for."""
        self._failed: set[str] = set()
        self._gauges: tuple[int, Gauges] | None = None
        """With the number of their step."""

    def prepare(self, step: int) -> None:
        """Copy the weights before the step that leads to a point, if there is time for the gauges."""
        began = time.perf_counter()
        self._began = self._began or began
        if self._gauges or (self._share and self._spent > self._share * (began - self._began) + _FREE_SECONDS):
            return
        if made := self._try(_GAUGES, lambda: Gauges(self._models(), self._optimizers())):
            self._gauges = step, made
        self._spent += time.perf_counter() - began

    def measure(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was measured at a point: of the models, and of the step if `prepare` was called before it."""
        of_models: dict[str, Any] = {}
        for probe in PROBES:
            of_models |= self._try(probe.__name__, partial(self._probed, probe)) or {}
        if not self._gauges or self._gauges[0] != step:
            return of_models, {}
        (_, gauges), self._gauges = self._gauges, None
        began = time.perf_counter()
        of_step = self._try(_GAUGES, gauges.measure) or {}
        self._spent += time.perf_counter() - began
        return of_models, of_step

    def drop(self) -> None:
        """Free the copy of the weights."""
        self._gauges = None

    def _probed(self, probe: Callable[[Mapping[str, nn.Module]], dict[str, Any]]) -> dict[str, Any]:
        return probe(self._models())

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
