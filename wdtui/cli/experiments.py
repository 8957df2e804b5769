"""`wdtui experiments`: the questions that come with wdtui, and the user's own."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from wdtui.cli.fields import DeviceOption, JsonOption, StoreOption, ThreadsOption, takes_fields
from wdtui.cli.sweep import SeedsOption, WorkersOption, grid_of, train_new_sweep

app = typer.Typer(help="List, show and run experiments.", no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="An experiment's name, or the path of a TOML file.")
]


@app.command("list")
def list_experiments(json: JsonOption = False) -> None:
    """List the experiments that come with wdtui."""
    from wdtui.experiments import load, names

    for name in names():
        experiment = load(name)
        if json:
            typer.echo(json_module.dumps({"name": name, "question": experiment.question}, ensure_ascii=False))
        else:
            typer.echo(f"{name:<20} {experiment.question}")


@app.command()
def show(experiment: NameArgument, json: JsonOption = False) -> None:
    """Show an experiment: its question, where it comes from, what to look for, its configs."""
    from wdtui.experiments import load

    loaded = load(experiment)
    if json:
        import dataclasses

        typer.echo(json_module.dumps(dataclasses.asdict(loaded), ensure_ascii=False))
        return
    from rich.console import Console

    from wdtui.hyperparameters import format_value

    console = Console(highlight=False, markup=False)
    console.print(
        f"{loaded.title}\n", loaded.question, f"Source: {loaded.article}", "", loaded.look_for.strip(), sep="\n"
    )
    settings = [f"{name} {format_value(value)}" for name, value in loaded.config.items()]
    console.print(f"\nConfig: {', '.join(settings) or 'the defaults'}.")
    cells = len(loaded.cells())
    command = f"wdtui run {experiment} --headless" if cells == 1 else f"wdtui experiments run {experiment}"
    console.print(f"{'One run' if cells == 1 else f'{cells} runs'}; start with: {command}")


@app.command()
@takes_fields
def run(
    fields: dict[str, Any],
    experiment: NameArgument,
    json: JsonOption = False,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
) -> int:
    """Train all runs of an experiment as a sweep over its axes, without a screen."""
    from wdtui.experiments import load

    loaded = load(experiment)
    return train_new_sweep(
        grid_of(loaded, fields, {}, seeds),
        experiment=loaded.name,
        name="",
        device=device,
        threads=threads,
        workers=workers,
        store=store,
        json=json,
    )
