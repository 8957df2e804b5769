"""`wdtui new` and `wdtui check`: a file to begin with, and whether it resumes to the same bits."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from wdtui.cli.errors import INEXACT, CommandError
from wdtui.cli.fields import DeviceOption, FileArgument, ForceOption, JsonOption, takes_fields
from wdtui.problems import registry


def new(
    path: Annotated[Path, typer.Argument(metavar="FILE.py", help="The file to write.", show_default=False)],
    force: ForceOption = False,
) -> None:
    """Write a file that declares a problem, as a working example to change."""
    from wdtui.support.outputs import write_text

    if path.suffix != ".py":
        raise CommandError(f"{path}: give a file whose name ends in .py.")
    write_text(path, files("wdtui.problems").joinpath("template.txt").read_text(encoding="utf-8"), force=force)
    typer.echo(f"Wrote {path}. `wdtui --problem {path}` shows its form, `wdtui run {path} --headless` trains it.")


@takes_fields
def check(
    fields: dict[str, Any], experiment: FileArgument, device: DeviceOption = "auto", json: JsonOption = False
) -> int:
    """Check that a problem's file resumes to the same bits: train, save, restore in another process, train, compare."""
    from json import dumps

    from wdtui.problems.declared import DeclaredConfig
    from wdtui.studies.experiments import load
    from wdtui.training.devices import resolve_device
    from wdtui.training.exactness import check as check_exactness

    if not registry.is_file(experiment):
        raise CommandError(f"{experiment} is not a file. Built-in problems resume exactly, which the tests check.")
    config = load(experiment).base(fields)
    assert isinstance(config, DeclaredConfig)
    found = check_exactness(config, resolve_device(device))
    if json:
        print(dumps(dataclasses.asdict(found) | {"exact": found.exact}))
    else:
        typer.echo(found.sentence)
    return 0 if found.exact else INEXACT
