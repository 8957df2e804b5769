"""Training without a screen: a worker thread trains, the main thread follows it through the store, as the app would."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from wdtui.cli.errors import FAILED, INTERRUPTED, TrainingError
from wdtui.cli.views import View, choose_view
from wdtui.config import RunConfig
from wdtui.metrics import Curves
from wdtui.runs.store import RunBusyError, Status, Store, StoreError
from wdtui.runs.worker import Worker

_FOLLOW_SECONDS = 0.25
_SIGNALS = {
    signal.SIGINT: "Interrupted by Ctrl-C",
    signal.SIGTERM: "Terminated",
    signal.SIGHUP: "The terminal was closed",
}


def train_new_run(
    config: RunConfig,
    *,
    experiment: str,
    name: str,
    device: str,
    threads: int | None,
    store: Path | None,
    json: bool,
) -> int:
    """Add a run to the store and train it; return the exit status."""
    from wdtui.lab.devices import resolve_device

    device = resolve_device(device)
    with Store(store) as opened:
        run_id = opened.add_run(config, name=name, experiment=experiment)
        return train(opened, run_id, device=device, threads=threads, view=choose_view(json))


def train(store: Store, run_id: int, *, device: str, threads: int | None, view: View) -> int:
    """Train a run of the store to its end or to a signal, showing it in a view; return the exit status."""
    worker = Worker(store, run_id, device=device, threads=threads)
    record = store.run(run_id)
    curves = Curves.of(record.config, [])
    with _signals_interrupting(worker) as received, view:
        view.start(record)
        worker.start()
        alive = True
        while alive:
            worker.join(_FOLLOW_SECONDS)
            alive = worker.is_alive()
            newer = store.curves(run_id, after_step=int(curves.steps[-1]) if len(curves) else -1)
            curves = curves.extended(newer)
            if len(newer):
                view.points(newer)
    if isinstance(worker.error, StoreError) and not isinstance(worker.error, RunBusyError):
        raise TrainingError(str(worker.error))
    if worker.error:
        raise worker.error
    record = store.run(run_id)
    view.finish(record, curves)
    return exit_status(record.status, received)


def exit_status(status: Status, received: list[int]) -> int:
    """130 for Ctrl-C, and as shells have it 128 + the number for another signal; 130 too for a run stopped early."""
    if status == Status.INTERRUPTED and received:
        return INTERRUPTED if received[0] == signal.SIGINT else 128 + received[0]
    return {Status.DONE: 0, Status.STOPPED: INTERRUPTED, Status.INTERRUPTED: INTERRUPTED}.get(status, FAILED)


@contextlib.contextmanager
def _signals_interrupting(worker: Worker) -> Iterator[list[int]]:
    """Have signals stop the run with a checkpoint; a second Ctrl-C ends the process at once."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        worker.interrupt(_SIGNALS[signal.Signals(number)])

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
