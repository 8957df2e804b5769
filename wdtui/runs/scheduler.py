"""The scheduler: many runs over the cores and devices of this machine. No UI, and torch only in threads of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Literal

from wdtui.runs.executor import interrupt_waiting, queue_again
from wdtui.runs.memory import Budget
from wdtui.runs.placement import (
    batch_key,
    choice_of_devices,
    group_size,
    has_room,
    machine_cores,
    placement,
    suiting_threads,
)
from wdtui.runs.trainer import Trainer, reap, start_process
from wdtui.runs.worker import ChildDiedError, ChildWorker, KilledTwiceError, Worker, sentence
from wdtui.store.store import RunBusyError, RunRecord, Status, Store, StoreError


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """What a person should hear about a run, in one sentence; `status` is the run's, None where it cannot be read.

    "ended" for a run that was trained as far as it was to be, "failed" for one that broke, was killed or could not
    begin, "refused" for one that this scheduler was not free to train.
    """

    run_id: int
    kind: Literal["ended", "failed", "refused"]
    text: str
    status: Status | None


@dataclasses.dataclass(eq=False, slots=True)
class _Job:
    """A queued run: what was asked for, and once `devices` are known what it needs."""

    run_id: int
    device: str
    threads: int | None
    devices: tuple[str, ...] = ()
    needs: int = 1
    width: int = 0
    bytes: int = 0
    """The memory that it takes, about."""
    shape: Hashable = None
    """What it has in common with runs that it may be trained beside; None for one that is trained alone."""
    again: bool = False
    """Whether the system has killed the process that trained it; it is tried once more while nothing else is live."""


class Scheduler:
    """Queues runs of a store and trains each when there is room for it, in order among those for the same device.

    Threads may share a Scheduler. All methods but `wait` and `detach` return at once: store, torch and processes are
    left to one dispatcher thread and a thread per live run, all daemons. Before the store is closed or the process
    exits, call `interrupt` and `wait`, or `detach`. Where it exits without, runs in threads are interrupted, with a
    checkpoint if the store is still open, and those in processes go on. A paused run keeps its place.
    """

    def __init__(
        self, store: Store, *, device: str = "auto", slots: int | None = None, threads: int | None = None
    ) -> None:
        """`device` and `threads` are for runs submitted without."""
        self._store = store
        self.device = device
        self._threads = threads
        self._changed = threading.Condition()
        """Guards all that follows. Nobody who holds it waits for the store, torch or the end of a process."""
        self._slots = slots
        self._queued: dict[int, _Job] = {}
        self._live: dict[int, Worker] = {}
        self._again: set[int] = set()
        """The live run that is tried once more, if any, beside which nothing starts."""
        self._memory = Budget()
        self._idle: list[Trainer] = []
        """Processes whose run has just ended: they train the next that are to be trained in processes, or end."""
        self._errands: deque[Callable[[], None]] = deque()
        """What the dispatcher is to do, in order; the first is under way."""
        self._revision = 0
        """Of the store when it was last looked at; only the dispatcher knows it."""
        self._looking = False
        """Whether the dispatcher is reading the store, which is not to be closed meanwhile."""
        self._notices: list[Notice] = []
        self._leaving = False
        self._interruption = ""
        """Why all runs are to stop, once they are."""
        threading.Thread(target=self._dispatch, name="scheduler", daemon=True).start()

    @property
    def slots(self) -> int | None:
        """How many runs may be live at once; None for as many as suit the devices. Fewer than are live stops none."""
        return self._slots

    @slots.setter
    def slots(self, slots: int | None) -> None:
        if slots is not None and slots < 1:
            raise ValueError(f"slots {slots}: give at least 1, or None for the default of this machine")
        with self._changed:
            self._slots = slots
            self._changed.notify_all()

    @property
    def queue(self) -> tuple[int, ...]:
        """The runs that wait, in order."""
        with self._changed:
            return tuple(self._queued)

    @property
    def live(self) -> tuple[int, ...]:
        """The runs that this scheduler trains, in the order they were started."""
        with self._changed:
            return tuple(self._live)

    @property
    def at_work(self) -> set[int]:
        """The runs that wait, and those that are trained."""
        with self._changed:
            return {*self._queued, *self._live}

    def notices(self) -> list[Notice]:
        """What happened since this was last asked."""
        with self._changed:
            taken, self._notices = self._notices, []
            return taken

    def warm_up(self) -> None:
        """Import torch now, so that the first run starts at once."""
        self._send(self._import_torch)

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        """Queue runs to start or continue; notices tell whether they can be.

        None starts before all are queued, so that those of one shape may be trained side by side.
        """
        with self._changed:
            for run_id in run_ids:
                if run_id in self._queued:
                    self._notices.append(Notice(run_id, "refused", f"Run {run_id} is in the queue.", Status.QUEUED))
                    continue
                job = self._queued[run_id] = _Job(run_id, device or self.device, threads or self._threads)
                self._send(partial(self._admit, job))

    def cancel(self, run_id: int) -> bool:
        """Take a run out of the queue, a moment later STOPPED; returns whether it was there."""
        with self._changed:
            if self._queued.pop(run_id, None) is None:
                return False
            self._send(partial(self._mark_cancelled, run_id))
            return True

    def forget(self, run_ids: Iterable[int]) -> None:
        """Take deleted runs out of the queue."""
        with self._changed:
            for run_id in run_ids:
                self._queued.pop(run_id, None)

    def interrupt(self, reason: str) -> None:
        """Stop all live runs with a checkpoint and start no more, permanently; runs in `queue` are interrupted too.

        `queue` stays as it is.
        """
        with self._changed:
            self._leaving, self._interruption = True, reason
            for worker in self._live.values():
                worker.interrupt(reason)
            self._send(partial(self._mark_interrupted, tuple(self._queued)))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, for seconds, until no run is live; True says that none is, and the store is the caller's alone."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._live or self._errands or self._looking), timeout)

    def detach(self) -> tuple[int, ...]:
        """Have live and queued runs go on without this process, which may exit then; returns those that do.

        Runs in processes are left alone. Runs in threads stop with a checkpoint, from which a process goes on; those
        that were paused stay interrupted. Queued runs follow one after the other, once one of the live ones has ended.
        Takes as long as a step and a checkpoint, usually some tenths of a second; the new processes then take two
        seconds to claim their runs. The scheduler starts nothing any more.
        """
        with self._changed:
            self._leaving = True
            self._changed.wait_for(lambda: not self._looking)
            queued, self._queued = list(self._queued.values()), {}
            workers = list(dict.fromkeys(self._live.values()))
        children = [worker for worker in workers if isinstance(worker, ChildWorker)]
        interrupted = self._interrupt_threads([worker for worker in workers if worker not in children])
        for child in children:
            child.launched.wait()
        pids = {run_id: child.pid for child in children if child.pid for run_id in child.run_ids}
        for run_ids, worker in interrupted:
            pids |= self._start_detached([run_ids], worker.device, worker.threads, ())
        return (*pids, *self._detach_queue(queued, list(pids.values())))

    # In the dispatcher thread

    def _dispatch(self) -> None:
        while True:
            self._drop_stopped()
            with self._changed:
                if not self._errands:
                    self._start_runs()
                if not self._errands:
                    self._changed.wait()
                    continue
            self._errands[0]()
            with self._changed:
                self._errands.popleft()
                self._changed.notify_all()

    def _drop_stopped(self) -> None:
        """Let go of queued runs that another process has stopped since they were admitted."""
        with self._changed:
            admitted = {} if self._leaving else {job.run_id: job for job in self._queued.values() if job.devices}
            self._looking = bool(admitted)
        changed: list[RunRecord] = []
        if admitted:
            with contextlib.suppress(StoreError):  # whoever trains a run will say so
                changed = self._store.runs_since(self._revision)
        with self._changed:
            self._looking = False
            self._changed.notify_all()
            for run in changed:
                self._revision = max(self._revision, run.revision)
                if run.status == Status.STOPPED and self._queued.get(run.id, False) is admitted.get(run.id):
                    del self._queued[run.id]
                    self._notices.append(Notice(run.id, "ended", run.reason, run.status))

    def _start_runs(self) -> None:
        """Start what there is room for; as no errands are left, all queued runs are admitted."""
        full: set[tuple[str, ...]] = set()
        for job in [] if self._leaving else list(self._queued.values()):
            if job.run_id in self._live or job.devices in full:  # stopped and resumed, it may still be ending
                continue
            if self._live and (job.again or self._again or not self._memory.has_room(job.bytes)):
                continue
            live = [(worker.device, worker.threads or 1) for worker in dict.fromkeys(self._live.values())]
            device = min(job.devices, key=[device for device, _ in live].count)
            if has_room(device, job.needs, live, slots=self._slots):
                try:
                    self._start(job, device)
                except RuntimeError as error:  # no thread is to be had: nobody should wait for this run
                    self._send(partial(self._refuse, job, error))
            else:
                full.add(job.devices)
        while self._idle:
            self._idle.pop().dismiss()

    def _start(self, job: _Job, device: str) -> None:
        kind: Callable[..., Worker] = Worker
        if placement(device) == "process":
            kind = partial(ChildWorker, trainer=self._idle.pop() if self._idle else None)
        beside = self._batch_of(job, device)
        worker = kind(self._store, job.run_id, beside=beside, device=device, threads=job.needs, on_end=self._finish)
        worker.start()
        self._memory.begin(worker.run_ids, job.bytes)
        self._again = {job.run_id} if job.again else set()
        for run_id in worker.run_ids:
            del self._queued[run_id]
            self._live[run_id] = worker

    def _batch_of(self, job: _Job, device: str) -> list[int]:
        """Queued runs to train beside one, so many that each free place gets a like share of those there are."""
        if job.shape is None:
            return []
        alike = [
            other.run_id
            for other in self._queued.values()
            if other.shape == job.shape and other.run_id != job.run_id and other.run_id not in self._live
        ]
        places = (self._slots or machine_cores()) if device == "cpu" else len(job.devices)
        free = max(1, places - len(dict.fromkeys(self._live.values())))
        return alike[: group_size(job.width, device, len(alike) + 1, free) - 1]

    def _admit(self, job: _Job) -> None:
        """Determine what a run needs, and show a run that is continued as queued."""
        if self._leaving:
            self._mark_interrupted((job.run_id,))
            return
        try:
            self._revision = self._revision or self._store.revision()
            record = self._store.run(job.run_id)
            config = record.config
            devices = choice_of_devices(job.device)
            needs = job.threads or suiting_threads(config, devices[0])
            if job.again:
                reason = f"The system killed its process after step {record.step:,}. It is tried once more, alone."
                self._store.transition(job.run_id, Status.QUEUED, reason)
                claim = self._store.run(job.run_id).claim
                self._store.add_event(claim, record.checkpoint_step or 0, "killed", {"reason": reason})
            else:
                queue_again(self._store, record)
        except Exception as error:
            self._refuse(job, error)
        else:
            job.width, job.needs, job.devices = config.layer_width, needs, devices
            job.bytes = config.training_bytes() if devices[0] == "cpu" else 0
            shape = None if job.again else batch_key(config, devices[0], record.plan)
            job.shape = (shape, devices, needs) if shape is not None else None

    def _refuse(self, job: _Job, error: Exception) -> None:
        notice = self._notice(job.run_id, error, "refused" if isinstance(error, StoreError) else "failed")
        with self._changed:
            if self._queued.get(job.run_id) is job:
                del self._queued[job.run_id]
            self._notices.append(notice)

    def _mark_cancelled(self, run_id: int) -> None:
        reason = f"Removed from the queue. `wdtui resume {run_id}` trains it."
        try:
            self._store.transition(run_id, Status.STOPPED, reason)
        except StoreError as error:
            self._tell(Notice(run_id, "failed", str(error), None))

    def _mark_interrupted(self, run_ids: tuple[int, ...]) -> None:
        if self._interruption:
            interrupt_waiting(self._store, run_ids, self._interruption)

    def _import_torch(self) -> None:
        if not self._leaving:
            with contextlib.suppress(ImportError, OSError):  # the first run that needs it says so
                import wdtui.runs.runner  # noqa: F401

    # In the thread of a run

    def _finish(self, worker: Worker) -> None:
        if not worker.error:  # its process may have been told to stop before it had claimed its runs
            self._mark_interrupted(worker.run_ids)
        again, error = () if self._leaving else worker.killed, worker.error
        if not self._again.isdisjoint(again):
            again, error = (), KilledTwiceError(worker.run_id)
        notices = [self._notice(run_id, error, "failed") for run_id in worker.run_ids if run_id not in again]
        with self._changed:
            for run_id in worker.run_ids:
                del self._live[run_id]
            self._memory.end(worker.run_ids)
            self._again.difference_update(worker.run_ids)
            for run_id in again:
                job = self._queued[run_id] = _Job(run_id, worker.device, worker.threads, again=True)
                self._send(partial(self._admit, job))
            if isinstance(worker, ChildWorker) and worker.trainer:
                self._idle.append(worker.trainer)
            self._notices += notices
            self._changed.notify_all()

    # In any thread

    def _notice(self, run_id: int, error: Exception | None, kind: Literal["refused", "failed"]) -> Notice:
        """How a run stands that is not queued or live here any more: FAILED from now on where it could not begin."""
        try:
            if error and not isinstance(error, StoreError | ChildDiedError):
                self._store.transition(run_id, Status.FAILED, sentence(error))
            record = self._store.run(run_id)
        except StoreError as store_error:
            return Notice(run_id, kind, sentence(error or store_error), None)
        if error:
            return Notice(
                run_id, "refused" if isinstance(error, RunBusyError) else kind, sentence(error), record.status
            )
        text = record.reason or f"Run {run_id} is {record.status}."
        return Notice(run_id, "failed" if record.status == Status.FAILED else "ended", text, record.status)

    def _tell(self, notice: Notice) -> None:
        with self._changed:
            self._notices.append(notice)

    def _send(self, errand: Callable[[], None]) -> None:
        with self._changed:
            self._errands.append(errand)
            self._changed.notify_all()

    # In the thread that lets go

    def _interrupt_threads(self, workers: list[Worker]) -> list[tuple[tuple[int, ...], Worker]]:
        """Stop runs with a checkpoint and wait until they have; returns those that are to go on, with their worker."""
        paused = {run_id for worker in workers for run_id in worker.run_ids if self._status(run_id) == Status.PAUSED}
        for worker in workers:
            worker.interrupt("Moved to another process")
        with self._changed:
            self._changed.wait_for(
                lambda: not self._errands and not any(worker in self._live.values() for worker in workers)
            )
        going = (
            (
                tuple(run for run in worker.run_ids if run not in paused and self._status(run) == Status.INTERRUPTED),
                worker,
            )
            for worker in workers
        )
        return [(run_ids, worker) for run_ids, worker in going if run_ids]

    def _status(self, run_id: int) -> Status:
        return self._store.run(run_id).status

    def _detach_queue(self, jobs: list[_Job], after: list[int]) -> list[int]:
        """One process for all, or one after the other where not all are for the same device and threads."""
        places: dict[tuple[str, int | None], dict[Hashable, list[int]]] = {}
        for job in jobs:
            groups = places.setdefault((job.device, job.threads), {})
            groups.setdefault(job.shape or job.run_id, []).append(job.run_id)
        handed_over: list[int] = []
        for (device, threads), groups in places.items():
            pids = self._start_detached(list(map(tuple, groups.values())), device, threads, after)
            after = list(pids.values()) or after
            handed_over += pids
        return handed_over

    def _start_detached(
        self, groups: list[tuple[int, ...]], device: str, threads: int | None, after: Sequence[int]
    ) -> dict[int, int]:
        """The process that goes on with each run, or none and a notice where none can be started."""
        try:
            process = start_process(self._store.folder, groups, device=device, threads=threads, after=after)
        except OSError as error:
            self._tell(Notice(groups[0][0], "failed", f"No process could be started to continue: {error}", None))
            return {}
        reap(process)
        with contextlib.suppress(StoreError):  # whoever trains a run will say so
            self._store.hand_queue([run_id for run_ids in groups for run_id in run_ids], process.pid)
        return {run_id: process.pid for run_ids in groups for run_id in run_ids}
