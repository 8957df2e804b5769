"""Commands to one run: go on with it (or with a sweep), pause, stop or steer it, wherever it is trained."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wdtui.cli import completion
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import DetachOption, HeadlessOption, JsonOption, StoreOption, ThreadsOption
from wdtui.cli.machines import AddressOption, ExecutorOption, Machines, WorkersOption
from wdtui.cli.owners import confirmed
from wdtui.cli.runs import RunArgument
from wdtui.cli.sweep import is_sweep, train_sweep

if TYPE_CHECKING:
    from wdtui.runs.records import RunRecord
    from wdtui.runs.store import Store
    from wdtui.tui import Opening


def resume(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SWEEP",
            help="A run's number or name, or last; or a sweep, as S3.",
            autocompletion=completion.runs_and_sweeps,
        ),
    ],
    headless: HeadlessOption = False,
    detach: DetachOption = False,
    json: JsonOption = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to train; by default where it was trained.")
    ] = "",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    store: StoreOption = None,
) -> int:
    """Go on with a paused run, or train an interrupted, stopped or failed one on from its last checkpoint.

    Of a sweep, train what is missing, interrupted, stopped or failed. In a terminal this opens the app; without one,
    or with --headless or --json, it trains without a screen.
    """
    from wdtui.cli.headless import detach_run, queued, train
    from wdtui.cli.views import choose_view
    from wdtui.runs.records import FINISHED
    from wdtui.runs.store import Status, Store
    from wdtui.tui import Opening, has_terminal

    in_app = not (headless or detach or json or executor != "local" or address) and has_terminal()
    with Store(store) as opened:
        if is_sweep(run):
            if detach:
                raise CommandError(f"{run} is a sweep, and --detach is for single runs.")
            sweep = opened.sweeps.find(run)
            device = device or (sweep.device if executor == "local" else "auto")
            machines = Machines(device, threads or sweep.threads, workers, executor, address)
            if in_app:
                return _open(opened, device, Opening(sweep_id=sweep.id, threads=machines.threads, workers=workers))
            return train_sweep(opened, sweep.id, machines.prepared(opened), machines, json=json)
        if executor != "local" or address:
            raise CommandError("--executor and --address are for sweeps, as in `wdtui resume S3 --executor ray`.")
        record = confirmed(opened, opened.find(run))
        if record.status == Status.PAUSED:
            opened.send(record.id, "resume")
            typer.echo(f"Run {record.id} goes on, in the process that trains it.", err=True)
            return 0
        if record.live:
            raise CommandError(f"Run {record.id} is running; there is nothing to resume.")
        finished = record.status in FINISHED
        if finished and not opened.curves(record.id).lost:
            raise CommandError(f"Run {record.id} is {record.status}; there is nothing left to train.")
        device, threads = device or record.device or "auto", threads or record.threads
        _ = record.config  # raises StoreError for a run of another version, which is left as it is
        if in_app:
            return _open(opened, device, Opening(run_id=record.id, threads=threads))
        if not detach:
            from wdtui.lab.devices import resolve_device

            device = resolve_device(device)
        if finished:
            opened.reopen(record.id)
        else:
            opened.settle(record.id, Status.QUEUED)
        with queued(opened, record.id, record):
            if record.step:
                typer.echo(_from_where(opened, record), err=True)
            if detach:
                return detach_run(opened, record.id, device=device, threads=threads, json=json)
            return train(opened, record.id, device=device, threads=threads, view=choose_view(json))


def _open(store: Store, device: str, opening: Opening) -> int:
    """Go on in the app, which opens the store anew."""
    from wdtui.tui import open_app

    store.close()
    return open_app(store.folder, device=device, opening=opening)


def _from_where(store: Store, record: RunRecord) -> str:
    """What the run is to go on from, in words."""
    from wdtui.text import number

    checkpoints, lost = store.checkpoints(record), store.curves(record.id).lost
    damaged = checkpoints.damaged()
    sound = [step for step in checkpoints.steps() if step not in damaged and step < min(lost, default=math.inf)]
    spoilt = f"The checkpoint at step {number(damaged[-1])} is damaged. " if damaged else ""
    if sound:
        return f"{spoilt}Run {record.id} goes on from its checkpoint at step {number(sound[-1])}."
    if record.parent is not None:
        return f"{spoilt}Run {record.id} begins anew, from what run {record.parent} has kept."
    without = "starts over" if damaged else "has no checkpoint yet and starts over"
    return f"{spoilt}Run {record.id} {without}, which measures the same points again."


def pause(run: RunArgument, store: StoreOption = None) -> None:
    """Pause a live run, wherever it is trained; `wdtui resume` lets it go on."""
    _send(store, run, "pause")


def stop(run: RunArgument, store: StoreOption = None) -> None:
    """Stop a live run with a checkpoint, wherever it is trained; `wdtui resume` goes on from there."""
    from wdtui.runs.store import RunBusyError, Status, Store

    with Store(store) as opened, contextlib.suppress(RunBusyError):  # begun just now, so that it can be told
        record = opened.find(run)
        if record.status == Status.QUEUED:
            opened.settle(record.id, Status.STOPPED, "Stopped before it began.")
            typer.echo(f"Run {record.id} will not begin.", err=True)
            return
    _send(store, run, "stop")


def steer(
    run: RunArgument,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE[:EPOCHS]",
            autocompletion=completion.changes,
            help="weight_decay, bn_epsilon or learning_rate, at once or over so many epochs.",
        ),
    ],
    store: StoreOption = None,
) -> None:
    """Change λ, ε or the learning rate of a live run from its next epoch on."""
    from wdtui.steering import check_steerable, parse_assignment

    def read(run: RunRecord) -> dict[str, Any]:
        given = dict(parse_assignment(run.schema, change) for change in changes)
        check_steerable(run.schema, given)
        return given

    _send(store, run, "steer", read)


def _send(
    store: Path | None, run: str, kind: str, read: Callable[[RunRecord], dict[str, Any]] = lambda run: {}
) -> None:
    """Send a live run a command, with the data that `read` makes for it."""
    from wdtui.runs.store import Store

    with Store(store) as opened:
        record = opened.find(run)
        data = read(record)
        if not record.live:
            raise CommandError(f"Run {record.id} is {record.status}, so nobody is there to {kind} it.")
        opened.send(record.id, kind, data)
    doubt = f" {record.reason}" if record.unconfirmed else ""
    typer.echo(f"Run {record.id} has been asked to {kind}.{doubt}", err=True)
