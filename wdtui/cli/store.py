"""`wdtui store`: checks, copies and moves the whole store."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from wdtui.cli.errors import DAMAGED
from wdtui.cli.fields import ForceOption, JsonOption, StoreOption

app = typer.Typer(help="Check, back up and move the run store.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(json: JsonOption = False, store: StoreOption = None) -> int:
    """Read the whole store with its checkpoints and print a line for each damaged part; exit status 3 if any."""
    from wdtui.runs.inspection import Finding, findings
    from wdtui.store.store import Store, StoreError

    try:
        with Store(store) as opened:
            found, runs = findings(opened), opened.count()
    except StoreError as error:
        found, runs = [Finding("file", str(error))], 0
    for finding in found:
        about = {"what": finding.what, "run": finding.run, "text": finding.text}
        line = json_module.dumps(about, ensure_ascii=False) if json else f"{finding.what:<10} {finding.text}"
        typer.echo(line)
    if not found and not json:
        typer.echo(f"Nothing is damaged in {opened.folder}: {runs:,} {'run' if runs == 1 else 'runs'}.")
    return DAMAGED if found else 0


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Copy all runs, points, events and sweeps to one file, also while runs train; checkpoints are not copied.

    To restore it, put it into an empty folder as wdtui.sqlite3. Unfinished runs start from the beginning there, which
    gives the same points.
    """
    from wdtui.store.moving import backup as copy
    from wdtui.store.store import Store

    with Store(store) as opened:
        copy(opened, file, force=force)
        runs = opened.count()
    typer.echo(f"{runs:,} {'run' if runs == 1 else 'runs'} of {opened.folder} in {file}.")


@app.command()
def move(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")], store: StoreOption = None
) -> None:
    """Move the store with its checkpoints, logs and saved form to another folder; refused while a run is live."""
    from wdtui.store.moving import move as relocate
    from wdtui.store.store import Store

    with Store(store) as opened:
        relocate(opened, folder)
    path = folder.expanduser().absolute()
    typer.echo(f"The store is in {path} now. `wdtui config set store {path}`, or WDTUI_HOME, makes it the default.")
