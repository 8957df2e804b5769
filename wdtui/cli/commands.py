"""Commands to one run: go on with it, pause, stop or steer it, wherever it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import JsonOption, StoreOption, ThreadsOption, assignment
from wdtui.cli.runs import RunArgument
from wdtui.cli.sweep import WorkersOption, is_sweep, train_sweep


def resume(
    run: Annotated[
        str, typer.Argument(metavar="RUN|SWEEP", help="A run's number or name, or last; or a sweep, as S3.")
    ],
    json: JsonOption = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where to train; by default where it was trained.")
    ] = "",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
) -> int:
    """Go on with a paused run, or train an interrupted, stopped or failed one on from its last checkpoint.

    Of a sweep, train what is missing, interrupted, stopped or failed.
    """
    from wdtui.cli.headless import train
    from wdtui.cli.views import choose_view
    from wdtui.lab.devices import resolve_device
    from wdtui.runs.store import Status, Store

    with Store(store) as opened:
        if is_sweep(run):
            sweep = opened.sweeps.find(run)
            return train_sweep(opened, sweep.id, device=device or "auto", threads=threads, workers=workers, json=json)
        record = opened.find(run)
        if record.status == Status.PAUSED:
            opened.send(record.id, "resume")
            typer.echo(f"Run {record.id} goes on, in the process that trains it.", err=True)
            return 0
        if record.live:
            raise CommandError(f"Run {record.id} is running; there is nothing to resume.")
        if record.status in (Status.DONE, Status.DIVERGED):
            raise CommandError(f"Run {record.id} is {record.status}; there is nothing left to train.")
        if record.step:
            from_step = f"goes on from its checkpoint at step {record.checkpoint_step:,}"
            over = "has no checkpoint yet and starts over, which measures the same points again"
            typer.echo(f"Run {record.id} {over if record.checkpoint_step is None else from_step}.", err=True)
        where = resolve_device(device or record.device or "auto")
        return train(opened, record.id, device=where, threads=threads or record.threads, view=choose_view(json))


def pause(run: RunArgument, store: StoreOption = None) -> None:
    """Pause a live run, wherever it is trained; `wdtui resume` lets it go on."""
    _send(store, run, "pause")


def stop(run: RunArgument, store: StoreOption = None) -> None:
    """Stop a live run with a checkpoint, wherever it is trained; `wdtui resume` goes on from there."""
    _send(store, run, "stop")


def steer(
    run: RunArgument,
    changes: Annotated[
        list[str], typer.Option("--set", metavar="FIELD=VALUE", help="weight_decay, bn_epsilon or learning_rate.")
    ],
    store: StoreOption = None,
) -> None:
    """Change λ, ε or the learning rate of a live run from its next epoch on."""
    from wdtui.config import FIELDS, ConfigError

    fields = dict(assignment(change) for change in changes)
    for name in fields:
        if not FIELDS[name].steerable:
            steerable = ", ".join(field for field, knob in FIELDS.items() if knob.steerable)
            raise ConfigError(f"{name} cannot be changed while a run is live; {steerable} can.", name)
    _send(store, run, "steer", fields)


def _send(store: Path | None, run: str, kind: str, data: dict[str, Any] | None = None) -> None:
    from wdtui.runs.store import Store

    with Store(store) as opened:
        record = opened.find(run)
        if not record.live:
            raise CommandError(f"Run {record.id} is {record.status}, so nobody is there to {kind} it.")
        opened.send(record.id, kind, data)
    typer.echo(f"Run {record.id} has been asked to {kind}.", err=True)
