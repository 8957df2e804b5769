"""Ranks: the processes of a distributed training, which apply the same commands in the same step.

Rank 0 alone talks to the store. At steps that all ranks know, it tells the others what people have asked for, and the
next such step. It chooses that by the time that steps take, so that a command waits for about a fifth of a second.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import torch.distributed as dist

from wdtui.store.records import Command

_SYNC_SECONDS = 0.2
_MOST_STEPS = 10_000
_PATIENCE = datetime.timedelta(days=1)
"""How long a rank waits for rank 0, which may evaluate meanwhile, before it takes it for dead."""


class Ranks:
    """What this rank has to do with the others; all of them must make one, and call `share` at the same steps."""

    def __init__(self) -> None:
        """A group of its own, as a collective of the training must not be mixed with these; on the CPU."""
        self._group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        self.first = dist.get_rank() == 0
        self.next_step = 1
        """The step at which the ranks talk next."""
        self._gap = 1
        self._talked_at: float | None = None

    def share(self, commands: Sequence[Command], step: int) -> list[Command]:
        """Have the commands of rank 0 on all ranks, and choose when to talk next. Raises RuntimeError."""
        message = [(list(commands), self._chosen_gap() if self.first else 0)]
        dist.broadcast_object_list(message, src=0, group=self._group)
        [(shared, self._gap)] = message
        self.next_step = step + self._gap
        return shared

    def _chosen_gap(self) -> int:
        """Twice as many steps as before at most, as the first ones tell little."""
        now, before = time.monotonic(), self._talked_at
        self._talked_at = now
        if before is None:
            return 1
        fitting = _SYNC_SECONDS * self._gap / max(now - before, 1e-9)
        return max(1, min(int(fitting), 2 * self._gap, _MOST_STEPS))


def ranks() -> Ranks | None:
    """The ranks of the training that this process takes part in; None where it trains alone."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return Ranks()
    return None
