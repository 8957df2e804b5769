"""What trains the queued runs of a store: the scheduler on this machine, a Ray cluster on many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Set
from typing import TYPE_CHECKING, Protocol

from wdtui.store.processes import this_process
from wdtui.store.records import FINISHED, RunRecord, Status, StoreError

if TYPE_CHECKING:
    from wdtui.store.store import Store


class Executor(Protocol):
    """Trains runs; how each of them stands, and ends, is in the store. All methods but `wait` return at once."""

    @property
    def at_work(self) -> Set[int]:
        """The runs that are queued or training here."""

    def submit(self, *run_ids: int, threads: int | None = None) -> None:
        """Queue runs to start or continue, with this many CPU threads each, or as many as suit them."""

    def interrupt(self, reason: str) -> None:
        """Stop all live runs with a checkpoint and start no more, permanently; waiting runs are interrupted."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, for seconds, until no run is live; True says that none is."""


def queue_again(store: Store, run: RunRecord) -> None:
    """Queue a run to start or continue in this process; a run that is queued already does not change.

    Raises RunBusyError where a living process trains it, StoreError where there is nothing left to train.
    """
    if run.status in FINISHED and store.curves(run.id).lost:
        store.reopen(run.id)
    elif run.status != Status.QUEUED or run.orphaned:
        store.transition(run.id, Status.QUEUED)


def interrupt_waiting(store: Store, run_ids: Iterable[int], reason: str) -> None:
    """Mark those of some runs as interrupted that are still queued, but for those of another process that lives."""
    me = this_process()
    for run_id in run_ids:
        with contextlib.suppress(StoreError):  # deleted, or another process trains it by now
            run = store.run(run_id)
            if run.status == Status.QUEUED and (run.owner == me or run.owner_life):  # None says that it lives
                said = f"{reason} while run {run_id} waited. `wdtui resume {run_id}` trains it."
                store.transition(run_id, Status.INTERRUPTED, said)
