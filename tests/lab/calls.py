"""Counting what PyTorch is asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

READING = {"_local_scalar_dense", "is_nonzero", "item", "equal"}


def comparable(values: Iterable[float]) -> tuple[float | None, ...]:
    """Values with None for NaN, which does not equal itself."""
    return tuple(None if math.isnan(value) else value for value in values)


class Calls(TorchDispatchMode):
    """Counts the operations that PyTorch is asked for, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **kwargs or {})

    @property
    def waits(self) -> int:
        """How often the host asked for a single number, which on a GPU makes it wait for all before."""
        return sum(count for name, count in self.counts.items() if name in READING)
