"""`wdtui fork` and `wdtui replay`: new runs that another run's past defines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli import completion
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import DetachOption, HeadlessOption, JsonOption, StoreOption, ThreadsOption
from wdtui.cli.runs import RunArgument

if TYPE_CHECKING:
    from wdtui.runs.records import RunRecord
    from wdtui.runs.store import Store

_DeviceOption = Annotated[str, typer.Option("--device", metavar="DEVICE", help="Where to train; by default as before.")]
_NameOption = Annotated[str, typer.Option(help="What to call the run.")]


def fork(
    run: RunArgument,
    at: Annotated[
        int | None, typer.Option(metavar="STEP", min=0, help="Where to leave it; by default at its last point.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE[:EPOCHS]",
            help="A change, at once or over so many epochs.",
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
    """Train a run on from one of its steps with something changed, as a new run; the run itself stays as it is."""
    from wdtui.runs import forks
    from wdtui.runs.store import Store
    from wdtui.steering import parse_assignment

    _check_json(json, headless, detach)
    with Store(store) as opened:
        parent = opened.find(run)
        given = dict(parse_assignment(parent.schema, change) for change in changes or ())
        where = parent.step if at is None else at
        run_id = forks.fork(opened, parent, where, given, name=name)
        begins = opened.run(run_id).parent_step
        typer.echo(f"Run {run_id} leaves run {parent.id} at step {begins:,}.", err=True)
        return _train(opened, parent, run_id, headless, detach, json, device, threads)


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
    """Train a run once more from its beginning, with all that was steered at the same steps, as a new run."""
    from wdtui.runs import forks
    from wdtui.runs.store import Store

    _check_json(json, headless, detach)
    with Store(store) as opened:
        original = opened.find(run)
        run_id = forks.replay(opened, original, name=name)
        typer.echo(f"Run {run_id} repeats run {original.id}.", err=True)
        return _train(opened, original, run_id, headless, detach, json, device, threads)


def _check_json(json: bool, headless: bool, detach: bool) -> None:
    if json and not (headless or detach):
        raise CommandError("--json needs --headless or --detach.")


def _train(
    opened: Store,
    like: RunRecord,
    run_id: int,
    headless: bool,
    detach: bool,
    json: bool,
    device: str,
    threads: int | None,
) -> int:
    """Train a new run as another was trained, unless told otherwise: other threads may round otherwise."""
    from wdtui.cli.headless import detach_run, queued, train
    from wdtui.cli.views import choose_view

    device, threads = device or like.device or "auto", threads or like.threads
    if detach:
        with queued(opened, run_id):
            return detach_run(opened, run_id, device=device, threads=threads, json=json)
    if headless:
        from wdtui.lab.devices import resolve_device

        with queued(opened, run_id):
            return train(opened, run_id, device=resolve_device(device), threads=threads, view=choose_view(json))
    from wdtui.tui import Opening, open_app

    folder = opened.folder
    opened.close()
    return open_app(folder, device=device, opening=Opening(run_id=run_id, threads=threads))
