"""What trains the queued runs of a store: the scheduler on this machine, a Ray cluster on many."""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol


class Executor(Protocol):
    """Trains runs; how each of them stands, and ends, is in the store. All methods but `wait` return at once."""

    @property
    def at_work(self) -> Set[int]:
        """The runs that wait to be trained here, or are."""

    def submit(self, *run_ids: int, threads: int | None = None) -> None:
        """Queue runs that are to be begun or gone on with, with so many CPU threads each, or as many as suit them."""

    def interrupt(self, reason: str) -> None:
        """Have all live runs stop with a checkpoint and start no more, for good."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, for seconds, until no run is live; True says that none is."""
