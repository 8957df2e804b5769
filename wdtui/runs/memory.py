"""Whether runs have room in memory: asked before they begin, as nothing can be said once the system has ended them."""

from __future__ import annotations

from collections.abc import Sequence

from wdtui.schema.config import Config
from wdtui.support import machine
from wdtui.support.errors import TrainingError


class TooLargeError(TrainingError):
    """Runs that need more memory than there is, in one sentence."""


class Budget:
    """The memory that live runs may take in all; no lock of its own."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        self._free = 0
        """What was left when the first of them began: what has just begun has not taken yet what it will."""

    def begin(self, run_ids: Sequence[int], each: int) -> None:
        """Runs begin, each of which may take so many bytes."""
        if not self._taken:
            self._free = machine.available_memory()
        self._taken.update(dict.fromkeys(run_ids, each))

    def end(self, run_ids: Sequence[int]) -> None:
        """Runs have ended."""
        for run_id in run_ids:
            self._taken.pop(run_id, None)

    def has_room(self, count: int) -> bool:
        """Whether so many bytes are left beside the live runs."""
        return count <= min(machine.available_memory(), self._free - sum(self._taken.values()))


def check_room(configs: Sequence[Config], device: str) -> None:
    """Raise TooLargeError for runs of one shape that cannot be trained side by side in what memory is left.

    Only a CPU's: a GPU says for itself that it is full, and no process is ended for it.
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
