"""What a point of a watched training holds: what the loop passed, and what is measured of the model itself.

Nothing here waits for a device. The values of a point are put together there, and the thread that stores them fetches
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wdtui.support.text import clean
from wdtui.watching.description import metric_name

_name = lru_cache(maxsize=10_000)(metric_name)


class Measured:
    """The values of one point, some of which may still have to come from a device."""

    def __init__(self, step: int, speed: float) -> None:
        """`speed` is in steps/s since the point before."""
        self.step = step
        self.speed = speed
        self.sparse: set[str] = set()
        """The values that not every point has."""
        self._values: dict[str, float] = {}
        self._on_devices: list[tuple[list[str], Tensor, torch.cuda.Event | None]] = []

    def add(self, values: Mapping[str, Any], *, sparse: bool = False) -> dict[str, str]:
        """Take values as they are now, but for those that cannot be recorded; returns a sentence for each of these."""
        refused = {}
        tensors: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
        for given, value in values.items():
            name = _name(str(given))
            if not name or not _is_number(value):
                why = f"it is {_kind(value)} and no number" if name else "wdtui has a column of that name"
                refused[given] = f"{clean(str(given))[:80]} is not recorded: {why}."
                continue
            if isinstance(value, Tensor):
                tensor = _whole(value.detach()).reshape(())
                tensors.setdefault((tensor.device, tensor.dtype), {})[name] = tensor
                self._values[name] = math.nan
            else:
                self._values[name] = float(value)
            if sparse:
                self.sparse.add(name)
        for (device, _), named in tensors.items():
            event = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
            together = torch.stack([*named.values()])
            if event:
                event.record(torch.cuda.current_stream(device))
            self._on_devices.append((list(named), together, event))
        return refused

    def fetch(self) -> dict[str, float]:
        """All values; waits for the devices."""
        while self._on_devices:
            names, together, event = self._on_devices.pop(0)
            if event:
                event.synchronize()
            self._values.update(zip(names, map(float, together.tolist()), strict=True))
        return self._values


def weight_norms(models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The L2 norm of all parameters that are trained, together, and of each that is no vector, by its layer."""
    weights = {
        _layer(prefix, name): parameter
        for prefix, model in models.items()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not isinstance(parameter, nn.UninitializedParameter)
    }
    if not weights:
        return {}
    dtype = torch.float32 if all(one.dtype.itemsize <= 4 for one in weights.values()) else None
    norms = [_whole(norm) for norm in torch._foreach_norm([*weights.values()], dtype=dtype)]
    together = torch.linalg.vector_norm(torch.stack([norm.to(norms[0]) for norm in norms]))
    named = zip(weights.items(), norms, strict=True)
    layers = {f"weight_norm/{name.removesuffix('.weight')}": norm for (name, one), norm in named if one.dim() > 1}
    return {"weight_norm": together, **layers}


def running_variances(models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The smallest and the median running variance over the channels of all layers, and of each that keeps one."""
    variances = {
        _layer(prefix, name): _whole(variance)
        for prefix, model in models.items()
        for name, module in model.named_modules()
        if isinstance(variance := getattr(module, "running_var", None), Tensor)
    }
    if not variances:
        return {}
    first, *_ = variances.values()
    channels = torch.cat([variance.to(first) for variance in variances.values()])
    measured = {"running_variance_min": channels.min(), "running_variance_median": channels.median()}
    for name, variance in variances.items():
        measured[f"running_variance_min/{name}"] = variance.min()
        measured[f"running_variance_median/{name}"] = variance.median()
    return measured


Probe = Callable[[Mapping[str, nn.Module]], dict[str, Tensor]]
"""Measures models, which are by the prefix of their layers' names: 0-dimensional tensors by the name of a metric."""
PROBES: tuple[Probe, ...] = (weight_norms, running_variances)
"""What is measured at each point."""


def _layer(prefix: str, name: str) -> str:
    """The name of a layer without what wrappers add to it."""
    parts = [part for part in name.split(".") if part not in ("_orig_mod", "_fsdp_wrapped_module")]
    inner = parts[1:] if parts[:1] == ["module"] and len(parts) > 1 else parts
    return ".".join(filter(None, [prefix, *inner])) or "model"


def _whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is spread over ranks, each of which has to call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and not value.is_meta
    if isinstance(value, np.ndarray):
        return value.size == 1 and value.dtype.kind in "biuf"
    if isinstance(value, int):
        return abs(value) < 2**1000  # one that a float can hold
    return isinstance(value, (float, np.integer, np.floating, np.bool_))


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
