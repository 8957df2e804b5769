"""The scheduler distributes runs over the cores and devices of this machine. It has no UI and trains in processes."""

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
from wdtui.runs.placement import batch_key, choice_of_devices, group_size, has_room, machine_cores, suiting_threads
from wdtui.runs.trainer import Trainer, reap, start_process
from wdtui.runs.worker import ChildDiedError, ChildWorker, KilledTwiceError, sentence
from wdtui.store.store import RunBusyError, RunRecord, Status, Store, StoreError


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """One sentence about a run for the user; `status` is the run's, or None where it cannot be read.

    The kind is "ended" for a run that trained as far as it should, "failed" for one that broke, was killed or could
    not begin, and "refused" for one that this scheduler may not train.
    """

    run_id: int
    kind: Literal["ended", "failed", "refused"]
    text: str
    status: Status | None


@dataclasses.dataclass(eq=False, slots=True)
class _Job:
    """A queued run: what was requested and, once it is admitted, the devices it may use and what it needs."""

    run_id: int
    device: str
    threads: int | None
    devices: tuple[str, ...] = ()
    needs: int = 1
    width: int = 0
    bytes: int = 0
    """About how much of the machine's memory it takes."""
    shape: Hashable = None
    """What the runs of its batch have in common; None for a run that trains alone."""
    again: bool = False
    """Whether the system killed the process that trained it. It is tried once more, while nothing else is live."""


