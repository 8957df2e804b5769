"""Memory: whether runs have room in it, which is checked before they begin, and which errors say that it ran out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wdtui.schema.config import Config
from wdtui.support import machine
from wdtui.support.errors import TrainingError

_RAN_OUT = re.compile(r"out of memory|ALLOC_FAILED|can't allocate memory")
"""As PyTorch words it: its allocators for CUDA, MPS and the CPU, the CUDA driver, cuBLAS and the libraries like it."""


class TooLargeError(TrainingError):
    """Runs that need more memory than there is, in one sentence."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device, so that fewer runs may fit."""
    if isinstance(error, TooLargeError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_RAN_OUT.search(str(error)))


class Budget:
    """How much of the machine's memory the live runs may take. It has no lock of its own."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        self._free = 0
        """What was free when the first of them began. Runs that have just begun do not hold yet what they will need."""

    def begin(self, run_ids: Sequence[int], each: int) -> None:
        """Runs begin, each of which may take `each` bytes."""
        if not self._taken:
            self._free = machine.available_memory()
        self._taken.update(dict.fromkeys(run_ids, each))

    def end(self, run_ids: Sequence[int]) -> None:
        """Runs have ended."""
        for run_id in run_ids:
            self._taken.pop(run_id, None)

    def has_room(self, count: int) -> bool:
        """Whether `count` bytes are left beside the live runs."""
        return count <= min(machine.available_memory(), self._free - sum(self._taken.values()))


def check_room(configs: Sequence[Config], device: str) -> None:
    """Raise TooLargeError for runs of one shape that do not fit together into the memory that is left.

    This checks the CPU only. A GPU reports that it is full, and the system ends no process for it.
    """
    if device != "cpu":
        return
    needed, available = configs[0].training_bytes(len(configs)), machine.available_memory()
    if needed > available:
        raise TooLargeError(
            f"Training it needs about {_gigabytes(needed)} of memory, and {_gigabytes(available)} are available here. "
            "Make its network or its batches smaller."
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
