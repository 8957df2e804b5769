"""What wdtui measures of the models of any training. What fails once is named, and left out from then on."""

from __future__ import annotations

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


class Probing:
    """The probes, and the decay gauges of the step that leads to the next point."""

    def __init__(
        self, models: Callable[[], Mapping[str, nn.Module]], optimizers: Callable[[], Sequence[Optimizer]]
    ) -> None:
        """`models` gives the models by the prefix of their layers' names; both are asked each time."""
        self._models, self._optimizers = models, optimizers
        self._failed: set[str] = set()
        self._gauges: tuple[int, Gauges] | None = None
        """With the number of their step."""

    def prepare(self, step: int) -> None:
        """Copy the weights before the step that leads to a point."""
        made = None if self._gauges else self._try(_GAUGES, lambda: Gauges(self._models(), self._optimizers()))
        if made:
            self._gauges = step, made

    def measure(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was measured at a point: of the models, and of the step if `prepare` was called before it."""
        of_models: dict[str, Any] = {}
        for probe in PROBES:
            of_models |= self._try(probe.__name__, partial(self._probed, probe)) or {}
        if not self._gauges or self._gauges[0] != step:
            return of_models, {}
        (_, gauges), self._gauges = self._gauges, None
        return of_models, self._try(_GAUGES, gauges.measure) or {}

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
