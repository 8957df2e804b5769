"""`wdtui sweeps`: list and show the sweeps in the store."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from wdtui.cli import completion
from wdtui.cli.fields import JsonOption, StoreOption

app = typer.Typer(help="List and show the sweeps in the store.", no_args_is_help=True, rich_markup_mode=None)

SweepArgument = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep's number such as S3, or its name, or last.", autocompletion=completion.sweeps
    ),
]


@app.command("list")
def list_sweeps(json: JsonOption = False, store: StoreOption = None) -> None:
    """List all sweeps, newest first."""
    from wdtui.cli.sweep_views import print_sweeps, sweep_json
    from wdtui.runs.sweeps import Progress
    from wdtui.store.store import Store
    from wdtui.support.text import clean

    with Store(store) as opened:
        found = opened.sweeps.all()
        sweeps = [Progress(sweep, opened.sweeps.runs(sweep.id)) for sweep in found if not sweep.damage]
    for sweep in found:
        if sweep.damage:
            typer.echo(f"wdtui: {sweep.damage}", err=True)
    if json:
        for progress in sweeps:
            typer.echo(json_module.dumps(sweep_json(progress), ensure_ascii=False))
    elif not sweeps:
        first = "`wdtui sweep demo --axis weight_decay=0.1,0.3 --headless` trains the first"
        typer.echo(f"No sweeps in {clean(str(opened.folder))} yet; {first}.")
    else:
        print_sweeps(sweeps)


@app.command()
def show(sweep: SweepArgument, json: JsonOption = False, store: StoreOption = None) -> None:
    """Show the results of a sweep: a chart over its axes and a table of its cells."""
    from wdtui.cli.sweep_views import print_sweep, sweep_json
    from wdtui.runs.sweeps import Progress
    from wdtui.store.store import Store

    with Store(store) as opened:
        found = opened.sweeps.find(sweep)
        progress = Progress(found, opened.sweeps.runs(found.id))
        if json:
            typer.echo(json_module.dumps(sweep_json(progress, table=True), ensure_ascii=False))
        else:
            print_sweep(progress, opened)
