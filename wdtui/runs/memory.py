"""Whether runs have room in memory: asked before they begin, as nothing can be said once the system has ended them."""

from __future__ import annotations

from collections.abc import Sequence

from wdtui import machine
from wdtui.config import RunConfig
from wdtui.sizes import training_bytes


class TooLargeError(Exception):
    """Runs that need more memory than there is, in one sentence."""


def check_room(configs: Sequence[RunConfig], device: str) -> None:
    """Raise TooLargeError for runs of one shape that cannot be trained side by side in what memory is left.

    Only a CPU's: a GPU says for itself that it is full, and no process is ended for it.
    """
    if device != "cpu":
        return
    needed, available = training_bytes(configs[0], len(configs)), machine.available_memory()
    if needed > available:
        raise TooLargeError(
            f"Training it needs about {_gigabytes(needed)} of memory, and {_gigabytes(available)} are available here. "
            "Give a smaller width, fewer blocks or a smaller batch_size."
        )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
