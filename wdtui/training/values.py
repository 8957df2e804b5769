"""Values of metrics as code hands them over: which of them are numbers, and how a refused one is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wdtui.schema.recorded import metric_name
from wdtui.support.text import clean


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers and tensors with one element as floats; each device is waited for once."""
    tensors: dict[Any, dict[str, Tensor]] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            tensors.setdefault((value.device, value.dtype), {})[name] = value.detach().reshape(())
    fetched: dict[str, float] = {}
    for named in tensors.values():
        fetched |= dict(zip(named, map(float, torch.stack([*named.values()]).tolist()), strict=True))
    return {name: fetched[name] if name in fetched else float(value) for name, value in values.items()}


def is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and not value.is_meta
    if isinstance(value, np.ndarray):
        return value.size == 1 and value.dtype.kind in "biuf"
    if isinstance(value, int):
        return abs(value) < 2**1000  # one that a float can hold
    return isinstance(value, (float, np.integer, np.floating, np.bool_))


def why_not_recorded(given: Any, value: Any) -> str:
    """Why a value cannot be recorded under the name that code gave it, without a full stop; empty if it can."""
    if not metric_name(str(given)):
        why = "wdtui has a column of that name"
    elif not is_number(value):
        why = f"it is {kind(value)} and no number"
    else:
        return ""
    return f"{clean(str(given))[:80]} cannot be recorded: {why}"


def kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
