"""What can be done to runs, wherever they train: rows and commands in the store, and a scheduler for those of this app.

No Textual here. Methods that people trigger return a sentence to show, or raise StoreError.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wdtui.branches import Branching
from wdtui.config import RunConfig
from wdtui.grid import Grid
from wdtui.runs import forks
from wdtui.runs.records import CLAIMABLE, FINISHED, RunRecord, Status
from wdtui.runs.store import Store
from wdtui.runs.sweep_store import Sweep
from wdtui.runs.sweeps import assign
from wdtui.tui.figures import steering_text

if TYPE_CHECKING:
    from wdtui.runs.scheduler import Scheduler


class Controls:
    """The actions of the workbench on one store."""

    def __init__(self, store: Store, scheduler: Scheduler) -> None:
        self.store = store
        self.scheduler = scheduler
        self._going_on = threading.Lock()
        """Held while runs of a sweep are queued, so that a second key press queues none twice."""

    @property
    def busy(self) -> bool:
        """Whether runs of this app are training or waiting."""
        return bool(self.scheduler.live or self.scheduler.queue or self._going_on.locked())

    def start(self, config: RunConfig, *, experiment: str = "", name: str = "", threads: int | None = None) -> int:
        """Queue a new run here; returns its number."""
        run_id = self.store.add_run(config, experiment=experiment, name=name)
        self.scheduler.submit(run_id, threads=threads)
        return run_id

    def fork(self, parent: RunRecord, at: int, changes: dict[str, Any]) -> int:
        """Queue a fork of a run here; returns its number. Raises ConfigError too."""
        run_id = forks.fork(self.store, parent, at, changes)
        self.scheduler.submit(run_id, threads=parent.threads)
        return run_id

    def branch(self, run_ids: Sequence[int], branching: Branching) -> list[int]:
        """Queue the branches of an experiment's runs here; returns their numbers."""
        started = [
            number for run_id in run_ids for number in forks.branch(self.store, self.store.run(run_id), branching)
        ]
        self.scheduler.submit(*started)
        return started

    def start_sweep(self, grid: Grid, *, experiment: str = "", name: str = "", threads: int | None = None) -> Sweep:
        """Queue here what a new sweep lacks; takes seconds for a thousand cells, as does `go_on_with`."""
        sweep_id = self.store.sweeps.add(
            grid, experiment=experiment, name=name, device=self.scheduler.device, threads=threads
        )
        sweep = self.store.sweeps.get(sweep_id)
        self.go_on_with(sweep)
        return sweep

    def go_on_with(self, sweep: Sweep) -> str:
        """Queue here whatever of a sweep is missing, interrupted, stopped or failed: on this app's device."""
        with self._going_on:
            assign(self.store, sweep)
            at_work = {*self.scheduler.queue, *self.scheduler.live}
            waiting = [run for run in self.store.sweeps.runs(sweep.id) if run and run.id not in at_work]
            waiting = [run for run in waiting if run.status in CLAIMABLE]
            self.scheduler.submit(*(run.id for run in waiting), threads=sweep.threads)
        return f"{len(waiting)} runs of sweep {sweep.label} are queued here."

    def stop_sweep(self, sweep: Sweep) -> str:
        """Stop the live runs of a sweep with a checkpoint, and begin none of those that wait."""
        queue = set(self.scheduler.queue)
        runs = [
            run
            for run in self.store.sweeps.runs(sweep.id)
            if run and (run.live or run.status == Status.QUEUED or run.id in queue)
        ]
        for run in sorted(runs, key=lambda run: run.live):  # those that wait first, lest one takes the room
            if not self.scheduler.cancel(run.id):
                self.stop(run)
        return f"Stopping {len(runs)} runs of sweep {sweep.label} …"

    def pause_or_resume(self, run: RunRecord) -> str:
        match run.status:
            case Status.RUNNING:
                self.store.send(run.id, "pause")
                return f"Pausing run {run.id} …"
            case Status.PAUSED:
                self.store.send(run.id, "resume")
                return f"Run {run.id} goes on."
            case status if status in CLAIMABLE and run.id not in self.scheduler.queue:
                self.scheduler.submit(run.id, threads=run.threads)
                return f"Run {run.id} goes on here." if run.step else f"Run {run.id} is queued here."
            case Status.QUEUED:
                return f"Run {run.id} waits for its turn."
            case status if status in FINISHED and self.store.curves(run.id).lost:
                self.scheduler.submit(run.id, threads=run.threads)
                return f"Run {run.id} is trained again from before its first damaged point."
            case _:
                return f"Run {run.id} is {run.status}: there is nothing left to train."

    def stop(self, run: RunRecord) -> str:
        if run.live:
            self.store.send(run.id, "stop")
            return f"Stopping run {run.id} with a checkpoint …"
        if run.status == Status.QUEUED:
            if not self.scheduler.cancel(run.id):
                self.store.settle(run.id, Status.STOPPED, "Stopped before it began.")
            return f"Run {run.id} will not begin."
        return f"Run {run.id} is {run.status} already."

    def steer(self, run: RunRecord, values: dict[str, Any]) -> str:
        self.store.send(run.id, "steer", values)
        if run.status != Status.PAUSED:
            return f"Steering run {run.id} …"
        changes = [to if isinstance(to, tuple) else (to, 0) for to in values.values()]
        noted = [
            steering_text({"field": name, "new": new, "epochs": epochs})
            for name, (new, epochs) in zip(values, changes, strict=True)
        ]
        return f"Run {run.id} is paused. Noted for when it goes on: {', '.join(noted)}."

    def in_force_next(self, run: RunRecord) -> dict[str, Any]:
        """The values of all fields at a live run's next point, with what it is asked for and has not taken yet."""
        next_point = run.step + run.config.log_every * run.config.steps_per_epoch  # by then all that it took counts
        values = forks.in_force(run.config, run.plan, next_point)
        for command in self.store.commands(run.id):
            if command.kind == "steer":
                values |= {name: to[0] if isinstance(to, list) else to for name, to in command.data.items()}
        return values

    def delete(self, runs: Sequence[RunRecord]) -> str:
        """Delete runs that are not live."""
        for run in runs:
            self.scheduler.cancel(run.id)
        self.store.delete([run.id for run in runs])
        return f"Run {runs[0].id} is deleted." if len(runs) == 1 else f"{len(runs)} runs are deleted."

    def rename(self, run: RunRecord, name: str) -> str:
        self.store.rename(run.id, name.strip())
        return ""

    def annotate(self, run: RunRecord, note: str) -> str:
        self.store.set_note(run.id, note.strip())
        return ""

    def set_slots(self, text: str) -> str:
        """Let so many runs train at once; with an empty text as many as suit the machine."""
        text = text.strip()
        if text and not (text.isascii() and text.isdigit() and int(text) > 0):
            return f"{text} is no number of runs: give 1 or more, or nothing for as many as suit this machine."
        self.scheduler.slots = int(text) if text else None
        return f"{text or 'As many as suit this machine'} at once."
