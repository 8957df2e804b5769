"""Requests for runs and sweeps, made by the command line and the app.

This module decides which requests a run's status allows, words the refusals, and removes the files of a deleted run.
The command line and the app only read input, ask for confirmation and show results. It imports neither torch nor a UI.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Protocol

from wdtui.problems import files, registry
from wdtui.runs import forks
from wdtui.runs.executor import queue_again
from wdtui.runs.sweeps import assign
from wdtui.schema.config import Config
from wdtui.schema.schema import Schema
from wdtui.schema.steering import check_steerable
from wdtui.store.processes import this_process
from wdtui.store.records import CLAIMABLE, FINISHED, RunRecord, Status, StoreError
from wdtui.store.store import RunBusyError, Store, why_not_deleted
from wdtui.store.sweeps import Sweep
from wdtui.studies.branches import Branching, in_words
from wdtui.studies.grid import Grid
from wdtui.support.errors import WdtuiError
from wdtui.support.text import number


class RefusedError(WdtuiError):
    """A request that the run's status does not allow; the message is one sentence."""


class Queue(Protocol):
    """What trains runs for this process, as `Scheduler` does; all methods return at once."""

    @property
    def at_work(self) -> Set[int]:
        """The runs that are queued or training here."""

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        """Queue runs, each with this number of CPU threads; None chooses it by the run's width."""

    def cancel(self, run_id: int) -> bool:
        """Take a run out of the queue, a moment later STOPPED; returns whether it was there."""

    def forget(self, run_ids: Iterable[int]) -> None:
        """Take deleted runs out of the queue."""


class NoQueue:
    """A queue for processes that do not train."""

    at_work: Set[int] = frozenset()

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        raise NotImplementedError("a request that trains needs a queue")

    def cancel(self, run_id: int) -> bool:
        return False

    def forget(self, run_ids: Iterable[int]) -> None:
        pass


