"""`wdtui fork` and `wdtui replay`: new runs that start from another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli import completion
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import DetachOption, HeadlessOption, JsonOption, StoreOption, ThreadsOption
from wdtui.cli.runs import RunArgument

if TYPE_CHECKING:
    from wdtui.runs.service import Service
    from wdtui.store.records import RunRecord

_DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Device to train on; by default the same as before.")
]
_NameOption = Annotated[str, typer.Option(help="Name of the run.")]


def fork(
    run: RunArgument,
    at: Annotated[
        int | None,
        typer.Option(metavar="STEP", min=0, help="Step at which the fork starts; by default the last point."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE[:N]",
            help="A change, at once or over N epochs. A run without epochs counts steps.",
            autocompletion=completion.changes,
        ),
    ] = None,
    headless: HeadlessOption = False,
    detach: DetachOption = False,
    json: JsonOption = False,
    name: _NameOption = "",
    device: _DeviceOption = "",
    threads: ThreadsOption = None,
    store: StoreOption = None,
) -> int:
    """Continue from a step of a run with changed values, as a new run; the original run is not changed."""
    from wdtui.runs.service import Service
    from wdtui.schema.steering import parse_assignment

    def add(service: Service, parent: RunRecord) -> tuple[int, str]:
        given = dict(parse_assignment(parent.schema, change) for change in changes or ())
        run_id = service.fork(parent.id, at, given, name=name, threads=threads)
        return run_id, service.where_it_leaves(run_id)

    return _train(store, run, Service.check_forkable, add, headless, detach, json, device, threads)


def replay(
    run: RunArgument,
    headless: HeadlessOption = False,
    detach: DetachOption = False,
    json: JsonOption = False,
    name: _NameOption = "",
    device: _DeviceOption = "",
    threads: ThreadsOption = None,
    store: StoreOption = None,
) -> int:
    """Train a run again from its beginning, with the same steering at the same steps, as a new run."""
    from wdtui.runs.service import Service, about_source

    def add(service: Service, original: RunRecord) -> tuple[int, str]:
        run_id = service.replay(original.id, name=name, threads=threads)
        return run_id, f"Run {run_id} repeats run {original.id}.{about_source(original.schema)}"

    return _train(store, run, Service.check_trainable, add, headless, detach, json, device, threads)


def _train(
    store: Path | None,
    run: str,
    check: Callable[[Service, int], object],
    add: Callable[[Service, RunRecord], tuple[int, str]],
    headless: bool,
    detach: bool,
    json: bool,
    device: str,
    threads: int | None,
) -> int:
    """Add a run, print where it starts, and train it."""
    from wdtui.cli.headless import Foreground, carry_out
    from wdtui.runs.service import Service
    from wdtui.store.store import Store
    from wdtui.tui import Opening, check_terminal, open_app

    if json and not (headless or detach):
        raise CommandError("--json needs --headless or --detach.")
    with Store(store) as opened:
        like = opened.find(run)
        check(Service(opened), like.id)

        def added(service: Service) -> int:
            run_id, message = add(service, like)
            typer.echo(message, err=True)
            return run_id

        if headless or detach:
            return carry_out(opened, added, device=device or None, detach=detach, json=json)
        check_terminal()
        run_id, folder = added(Service(opened, Foreground(opened, json=json))), opened.folder
    opening = Opening(run_id=run_id, threads=threads or like.threads)
    return open_app(folder, device=device or like.device or "auto", opening=opening)
