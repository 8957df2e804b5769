"""Entry point of the command line: its commands, and the mapping from errors to messages and exit statuses.

Only typer is imported here. Each command imports what it needs when it is called, so `--help` is fast.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
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
from wdtui.cli.errors import BAD_INPUT, FAILED, INTERRUPTED, CommandError, sentence
from wdtui.cli.fields import FieldsCommand, FpsOption, MouseOption
from wdtui.problems import registry
from wdtui.support.errors import TrainingError, WdtuiError
from wdtui.support.third_party import NoArgsIsHelpError

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
        from wdtui import settings
        from wdtui.tui import Opening, open_app

        opening = None
        if problem:
            registry.find(problem)  # what is wrong with it is said before anything is drawn
            opening = Opening(problem=problem)
        device = device or settings.read().value("device")
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


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0, or one of `cli.errors`."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show λ shows ? instead
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:  # refuse before anything is started whose output would be lost
        typer.echo("wdtui: Standard output is closed; send it to a file, or to /dev/null.", err=True)
        return FAILED
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        result = typer.main.get_command(app).main(given, prog_name="wdtui", standalone_mode=False)
    except Exception as error:
        if debug:
            traceback.print_exc()
        return report(error)
    except KeyboardInterrupt:
        return report(KeyboardInterrupt("Interrupted."), INTERRUPTED)
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # click turns it into an exit
            return report(exit_.__context__)
        raise
    finally:
        _say_notices()
    return result if isinstance(result, int) else 0


def _say_notices() -> None:
    """Print and clear the store's notices, if a store was opened."""
    if database := sys.modules.get("wdtui.store.database"):
        while database.notices:
            typer.echo(f"wdtui: {database.notices.pop(0)}", err=True)


def report(error: BaseException, status: int | None = None) -> int:
    """Print an error as one sentence on stderr and return its exit status."""
    if isinstance(error, (typer.Exit, typer.Abort)):
        return getattr(error, "exit_code", INTERRUPTED)
    if isinstance(error, NoArgsIsHelpError):
        typer.echo(error.message, err=True)
        return BAD_INPUT
    if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    typer.echo(f"wdtui: {sentence(error)}", err=True)
    bad_input = isinstance(error, (typer.TyperException, WdtuiError)) and not isinstance(error, TrainingError)
    return status or (BAD_INPUT if bad_input else FAILED)