class Service:
    """The requests to one store. Those that people trigger return a sentence to show, or the number of a new run.

    They raise RefusedError for what the status of a run does not allow, ConfigError for values that no run can have,
    and StoreError. Each reads its run anew, as what a face shows may be a moment old.
    """

    def __init__(self, store: Store, queue: Queue | None = None, *, device: str | None = None) -> None:
        """`device` is where runs are trained; None for where each was trained before, or else what the queue says."""
        self.store = store
        self._queue = queue or NoQueue()
        self._device = device
        self._asked: dict[int, RunRecord | None] = {}
        """The runs that this service has queued, each as it was before; None for new ones."""
        self.sweeping = threading.RLock()
        """Held while runs of a sweep are queued, so that a second request queues none twice and quitting waits."""

    # New runs

    def start(self, config: Config, *, experiment: str = "", name: str = "", threads: int | None = None) -> int:
        """Train a new run; returns its number."""
        return self._begin(self.store.add_run(config, experiment=experiment, name=name), threads=threads)

    def fork(
        self, run_id: int, at: int | None, changes: Mapping[str, Any], *, name: str = "", threads: int | None = None
    ) -> int:
        """Continue from a step of a run, by default its last, with changed values; returns the new run's number."""
        parent = self.check_forkable(run_id)
        fork_id = forks.fork(self.store, parent, parent.step if at is None else at, changes, name=name)
        return self._begin(fork_id, like=parent, threads=threads)

    def check_forkable(self, run_id: int) -> RunRecord:
        """The run; raises RefusedError, StoreError, or for one of another program ConfigError, where it has no fork."""
        run = self.check_trainable(run_id)
        forks.check_trained_here(self.store, run)
        if not run.step:
            raise RefusedError(f"Run {run_id} has no points yet: there is nothing to fork.")
        return run

    def where_it_leaves(self, fork_id: int) -> str:
        """A sentence that names the step at which a fork starts."""
        fork = self.store.run(fork_id)
        said = f"Run {fork_id} forks run {fork.parent} at step {number(fork.parent_step)}."
        return said + about_source(fork.schema)

    def replay(self, run_id: int, *, name: str = "", threads: int | None = None) -> int:
        """Train a run again from its beginning, with its steering; returns the new run's number."""
        run = self.check_trainable(run_id)
        return self._begin(forks.replay(self.store, run, name=name), like=run, threads=threads)

    def branch(self, run_ids: Iterable[int], branching: Branching, *, threads: int | None = None) -> list[int]:
        """Train the branches of an experiment's runs; returns their numbers. After an error there are none."""
        parents = self.store.these([*run_ids])
        planned = [(parent, branch) for parent in parents for branch in forks.branches(parent, branching)]
        numbers = forks.queue(self.store, planned)
        self._asked |= dict.fromkeys(numbers)
        self._queue.submit(*numbers, device=self._device, threads=threads)
        return numbers

    # Runs that are there

    def check_resumable(self, run_id: int) -> RunRecord:
        """The run. Raises RefusedError or StoreError if it cannot be continued."""
        run = self._sound(run_id)
        if run.status == Status.RUNNING:
            raise RefusedError(f"Run {run_id} is running: there is nothing to resume.")
        if run.status != Status.PAUSED:
            run = self.check_trainable(run_id)
        if run_id in self._queue.at_work:
            raise RefusedError(f"Run {run_id} is already queued.")
        if run.status in FINISHED and not self.store.curves(run_id).lost:
            raise RefusedError(f"Run {run_id} is {run.status}: there is nothing left to train.")
        return run

    def resume(self, run_id: int, *, threads: int | None = None) -> str:
        """Resume a paused run in its process, or train another run from its last checkpoint."""
        run = self.check_resumable(run_id)
        if run.status == Status.PAUSED:
            return self._send(run, "resume", f"Run {run_id} continues in the process that trains it.")
        queue_again(self.store, run)
        self._asked[run_id] = run
        self._train(run_id, like=run, threads=threads)
        if run.status in FINISHED:
            return f"Run {run_id} is trained again from before its first damaged point."
        said = f"Run {run_id} continues here." if run.step else f"Run {run_id} is queued here."
        return said + (about_source(run.schema) if run.step else "")

    def pause(self, run_id: int) -> str:
        run = self._sound(run_id)
        if run.status != Status.RUNNING:
            raise RefusedError(f"Run {run_id} is {run.status}: only a running run can be paused.")
        return self._send(run, "pause", f"Pausing run {run_id} …")

    def checkpoint(self, run_id: int) -> str:
        run = self._sound(run_id)
        if not run.live:
            raise RefusedError(f"Run {run_id} is {run.status}: only a live run can write a checkpoint.")
        return self._send(run, "checkpoint", f"Run {run_id} writes a checkpoint …")

    def stop(self, run_id: int) -> str:
        """Stop a live run, with a checkpoint unless a script owns it, or remove a queued run from its queue."""
        run = self.store.run(run_id)
        if self._queue.cancel(run_id) or self._settled(run):
            return f"Run {run_id} will not start."
        run = self.store.run(run_id)  # it may have begun just now
        if run.damaged:
            raise RefusedError(run.reason)
        if not run.live:
            raise RefusedError(f"Run {run_id} is {run.status}: only a live or queued run can be stopped.")
        how = "" if run.schema.watched else " with a checkpoint"
        return self._send(run, "stop", f"Stopping run {run_id}{how} …")

    def check_steerable(self, run_id: int) -> RunRecord:
        """The run; raises RefusedError or StoreError where it cannot be steered."""
        run = self._sound(run_id)
        if not run.live:
            raise RefusedError(f"Run {run_id} is {run.status}: only a live run can be steered.")
        return run

    def steer(self, run_id: int, changes: Mapping[str, Any]) -> str:
        """Change steerable fields of a live run from its next epoch; changes have the format of `forks.fork`."""
        run = self.check_steerable(run_id)
        check_steerable(run.schema, changes)
        noted = f"Run {run_id} is paused. When it resumes, this takes effect: {in_words(run.schema, changes)}."
        return self._send(run, "steer", noted if run.status == Status.PAUSED else f"Steering run {run_id} …", changes)

    def check_deletable(self, run_ids: Iterable[int]) -> list[RunRecord]:
        """The runs, where all can be deleted; for a face to know before it asks. Raises RefusedError for a live one."""
        runs = self.store.these([*dict.fromkeys(run_ids)])
        for run in runs:
            if why := why_not_deleted(run):
                raise RefusedError(why)
        return runs

    def delete(self, run_ids: Iterable[int]) -> str:
        """Delete runs that are not live, all or none, with points, events, commands, checkpoints and logs.

        Rescue files stay: they are of runs that another store has lost, whose numbers mean nothing here.
        """
        runs = self.check_deletable(run_ids)
        self.store.delete([run.id for run in runs])
        self._queue.forget([run.id for run in runs])
        return f"Run {runs[0].id} is deleted." if len(runs) == 1 else f"{len(runs)} runs are deleted."

    def rename(self, run_id: int, name: str) -> str:
        self.store.rename(self._whole(run_id).id, name.strip())
        return ""

    def annotate(self, run_id: int, note: str) -> str:
        self.store.set_note(self._whole(run_id).id, note.strip())
        return ""

    # Sweeps

    def start_sweep(self, grid: Grid, *, experiment: str = "", name: str = "", threads: int | None = None) -> Sweep:
        """Train a new sweep; takes seconds for a thousand cells, as does `resume_sweep`."""
        device = self._device or "auto"
        with self.sweeping:
            sweep_id = self.store.sweeps.add(grid, experiment=experiment, name=name, device=device, threads=threads)
            sweep = self.store.sweeps.get(sweep_id)
            self.resume_sweep(sweep)
        return sweep

    def resume_sweep(self, sweep: Sweep) -> str:
        """Train the runs of a sweep that are missing, interrupted, stopped or failed."""
        with self.sweeping:
            assign(self.store, sweep)
            at_work = self._queue.at_work
            waiting = [run for run in self.store.sweeps.runs(sweep.id) if run and run.id not in at_work]
            waiting = [run for run in waiting if run.status in CLAIMABLE]
            device = self._device or sweep.device
            self._queue.submit(*(run.id for run in waiting), device=device, threads=sweep.threads)
        return f"{len(waiting)} runs of sweep {sweep.label} are queued here."

    def stop_sweep(self, sweep: Sweep) -> str:
        """Stop the live runs of a sweep with checkpoints, and remove its queued runs from the queue."""
        at_work = self._queue.at_work
        runs = [
            run
            for run in self.store.sweeps.runs(sweep.id)
            if run and (run.live or run.status == Status.QUEUED or run.id in at_work)
        ]
        if not runs:
            raise RefusedError(f"Sweep {sweep.label} has no live or queued runs: there is nothing to stop.")
        for run in sorted(runs, key=lambda run: run.live):  # those that wait first, lest one takes the room
            with contextlib.suppress(RefusedError):  # it has ended by now
                self.stop(run.id)
        return f"Stopping {len(runs)} runs of sweep {sweep.label} …"

    # What all of them need

    @contextlib.contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Leave the store as it was where an error ends the block before what was asked for in it has begun.

        New runs are deleted; runs that were to be continued get their former status back.
        """
        try:
            yield
        except BaseException:
            for run_id, before in self._asked.items():
                with contextlib.suppress(StoreError):
                    run = self.store.run(run_id)
                    if run.status == Status.QUEUED and run.owner == this_process():
                        if before:
                            self.store.transition(run_id, before.status, before.reason)
                        else:
                            self.store.delete([run_id])
            raise

    def _begin(self, run_id: int, *, like: RunRecord | None = None, threads: int | None) -> int:
        self._asked[run_id] = None
        self._train(run_id, like=like, threads=threads)
        return run_id

    def _train(self, run_id: int, *, like: RunRecord | None, threads: int | None) -> None:
        """As another run was trained, unless asked otherwise: other devices and threads may round otherwise."""
        device = self._device or (like.device if like else "")
        self._queue.submit(run_id, device=device or None, threads=threads or (like.threads if like else None))

    def _send(self, run: RunRecord, kind: str, said: str, data: Mapping[str, Any] | None = None) -> str:
        self.store.send(run.id, kind, data)
        return f"{said} {run.reason}" if run.unconfirmed else said

    def _settled(self, run: RunRecord) -> bool:
        """Stop a run that waits elsewhere; False where it does not wait, or has begun meanwhile."""
        try:
            if waits := run.status == Status.QUEUED:
                self.store.transition(run.id, Status.STOPPED, "Stopped before it started.")
        except RunBusyError:
            return False
        return waits

    def _whole(self, run_id: int) -> RunRecord:
        """The run; raises RefusedError where its row is damaged."""
        run = self.store.run(run_id)
        if run.damaged:
            raise RefusedError(run.reason)
        return run

    def check_trainable(self, run_id: int) -> RunRecord:
        """The run; raises RefusedError also where only its own script can train it."""
        run = self._sound(run_id)
        if run.schema.watched:
            raise RefusedError(f"Run {run_id} was trained by a script that wdtui watched. Start that script again.")
        return run

    def _sound(self, run_id: int) -> RunRecord:
        """The run; raises RefusedError where its row is damaged, StoreError where its config cannot be read."""
        run = self._whole(run_id)
        _ = run.config
        return run


def about_source(schema: Schema) -> str:
    """What is to be said where a run of a problem's file goes on or is repeated: whether the file has changed, and
    whether the run will give the same bits. Empty where nothing has changed and that is known."""
    source = schema.source
    if source is None:
        return ""
    said = f" {source.shown} has changed since. The run keeps to its own copy." if source.changed else ""
    exact = registry.is_built_in(schema) or files.known_exact(source)  # the tests check those that come with wdtui
    if exact is None:
        said += f" Whether it gives the same bits is not known: `wdtui check {source.shown}` finds out."
    elif not exact:
        said += f" It will not give the same bits: `wdtui check {source.shown}` says why."
    return said
