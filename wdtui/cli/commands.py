"""Commands for one run: resume (also a sweep), pause, stop and steer, wherever it trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli import completion
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import DetachOption, HeadlessOption, JsonOption, StoreOption, ThreadsOption
from wdtui.cli.machines import AddressOption, ExecutorOption, Machines, WorkersOption
from wdtui.cli.owners import confirmed
from wdtui.cli.runs import RunArgument
from wdtui.cli.sweep import is_sweep, train_sweep

if TYPE_CHECKING:
    from wdtui.runs.service import Service
    from wdtui.store.records import RunRecord
    from wdtui.store.store import Store
    from wdtui.tui import Opening


RunOrSweepArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN|SWEEP",
        help="A run's number or name, or last; or a sweep such as S3.",
        autocompletion=completion.runs_and_sweeps,
    ),
]


def resume(
    run: RunOrSweepArgument,
    headless: HeadlessOption = False,
    detach: DetachOption = False,
    json: JsonOption = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Device to train on; by default the same as before.")
    ] = "",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    store: StoreOption = None,
) -> int:
    """Resume a paused run, or continue an interrupted, stopped or failed one from its last checkpoint.

    For a sweep, train the missing, interrupted, stopped and failed runs. In a terminal this opens the app; without one,
    or with --headless or --json, it trains without a screen.
    """
    from wdtui.cli.headless import carry_out
    from wdtui.runs.service import Service, about_source
    from wdtui.store.store import Status, Store
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
        run_id = confirmed(opened, opened.find(run)).id
        record = Service(opened).check_resumable(run_id)
        device, threads = device or record.device or "auto", threads or record.threads
        if record.status == Status.PAUSED:
            typer.echo(Service(opened).resume(run_id), err=True)
            return 0
        if in_app:
            return _open(opened, device, Opening(run_id=run_id, threads=threads))

        def go_on(service: Service) -> None:
            service.resume(run_id, threads=threads)
            if record.step:
                typer.echo(_from_where(opened, record) + about_source(record.schema), err=True)

        return carry_out(opened, go_on, device=device, detach=detach, json=json)


def _open(store: Store, device: str, opening: Opening) -> int:
    """Continue in the app, which opens the store itself."""
    from wdtui.tui import open_app

    store.close()
    return open_app(store.folder, device=device, opening=opening)


def _from_where(store: Store, record: RunRecord) -> str:
    """A sentence that names the step from which the run continues."""
    from wdtui.support.text import number

    checkpoints, lost = store.checkpoints(record), store.curves(record.id).lost
    damaged = checkpoints.damaged()
    sound = [step for step in checkpoints.steps() if step not in damaged and step < min(lost, default=math.inf)]
    warning = f"The checkpoint at step {number(damaged[-1])} is damaged. " if damaged else ""
    if sound:
        return f"{warning}Run {record.id} continues from its checkpoint at step {number(sound[-1])}."
    if record.parent is not None:
        return f"{warning}Run {record.id} starts again from what run {record.parent} has kept."
    without = "starts over" if damaged else "has no checkpoint yet and starts from the beginning"
    return f"{warning}Run {record.id} {without}, which measures the same points again."


def pause(run: RunArgument, store: StoreOption = None) -> None:
    """Pause a live run; `wdtui resume` continues it."""
    _ask(store, run, lambda service, record: service.pause(record.id))


def checkpoint(run: RunArgument, store: StoreOption = None) -> None:
    """Have a live run write a checkpoint now."""
    _ask(store, run, lambda service, record: service.checkpoint(record.id))


def stop(run: RunOrSweepArgument, store: StoreOption = None) -> None:
    """Stop a live run or all runs of a sweep, with checkpoints; `wdtui resume` continues from there."""
    if not is_sweep(run):
        _ask(store, run, lambda service, record: service.stop(record.id))
        return
    from wdtui.runs.service import Service
    from wdtui.store.store import Store

    with Store(store) as opened:
        typer.echo(Service(opened).stop_sweep(opened.sweeps.find(run)), err=True)


def steer(
    run: RunArgument,
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE[:N]",
            autocompletion=completion.changes,
            help="A change, at once or over N epochs, as in weight_decay=0.1:50. A run without epochs counts steps.",
        ),
    ],
    store: StoreOption = None,
) -> None:
    """Change live fields of a run, as λ, from its next epoch; in a run without epochs, from its next step."""
    from wdtui.schema.steering import parse_assignment

    def steered(service: Service, record: RunRecord) -> str:
        return service.steer(record.id, dict(parse_assignment(record.schema, change) for change in changes))

    _ask(store, run, steered)


def _ask(store: Path | None, run: str, request: Callable[[Service, RunRecord], str]) -> None:
    """Make a request for a run and print the result."""
    from wdtui.runs.service import Service
    from wdtui.store.store import Store

    with Store(store) as opened:
        typer.echo(request(Service(opened), opened.find(run)), err=True)
