"""Training without a screen: a worker thread trains, the main thread follows it through the store, as the app would."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from json import dumps
from pathlib import Path
from types import FrameType

import typer

from wdtui.branches import Branching
from wdtui.cli.errors import FAILED, INTERRUPTED
from wdtui.cli.views import View, choose_view
from wdtui.config import RunConfig
from wdtui.errors import TrainingError
from wdtui.runs import forks
from wdtui.runs.executor import interrupt_waiting
from wdtui.runs.processes import this_process
from wdtui.runs.store import OwnershipLostError, RunBusyError, RunRecord, Status, Store, StoreError
from wdtui.runs.trainer import log_path, start_process
from wdtui.runs.worker import SIGNALS, Worker
from wdtui.text import clean

_FOLLOW_SECONDS = 0.25
_SIGNALS = SIGNALS | {signal.SIGHUP: "The terminal was closed"}


def train_new_run(
    config: RunConfig,
    *,
    experiment: str,
    name: str,
    device: str,
    threads: int | None,
    store: Path | None,
    json: bool,
    detach: bool = False,
    branching: Branching | None = None,
) -> int:
    """Add a run to the store and train it, then its branches; return the exit status."""
    if detach:
        with Store(store) as opened:
            run_id = opened.add_run(config, name=name, experiment=experiment)
            with queued(opened, run_id):
                return detach_run(opened, run_id, device=device, threads=threads, json=json)
    from wdtui.lab.devices import resolve_device

    device = resolve_device(device)
    with Store(store) as opened:
        run_id = opened.add_run(config, name=name, experiment=experiment)
        with queued(opened, run_id):
            status = train(opened, run_id, device=device, threads=threads, view=choose_view(json))
        fork_ids = forks.branch(opened, opened.run(run_id), branching) if branching and not status else []
        while fork_ids and not status:
            run_id = fork_ids.pop(0)
            status = train(opened, run_id, device=device, threads=threads, view=choose_view(json))
        interrupt_waiting(opened, fork_ids, f"Run {run_id} broke off")
        return status


@contextlib.contextmanager
def queued(store: Store, run_id: int, before: RunRecord | None = None) -> Iterator[None]:
    """Leave the store as it was where an error ends this command before the run that it has queued could begin.

    A new run is deleted; one that is to be gone on with, given as it stood `before`, stands so again.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(StoreError):
            run = store.run(run_id)
            if run.status == Status.QUEUED and run.owner == this_process():
                if before:
                    store.settle(run_id, before.status, before.reason)
                else:
                    store.delete([run_id])
        raise


def detach_run(store: Store, run_id: int, *, device: str, threads: int | None, json: bool) -> int:
    """Have a run of the store trained by a process of its own, say how to follow it, and return the exit status."""
    try:
        process = start_process(store.folder, [(run_id,)], device=device, threads=threads)
    except OSError as error:
        raise TrainingError(f"No process could be started to train the run: {error}.") from error
    store.hand_queue([run_id], process.pid)
    log = log_path(store.folder, run_id)
    if json:
        print(dumps({"event": "detached", "run_id": run_id, "pid": process.pid, "log": str(log)}))
    else:
        typer.echo(f"Run {run_id} trains in process {process.pid}; what goes wrong is written to {clean(str(log))}.")
        typer.echo(f"Follow it with `wdtui` or `wdtui runs show {run_id}`; end it with `wdtui stop {run_id}`.")
    return 0


def train(store: Store, run_id: int, *, device: str, threads: int | None, view: View) -> int:
    """Train a run of the store to its end or to a signal, showing it in a view; return the exit status."""
    worker = Worker(store, run_id, device=device, threads=threads)
    record, unseen = store.run(run_id), None
    with signals_interrupting(worker.interrupt) as received:
        try:
            with view:
                view.start(record)
                worker.start()
                _follow(store, worker, view)
        except StoreError as error:  # the worker meets it too, and knows what became of the points
            unseen = error
        finally:  # also where the output can no longer be written: the checkpoint must be
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
    """Show points as they come until the worker has ended."""
    last, alive = -1, True
    while alive:
        worker.join(_FOLLOW_SECONDS)
        alive = worker.is_alive()
        if last < 0 and (alive and not worker.begun):  # what is there is of before, and may be measured again
            continue
        if len(newer := store.curves(worker.run_id, after_step=last)):
            last = int(newer.steps[-1])
            view.points(newer)


def exit_status(status: Status, received: list[int]) -> int:
    """130 for Ctrl-C and for a run stopped early; as shells have it, 128 + the number for another signal."""
    if status == Status.INTERRUPTED and received:
        return 128 + received[0]
    return {Status.DONE: 0, Status.STOPPED: INTERRUPTED, Status.INTERRUPTED: INTERRUPTED}.get(status, FAILED)


@contextlib.contextmanager
def signals_interrupting(stop: Callable[[str], None]) -> Iterator[list[int]]:
    """Have signals stop what is trained, unless they are ignored, as under nohup; a second Ctrl-C ends all at once.

    `stop` is told the reason; the list that is given holds the signal once there was one.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not received:
            received.append(number)
            stop(_SIGNALS[signal.Signals(number)])

    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
