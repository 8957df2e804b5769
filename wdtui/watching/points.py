"""What a point of a watched training holds: what the loop passed, and what is measured of the model itself.

Nothing here waits for a device. The values of a point are put together there, and the thread that stores them fetches
them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wdtui.schema.recorded import metric_name
from wdtui.training.probes import whole
from wdtui.training.values import why_not_recorded


class Measured:
    """The values of one point, some of which may still have to come from a device."""

    def __init__(self, step: int, speed: float) -> None:
        """`speed` is in steps/s since the point before."""
        self.step = step
        self.speed = speed
        self.traits: dict[str, Mapping[str, Any]] = {}
        """What is known of the metrics besides their names."""
        self._values: dict[str, float] = {}
        self._on_devices: list[tuple[list[str], Tensor, torch.cuda.Event | None]] = []
        self._latest: dict[str, Tensor] = {}
        """Where the value of a name will come from, if it is still on a device."""

    def fill(self, values: Mapping[str, Any], traits: Mapping[str, Any] | None = None) -> None:
        """Take values of names that have none."""
        self.add({name: value for name, value in values.items() if metric_name(name) not in self._values}, traits)

    def add(self, values: Mapping[str, Any], traits: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Take values as they are now, but for those that cannot be recorded; returns a sentence for each of these."""
        refused = {}
        tensors: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
        for given, value in values.items():
            if why := why_not_recorded(given, value):
                refused[given] = f"{why}."
                continue
            name = metric_name(given)
            if isinstance(value, Tensor):
                tensor = whole(value.detach()).reshape(())
                tensors.setdefault((tensor.device, tensor.dtype), {})[name] = tensor
                self._values[name] = math.nan
            else:
                self._latest.pop(name, None)
                self._values[name] = float(value)
            self.traits[name] = traits or {}
        for (device, _), named in tensors.items():
            event = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
            together = torch.stack([*named.values()])
            if event:
                event.record(torch.cuda.current_stream(device))
            self._on_devices.append((list(named), together, event))
            self._latest.update(dict.fromkeys(named, together))
        return refused

    def fetch(self) -> dict[str, float]:
        """All values; waits for the devices."""
        while self._on_devices:
            names, together, event = self._on_devices.pop(0)
            if event:
                event.synchronize()
            for name, value in zip(names, together.tolist(), strict=True):
                if self._latest.get(name) is together:
                    self._values[name] = float(value)
        return self._values
