"""`wdtui runs export`, `runs script` and `runs import`: runs handed over to other tools, and taken in from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from wdtui.cli.fields import StoreOption

RunsArgument = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs' numbers or names.")]
FormatOption = Annotated[
    Literal["csv", "json", "parquet", "tensorboard"],
    typer.Option(help="csv: the points; the others hold config and milestones too."),
]


def export(
    runs: RunsArgument,
    format: FormatOption = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="A file, or a folder for several runs.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write all that was measured to files that other tools read."""
    from wdtui.exchange.export import export as write
    from wdtui.exchange.taken import take
    from wdtui.runs.store import Store

    with Store(store) as opened:
        taken = [take(opened, run) for run in dict.fromkeys(runs)]
    for run, path in zip(taken, write(taken, format, output), strict=True):
        typer.echo(f"Run {run.id}: {len(run):,} points in {path}.")