class Scheduler:
    """Queues runs of a store and trains each when there is room for it, in order among those for the same device.

    Each run or batch trains in a process of its own, and each GPU has one process at a time.

    Threads may share a Scheduler. All methods except `wait` and `detach` return at once: one dispatcher thread and one
    thread per process, all daemons, use the store, PyTorch and the processes. Before the store is closed, call
    `interrupt` and `wait`, or `detach`. If this process exits without them, the live runs go on. A paused run keeps its
    place.
    """

    def __init__(
        self,
        store: Store,
        *,
        device: str = "auto",
        slots: int | None = None,
        threads: int | None = None,
        background: bool = False,
    ) -> None:
        """`device` and `threads` apply to runs that are submitted without them.

        In the `background` the processes give way to other programs, such as the app that started them.
        """
        self._store = store
        self.device = device
        self._threads = threads
        self._background = background
        self._changed = threading.Condition()
        """Guards everything below. No thread that holds it waits for the store, PyTorch or a process."""
        self._slots = slots
        self._queued: dict[int, _Job] = {}
        self._live: dict[int, ChildWorker] = {}
        self._again: set[int] = set()
        """The live run that is tried once more, if there is one. Nothing starts beside it."""
        self._memory = Budget()
        self._idle: list[Trainer] = []
        """Processes whose run has just ended: each trains the next run for its device, or ends."""
        self._errands: deque[Callable[[], None]] = deque()
        """What the dispatcher will do, in order. It does the first one now."""
        self._revision = 0
        """The store's revision when the dispatcher last read it. Only the dispatcher uses it."""
        self._looking = False
        """Whether the dispatcher reads the store, which must not be closed meanwhile."""
        self._notices: list[Notice] = []
        self._leaving = False
        self._interruption = ""
        """Why all runs must stop; empty until they must."""
        threading.Thread(target=self._dispatch, name="scheduler", daemon=True).start()

    @property
    def slots(self) -> int | None:
        """How many processes may train at once; None for as many as suit the devices. A lower number stops none."""
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
        """The runs that this scheduler trains, in the order in which they started."""
        with self._changed:
            return tuple(self._live)

    @property
    def at_work(self) -> set[int]:
        """The runs that wait and the runs that train."""
        with self._changed:
            return {*self._queued, *self._live}

    def notices(self) -> list[Notice]:
        """What happened since the last call."""
        with self._changed:
            taken, self._notices = self._notices, []
            return taken

    def warm_up(self) -> None:
        """Import PyTorch now, so that the first run starts at once."""
        self._send(self._import_torch)

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        """Queue runs to start or continue. Notices report those that cannot.

        No run starts before all of them are queued, so that runs of one shape can train as a batch.
        """
        with self._changed:
            for run_id in run_ids:
                if run_id in self._queued:
                    self._notices.append(Notice(run_id, "refused", f"Run {run_id} is in the queue.", Status.QUEUED))
                    continue
                job = self._queued[run_id] = _Job(run_id, device or self.device, threads or self._threads)
                self._send(partial(self._admit, job))

    def cancel(self, run_id: int) -> bool:
        """Remove a run from the queue, and soon mark it as STOPPED. Returns whether it was in the queue."""
        with self._changed:
            if self._queued.pop(run_id, None) is None:
                return False
            self._send(partial(self._mark_cancelled, run_id))
            return True

    def forget(self, run_ids: Iterable[int]) -> None:
        """Remove deleted runs from the queue."""
        with self._changed:
            for run_id in run_ids:
                self._queued.pop(run_id, None)

    def interrupt(self, reason: str) -> None:
        """Stop all live runs with a checkpoint and start no more, permanently. Queued runs are interrupted too.

        `queue` does not change.
        """
        with self._changed:
            self._leaving, self._interruption = True, reason
            for worker in self._live.values():
                worker.interrupt(reason)
            self._send(partial(self._mark_interrupted, tuple(self._queued)))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds until no run is live. True means that no thread here uses the store any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._live or self._errands or self._looking), timeout)

    def detach(self) -> tuple[int, ...]:
        """Let live and queued runs go on without this process, which may then exit. Returns those that do.

        Live runs, also paused ones, stay in their processes. Queued runs start one after the other in another process,
        once one of the live ones has ended. The scheduler starts nothing any more.
        """
        with self._changed:
            self._leaving = True
            self._changed.wait_for(lambda: not self._looking)
            queued, self._queued = list(self._queued.values()), {}
            workers = list(dict.fromkeys(self._live.values()))
        for worker in workers:
            worker.launched.wait()
        pids = {run_id: worker.pid for worker in workers if worker.pid for run_id in worker.run_ids}
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
        """Drop queued runs that another process has stopped since they were admitted."""
        with self._changed:
            admitted = {} if self._leaving else {job.run_id: job for job in self._queued.values() if job.devices}
            self._looking = bool(admitted)
        changed: list[RunRecord] = []
        if admitted:
            with contextlib.suppress(StoreError):  # the process that trains a run reports it
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
        """Start the runs that there is room for. All queued runs are admitted, as no errands are left."""
        full: set[tuple[str, ...]] = set()
        for job in [] if self._leaving else list(self._queued.values()):
            if job.run_id in self._live or job.devices in full:  # it was stopped and resumed, and still ends
                continue
            if self._live and (job.again or self._again or not self._memory.has_room(job.bytes)):
                continue
            live = [(worker.device, worker.threads or 1) for worker in dict.fromkeys(self._live.values())]
            device = min(job.devices, key=[device for device, _ in live].count)
            if not has_room(device, job.needs, live, slots=self._slots):
                full.add(job.devices)
                continue
            try:
                self._start(job, device)
            except Exception as error:  # such as no thread for it; without a notice the run would wait forever
                self._send(partial(self._refuse, job, error))
        while self._idle:
            self._idle.pop().dismiss()

    def _start(self, job: _Job, device: str) -> None:
        trainer = next((idle for idle in self._idle if idle.device == device), None)
        if trainer:
            self._idle.remove(trainer)
        beside = self._batch_of(job, device)
        worker = ChildWorker(
            self._store,
            job.run_id,
            beside=beside,
            device=device,
            threads=job.needs,
            trainer=trainer,
            background=self._background,
            on_end=self._finish,
        )
        worker.start()
        self._memory.begin(worker.run_ids, job.bytes)
        self._again = {job.run_id} if job.again else set()
        for run_id in worker.run_ids:
            del self._queued[run_id]
            self._live[run_id] = worker

    def _batch_of(self, job: _Job, device: str) -> list[int]:
        """Queued runs for the batch of one, as many as give each free place an equal share of those of its shape."""
        if job.shape is None:
            return []
        alike = [
            other.run_id
            for other in self._queued.values()
            if other.shape == job.shape and other.run_id != job.run_id and other.run_id not in self._live
        ]
        places = machine_cores() if device == "cpu" else len(job.devices)
        if self._slots:
            places = self._slots if device == "cpu" else min(self._slots, places)
        busy = [worker for worker in dict.fromkeys(self._live.values()) if worker.device in job.devices]
        free = max(1, places - len(busy))
        return alike[: group_size(job.width, device, len(alike) + 1, free) - 1]

    def _admit(self, job: _Job) -> None:
        """Find out what a run needs, and show a run that continues as queued."""
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
            with contextlib.suppress(ImportError, OSError):  # the first run that needs it reports this
                import wdtui.runs.runner  # noqa: F401

    # In the thread of a run

    def _finish(self, worker: ChildWorker) -> None:
        if not worker.error:  # its process may have been told to stop before it claimed its runs
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
            if worker.trainer:
                self._idle.append(worker.trainer)
            self._notices += notices
            self._changed.notify_all()

    # In any thread

    def _notice(self, run_id: int, error: Exception | None, kind: Literal["refused", "failed"]) -> Notice:
        """The state of a run that is no longer queued or live here. One that could not begin becomes FAILED."""
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

    # In the thread that detaches

    def _detach_queue(self, jobs: list[_Job], after: list[int]) -> list[int]:
        """Start one process for all, or one after the other where they need different devices or threads."""
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
        """The process that continues each run; none, and a notice, where none can be started."""
        try:
            process = start_process(self._store.folder, groups, device=device, threads=threads, after=after)
        except OSError as error:
            self._tell(Notice(groups[0][0], "failed", f"No process could be started to continue: {error}", None))
            return {}
        reap(process)
        with contextlib.suppress(StoreError):  # the process that trains a run reports it
            self._store.hand_queue([run_id for run_ids in groups for run_id in run_ids], process.pid)
        return {run_id: process.pid for run_ids in groups for run_id in run_ids}
