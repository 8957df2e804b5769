"""`wdtui runs export`, `runs script` and `runs import`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from wdtui.cli.errors import BAD_INPUT, FAILED, CommandError
from wdtui.cli.fields import ForceOption, StoreOption
from wdtui.cli.runs import RunArgument, RunsArgument
from wdtui.support.text import clean

FormatOption = Annotated[
    Literal["csv", "json", "parquet", "tensorboard"] | None,
    typer.Option(
        help=(
            "csv has the points only; the others also have config and "
            "milestones. By default the format of --output's name, or csv."
        ),
        show_default=False,
    ),
]


def export(
    runs: RunsArgument,
    format: FormatOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="A file, or a folder if there are several runs; - for stdout."
        ),
    ] = None,
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Export all metrics of runs to files for other tools."""
    from wdtui.exchange.export import FORMATS, format_of
    from wdtui.exchange.export import export as write
    from wdtui.exchange.exported import stream
    from wdtui.runs.inspection import lost_points
    from wdtui.store.store import Store

    to_stdout, chosen = output == Path("-"), format or format_of(output)
    if to_stdout and (len(runs) > 1 or chosen not in ("csv", "json")):
        raise CommandError("--output - works for one run, as csv or json.")
    with Store(store) as opened:
        chosen_runs = [stream(opened, number) for number in dict.fromkeys(opened.find(run).id for run in runs)]
        for run in chosen_runs:
            if run.lost:
                typer.echo(f"wdtui: {lost_points(run.record, run.lost)}", err=True)
        if to_stdout:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")  # as files are
            (run,) = chosen_runs
            FORMATS[chosen].write_to(run, sys.stdout)
            typer.echo(f"Run {run.id}: {len(run):,} points.", err=True)
            return
        paths = write(chosen_runs, chosen, output, force=force)
    for run, path in zip(chosen_runs, paths, strict=True):
        typer.echo(f"Run {run.id}: {len(run):,} points in {clean(str(path))}.")


def script(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.py", help="Output file; by default stdout.")
    ] = None,
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Write a short script in plain PyTorch that repeats the run, including steering, without wdtui."""
    from wdtui.exchange.exported import stream
    from wdtui.exchange.script import script as text_of
    from wdtui.store.store import Store
    from wdtui.support.outputs import write_text

    with Store(store) as opened:
        text = text_of(stream(opened, run))
    if output:
        write_text(output, text, force=force)
    else:
        typer.echo(text, nl=False)


def import_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE", help="A folder with TensorBoard event files, or a rescue file.")
    ],
    store: StoreOption = None,
) -> int:
    """Import runs from TensorBoard event files, for example of the article's original code, as finished runs.

    A rescue file, which a run writes if its store was lost, is imported as an interrupted run.
    """
    from wdtui.exchange.export import extra_module
    from wdtui.store.store import Store

    if folder.is_file() and folder.suffix == ".jsonl":
        from wdtui.store.rescue import add_rescued, read_rescue

        rescued = read_rescue(folder)
        with Store(store) as opened:
            run = opened.run(add_rescued(opened, rescued))
        points, path = f"{len(rescued.points):,} points", clean(str(folder))
        typer.echo(f"Run {run.id}: {points} from {path}. {run.reason}")
        return 0
    event_files = extra_module("wdtui.exchange.event_files", "tensorboard")
    found, refused = event_files.read(folder)
    if found:
        with Store(store) as opened:
            for recorded in found:
                points, path = f"{len(recorded.points):,} points", clean(str(recorded.path))
                if (before := event_files.imported_before(opened, recorded)) is not None:
                    typer.echo(f"Run {before} has the {points} of {path} already; nothing was imported.")
                else:
                    typer.echo(f"Run {event_files.add(opened, recorded)}: {points} from {path}.")
                for remark in recorded.remarks:
                    typer.echo(f"wdtui: {path}: {clean(remark)}", err=True)
    for reason in refused:
        typer.echo(f"wdtui: {clean(reason)}", err=True)
    return (FAILED if found else BAD_INPUT) if refused else 0
