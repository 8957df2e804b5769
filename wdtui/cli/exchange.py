"""`wdtui runs export`, `runs script` and `runs import`: runs handed over to other tools, and taken in from them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import StoreOption
from wdtui.cli.runs import RunArgument, RunsArgument

FormatOption = Annotated[
    Literal["csv", "json", "parquet", "tensorboard"],
    typer.Option(help="csv: the points; the others hold config and milestones too."),
]


def export(
    runs: RunsArgument,
    format: FormatOption = "csv",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="A file, or a folder for several runs; - for stdout."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write all that was measured to files that other tools read."""
    from wdtui.exchange.export import FORMATS
    from wdtui.exchange.export import export as write
    from wdtui.exchange.taken import take
    from wdtui.runs.inspection import lost_points
    from wdtui.runs.store import Store

    to_stdout = output == Path("-")
    if to_stdout and (len(runs) > 1 or format not in ("csv", "json")):
        raise CommandError("--output - is for one run, as csv or json.")
    with Store(store) as opened:
        taken = [take(opened, run) for run in dict.fromkeys(runs)]
    for one in taken:
        if one.lost:
            typer.echo(f"wdtui: {lost_points(one.record, one.lost)}", err=True)
    if to_stdout:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as files are written
        FORMATS[format].write_to(taken[0], sys.stdout)
        typer.echo(f"Run {taken[0].id}: {len(taken[0]):,} points.", err=True)
        return
    for run, path in zip(taken, write(taken, format, output), strict=True):
        typer.echo(f"Run {run.id}: {len(run):,} points in {path}.")


def script(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.py", help="Where to; by default to stdout.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write a short script in plain PyTorch that trains the same, steerings included, without wdtui."""
    from wdtui.exchange.export import write_text
    from wdtui.exchange.script import script as text_of
    from wdtui.exchange.taken import take
    from wdtui.runs.store import Store

    with Store(store) as opened:
        text = text_of(take(opened, run))
    if output:
        write_text(output, text)
    else:
        typer.echo(text, nl=False)


def take_in(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="A folder with TensorBoard event files, or a rescue file.")
    ],
    store: StoreOption = None,
) -> None:
    """Take in runs that TensorBoard recorded, of the article's original code above all, as finished runs.

    A rescue file, which a run leaves whose store was lost, is read back as an interrupted run.
    """
    from wdtui.exchange.export import extra_module
    from wdtui.runs.store import Store

    if folder.is_file() and folder.suffix == ".jsonl":
        from wdtui.runs.rescue import add_rescued, read_rescue

        rescued = read_rescue(folder)
        with Store(store) as opened:
            run_id = add_rescued(opened, rescued)
        typer.echo(f"Run {run_id}: {len(rescued.points):,} points from {folder}; `wdtui resume {run_id}` trains it.")
        return
    event_files = extra_module("wdtui.exchange.event_files", "tensorboard")
    found = event_files.read(folder)
    with Store(store) as opened:
        for one in found:
            points = f"{len(one.points):,} points"
            if (before := event_files.taken_before(opened, one)) is not None:
                typer.echo(f"Run {before} has the {points} of {one.path} already; nothing was added.")
            else:
                typer.echo(f"Run {event_files.add(opened, one)}: {points} from {one.path}.")
