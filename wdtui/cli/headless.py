"""Training without a screen: a worker thread trains, and the main thread reads the store, as the app does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from json import dumps
from types import FrameType

import typer

from wdtui.cli.errors import FAILED, INTERRUPTED
from wdtui.cli.views import View, choose_view
from wdtui.runs.executor import interrupt_waiting
from wdtui.runs.service import NoQueue, Service
from wdtui.runs.trainer import start_process
from wdtui.runs.worker import SIGNALS, ChildWorker, Worker
from wdtui.store.store import OwnershipLostError, RunBusyError, Status, Store, StoreError
from wdtui.support.errors import TrainingError
from wdtui.support.store_files import log_path
from wdtui.support.text import clean

_FOLLOW_SECONDS = 0.25
_SIGNALS = SIGNALS | {signal.SIGHUP: "The terminal was closed"}


def carry_out(
    store: Store, request: Callable[[Service], object], *, device: str | None, detach: bool, json: bool
) -> int:
    """Make a request and train the runs that it queues, here or in separate processes; return the exit status.

    `device` is as for a `Service`. An error before a run has started leaves the store unchanged.
    """
    queue = (Detached if detach else Foreground)(store, json=json)
    if device and not detach:
        from wdtui.training.devices import resolve_device  # here, because it imports torch

        device = resolve_device(device)
    service = Service(store, queue, device=device)
    with service.undone_on_error():
        request(service)
        return queue.train()


class Foreground(NoQueue):
    """Trains runs in this process, one after the other, and shows each."""

    def __init__(self, store: Store, *, json: bool) -> None:
        self._store, self._json = store, json
        self._jobs: list[tuple[int, str, int | None]] = []

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        self._jobs += [(run_id, device or "auto", threads) for run_id in run_ids]

    def train(self) -> int:
        """Train the submitted runs until one does not finish; return the exit status of the last."""
        from wdtui.training.devices import resolve_device

        jobs, self._jobs = self._jobs, []
        for at, (run_id, device, threads) in enumerate(jobs, start=1):
            view = choose_view(self._json)
            if status := train(self._store, run_id, device=resolve_device(device), threads=threads, view=view):
                interrupt_waiting(self._store, [later for later, *_ in jobs[at:]], f"Run {run_id} broke off")
                return status
        return 0


class Detached(Foreground):
    """Trains each run in a process of its own."""

    def train(self) -> int:
        """Start the processes and print how to follow them; return the exit status."""
        for run_id, device, threads in self._jobs:
            try:
                process = start_process(self._store.folder, [(run_id,)], device=device, threads=threads)
            except OSError as error:
                raise TrainingError(f"No process could be started to train the run: {error}.") from error
            self._store.hand_queue([run_id], process.pid)
            self._print(run_id, process.pid, str(log_path(self._store.folder, run_id)))
        return 0

    def _print(self, run_id: int, pid: int, log: str) -> None:
        if self._json:
            print(dumps({"event": "detached", "run_id": run_id, "pid": pid, "log": log}))
            return
        typer.echo(f"Run {run_id} trains in process {pid}; its errors are written to {clean(log)}.")
        typer.echo(f"Follow it with `wdtui` or `wdtui watch {run_id}`; end it with `wdtui stop {run_id}`.")


def train(store: Store, run_id: int, *, device: str, threads: int | None, view: View) -> int:
    """Train a run of the store to its end or to a signal, shown in a view; return the exit status."""
    record, unseen = store.run(run_id), None
    worker = (
        ChildWorker(store, run_id, device=device, threads=threads, bound=True)
        if record.schema.source  # its code may end the process that runs it
        else Worker(store, run_id, device=device, threads=threads)
    )
    with signals_interrupting(worker.interrupt) as received:
        try:
            with view:
                view.start(record)
                worker.start()
                _follow(store, worker, view)
        except StoreError as error:  # the worker fails too, and then reports what happened to the points
            unseen = error
        finally:  # save the checkpoint even if the output can no longer be written
            worker.interrupt("Its output could not be shown")
            if worker.ident:
                worker.join()
    failure = worker.error or unseen
    lost = isinstance(failure, OwnershipLostError)
    if lost or (isinstance(failure, StoreError) and not isinstance(failure, RunBusyError)):
        raise TrainingError(str(failure))
    if failure:
        raise failure
    record = store.run(run_id)
    view.finish(record, store.curves(run_id))
    if record.reason:
        typer.echo(f"wdtui: {clean(record.reason)}", err=True)
    return exit_status(record.status, received)


def _follow(store: Store, worker: Worker, view: View) -> None:
    """Show new points until the worker has ended."""
    last, alive = -1, True
    while alive:
        worker.join(_FOLLOW_SECONDS)
        alive = worker.is_alive()
        if last < 0 and (alive and not worker.begun):  # these points are older, and may be measured again
            continue
        if len(newer := store.curves(worker.run_id, after_step=last)):
            last = int(newer.steps[-1])
            view.points(newer)


def exit_status(status: Status, received: list[int]) -> int:
    """130 for Ctrl-C and for a run stopped early, or 128 + the number of another signal, as in shells."""
    if status == Status.INTERRUPTED and received:
        return 128 + received[0]
    return {Status.DONE: 0, Status.STOPPED: INTERRUPTED, Status.INTERRUPTED: INTERRUPTED}.get(status, FAILED)


@contextlib.contextmanager
def signals_interrupting(stop: Callable[[str], None]) -> Iterator[list[int]]:
    """Let signals stop the training unless they are ignored, as under nohup. A second Ctrl-C exits at once.

    `stop` is called with the reason. The list contains the signal once there was one.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not received:
            received.append(number)
            stop(_SIGNALS[signal.Signals(number)])

    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
