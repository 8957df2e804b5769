"""The command line: all its commands.

Only typer is imported here. Each command imports what it needs when it is called, so `--help` is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from wdtui.cli import (
    bench,
    commands,
    config,
    decay,
    declared,
    doctor,
    examples,
    exchange,
    experiments,
    forks,
    plot,
    run,
    runs,
    sweep,
    sweeps,
    watch,
)  # fmt: skip
from wdtui.cli import (
    store as store_commands,
)
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import FieldsCommand, FpsOption, MouseOption
from wdtui.problems import registry

_HELP_COLUMNS = 120
"""The maximum width of help in a wide terminal."""

app = typer.Typer(
    name="wdtui",
    epilog=examples.epilog(""),
    no_args_is_help=False,
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_COLUMNS},
)
app.command(cls=FieldsCommand)(run.run)
app.command(cls=FieldsCommand)(sweep.sweep)
app.command()(declared.new)
app.command(cls=FieldsCommand)(declared.check)
app.add_typer(experiments.app, name="experiments")
runs.app.command()(decay.decay)
runs.app.command()(exchange.export)
runs.app.command()(exchange.script)
runs.app.command("import")(exchange.import_runs)
app.add_typer(runs.app, name="runs")
app.add_typer(sweeps.app, name="sweeps")
app.add_typer(config.app, name="config")
app.add_typer(store_commands.app, name="store")
_COMMANDS: tuple[Callable[..., Any], ...] = (
    watch.watch, commands.resume, commands.pause, commands.checkpoint, commands.stop, commands.steer,
    forks.fork, forks.replay, plot.plot, bench.bench,
    doctor.doctor,
)  # fmt: skip
for command in _COMMANDS:
    app.command()(command)
examples.add_examples(app)


_TRAINING = ("run", "sweep", "experiments")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    store: Annotated[Path | None, typer.Option(help="Folder of the run store; also $WDTUI_HOME.")] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", help="Device that the app trains on.")
    ] = "",
    fps: FpsOption = None,
    mouse: MouseOption = None,
    problem: Annotated[
        str, typer.Option(metavar="FILE.py", help="A file that declares a problem, to show its form in the app.")
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> int:
    """A terminal workbench for the effects of weight decay. Without a command it opens the app."""
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"wdtui {installed_version('wdtui')}")
    elif context.invoked_subcommand is None:
        from wdtui.tui import Opening, open_app

        opening = None
        if problem:
            registry.find(problem)  # what is wrong with it is said before anything is drawn
            opening = Opening(problem=problem)
        return open_app(store, device=device, opening=opening, fps=fps, mouse=mouse)
    elif problem:
        raise CommandError(f"--problem is for the app. Give the file to the command: wdtui run {problem}")
    elif device or (fps, mouse) != (None, None):
        raise CommandError(f"Give --device, --fps and --mouse after the command: wdtui {context.invoked_subcommand} …")
    elif context.invoked_subcommand in _TRAINING:
        context.default_map = _defaults()
    return 0


def _defaults() -> dict[str, Any]:
    """The defaults from the settings for the flags of commands that start new runs."""
    from wdtui import settings

    read = settings.read()
    given = {name: value for name in ("device", "threads") if (value := read.given(name)) is not None}
    return {"run": given, "sweep": given, "experiments": {"run": given, "verify": given}}
