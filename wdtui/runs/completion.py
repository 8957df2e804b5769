"""Training runs to their ends through an executor: what sweeps and the verification of experiments have in common."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from wdtui.runs.executor import Executor
from wdtui.store.records import CLAIMABLE, RunRecord, Status

_Runs = TypeVar("_Runs", bound=Sequence[RunRecord | None])
_LOOK_SECONDS, _MOST_SECONDS = 0.2, 2.0
"""How often the runs are read: less often where reading many of them would take the time of training."""
_SHARE = 0.05
"""How much of the time reading takes at most."""


@contextlib.contextmanager
def leaving_none_live(executor: Executor, stop: Callable[[], str]) -> Iterator[None]:
    """Whatever happens within, let none of the executor's runs be live after it; `stop` may say why."""
    try:
        yield
    finally:
        executor.interrupt(stop() or "Training could not continue")
        executor.wait()


def train(
    executor: Executor, read: Callable[[], _Runs], *, threads: int | None, stop: Callable[[], str]
) -> Iterator[tuple[_Runs, set[int]]]:
    """Train the runs that `read` reads until none is left, here or in other processes, or `stop` says a reason.

    Each is tried once; how it ends is its status. One that another process trains is taken over where it is interrupted
    there, not where it is stopped. Gives the runs at every look, and which of them are not over yet. All are submitted
    even where `stop` has said a reason by then: interrupting the executor gives them their status.
    """
    tried: set[int] = set()
    left: set[int] = set()
    while True:
        began = time.monotonic()
        at_work = executor.at_work  # before the runs are read: one that has left it by now is read as it ended
        runs = read()
        present = [run for run in runs if run]
        tried.update(run.id for run in present if run.id in left and run.status == Status.STOPPED)
        free = [run.id for run in present if run.status in CLAIMABLE and run.id not in tried | at_work]
        tried.update(free)
        executor.submit(*free, threads=threads)
        left = {run.id for run in present if run.live} | {run.id for run in present} & at_work | {*free}
        yield runs, left
        if not left or stop():
            return
        time.sleep(min(max((time.monotonic() - began) / _SHARE, _LOOK_SECONDS), _MOST_SECONDS))
