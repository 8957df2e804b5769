"""Sweeps at work: which run each cell takes, and training whatever is missing. No UI, no torch.

A cell takes over an equal run that the store holds: what was trained is not trained again, what was begun is gone on
with, what another process trains is waited for. Only else a run is added.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial

from wdtui.analysis.sweep_table import Table, state
from wdtui.runs.completion import leaving_none_live, train
from wdtui.runs.executor import Executor
from wdtui.schema.config import Config
from wdtui.store.records import FINISHED, RunRecord, Status
from wdtui.store.store import Store
from wdtui.store.sweeps import Sweep, fingerprint

_PREFERRED = (Status.DONE, Status.DIVERGED, Status.RUNNING, Status.PAUSED)
"""Which of several equal runs a cell takes, the best first; of others the one that has come furthest."""

_FIRST_SECONDS = 1.0
"""How long it takes until an average says anything."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Progress of a sweep at one moment."""

    sweep: Sweep
    runs: tuple[RunRecord | None, ...]
    """In the order of its cells; None where one is missing."""
    seconds: float = 0.0
    """Since the first run of this completion began, so that importing PyTorch does not count."""
    steps_before: int = 0
    """What had been trained by then."""

    @property
    def states(self) -> Counter[str]:
        """How many cells are in each state, as `wdtui.analysis.sweep_table.state` has them."""
        return Counter(map(state, self.runs))

    @property
    def finished(self) -> int:
        """How many cells are trained to their end."""
        return sum(run is not None and run.status_text in FINISHED for run in self.runs)

    @property
    def complete(self) -> bool:
        """Whether all runs have ended."""
        return self.finished == len(self.runs)

    @property
    def steps(self) -> int:
        """Steps trained in all cells."""
        return sum(run.step for run in self.runs if run)

    @property
    def work_left(self) -> list[tuple[Config, int]]:
        """The cells that can still be trained, each with the steps it lacks; failed ones count as ended."""
        ended = (*FINISHED, Status.FAILED)
        return [
            (cell.config, cell.config.steps - (run.step if run else 0))
            for cell, run in zip(self.sweep.cells, self.runs, strict=True)
            if run is None or run.status_text not in ended
        ]

    @property
    def steps_left(self) -> int:
        return sum(steps for _, steps in self.work_left)

    @property
    def speed(self) -> float | None:
        """Steps per second of all cells together, on average over `seconds`; at first, of the live ones now."""
        if self.seconds < _FIRST_SECONDS:
            return sum(run.speed or 0.0 for run in self.runs if run and run.status_text == Status.RUNNING) or None
        trained = self.steps - self.steps_before
        return trained / self.seconds if trained > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can tell."""
        return self.steps_left / self.speed if self.speed else None

    @property
    def table(self) -> Table:
        """What the cells came to so far."""
        return self.sweep.table(self.runs)


def complete(
    store: Store,
    sweep_id: int,
    *,
    executor: Callable[[], Executor],
    threads: int | None = None,
    on_change: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], str] = lambda: "",
) -> Progress:
    """Train whatever a sweep of the store lacks, and return how it stands then. Failures are states of its runs.

    `executor` makes what trains them, with `threads` each, where anything is to be trained. `on_change` is called at
    every change, in this thread. Once `stop` says a reason, runs are interrupted with a checkpoint, as they are where
    `on_change` raises; `complete` called again continues from there. Raises StoreError, and what `executor` raises.
    """
    sweep = store.sweeps.get(sweep_id)
    assign(store, sweep)
    progress = Progress(sweep, store.sweeps.runs(sweep_id))
    progress = dataclasses.replace(progress, steps_before=progress.steps)
    on_change(progress)
    if progress.complete:
        return progress
    began, trainer = 0.0, executor()
    with leaving_none_live(trainer, stop):
        for runs, _ in train(trainer, partial(store.sweeps.runs, sweep_id), threads=threads, stop=stop):
            if not began and any(run.live for run in runs if run):
                began = time.monotonic()
            before, seconds = progress, time.monotonic() - began if began else 0.0
            progress = dataclasses.replace(progress, runs=runs, seconds=seconds)
            if runs != before.runs:
                on_change(progress)
    progress = dataclasses.replace(progress, runs=store.sweeps.runs(sweep_id))
    on_change(progress)
    return progress


def assign(store: Store, sweep: Sweep) -> None:
    """Give each cell that has no run an equal one that the store holds, or a new one."""
    missing = [place for place, run in enumerate(store.sweeps.runs(sweep.id)) if run is None]
    if not missing:
        return
    equal: dict[str, list[RunRecord]] = defaultdict(list)
    for run in store.sweeps.unmodified_runs():
        if run.schema.code == sweep.schema.code:
            equal[fingerprint(run.schema, run.config_text)].append(run)
    for place in missing:
        if alike := equal[fingerprint(sweep.schema, sweep.config_texts[place])]:
            store.sweeps.attach(sweep.id, place, min(alike, key=_preference).id)
        else:
            store.sweeps.queue(sweep.id, place, sweep.cells[place].config, experiment=sweep.experiment)


def _preference(run: RunRecord) -> tuple[int, int, int]:
    rank = _PREFERRED.index(run.status) if run.status in _PREFERRED else len(_PREFERRED)
    return rank, -run.step, run.id
