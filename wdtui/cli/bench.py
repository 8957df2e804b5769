"""`wdtui bench`: how fast this engine is here, beside the plain way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import JsonOption


def bench(
    widths: Annotated[str, typer.Option(metavar="N,…", help="Widths to measure.")] = "64,256",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=3, help="Epochs of each contestant; the median counts.")] = 15,
    output: Annotated[Path | None, typer.Option(help="File for the results as JSON.")] = None,
    json: JsonOption = False,
) -> None:
    """Measure this engine against a plain nn.Module loop and the matrix products alone, side by side."""
    import json as json_module

    if output:
        _check_writable(output)
    from wdtui.bench.engine import compare, machine
    from wdtui.config import FIELDS

    measured = [
        compare(FIELDS["width"].parse(width), threads, rounds)  # type: ignore[arg-type]
        for width in widths.split(",")
    ]
    about = machine(threads)
    result = {"machine": about, "widths": measured}
    if output:
        output.write_text(json_module.dumps(result, indent=2))
    if json:
        typer.echo(json_module.dumps(result))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in about.items()))
    for row in measured:
        typer.echo(f"\nwidth {row['width']}")
        for name, contestant in row["contestants"].items():
            speed, spread = contestant["steps_per_second"], contestant["spread"]
            typer.echo(
                f"  {name:<34} {speed:>8,.0f} steps/s  ± {spread:4.0%}   {contestant['ratio']:5.2f} × the plain loop"
            )
        typer.echo(f"  all metrics cost {row['metrics_cost']:.1%} of the training time")


def _check_writable(path: Path) -> None:
    """Raise CommandError before anything is measured in vain."""
    try:
        path.touch()
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
