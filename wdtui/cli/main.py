"""Entry point: runs a command line, and maps errors to messages and exit statuses.

Without arguments it opens the app, whose first frame does not wait for the import of the commands.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from functools import cache
from typing import Any

from wdtui.support.errors import TrainingError, WdtuiError

_COMPLETING = "_WDTUI_COMPLETE"
"""The variable with which a shell asks for completions, without arguments."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status: 0, or one of `cli.errors`."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show λ shows ? instead
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:  # refuse before anything is started whose output would be lost
        print("wdtui: Standard output is closed; send it to a file, or to /dev/null.", file=sys.stderr)
        from wdtui.cli.errors import FAILED

        return FAILED
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        return _run(given) if given or _COMPLETING in os.environ else _open_app()
    except Exception as error:
        if debug:
            traceback.print_exc()
        return report(error)
    except KeyboardInterrupt:
        from wdtui.cli.errors import INTERRUPTED

        return report(KeyboardInterrupt("Interrupted."), INTERRUPTED)
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # click turns it into an exit
            return report(exit_.__context__)
        raise
    finally:
        _say_notices()


def _run(given: list[str]) -> int:
    result = all_commands().main(given, prog_name="wdtui", standalone_mode=False)
    return result if isinstance(result, int) else 0


@cache
def all_commands() -> Any:
    """All commands with all their flags, made once in a process."""
    import typer

    from wdtui.cli.root import app

    return typer.main.get_command(app)


def _open_app() -> int:
    from wdtui.tui import open_app

    return open_app(None)


def _say_notices() -> None:
    """Print and clear the store's notices, if a store was opened."""
    if database := sys.modules.get("wdtui.store.database"):
        while database.notices:
            print(f"wdtui: {database.notices.pop(0)}", file=sys.stderr)


def report(error: BaseException, status: int | None = None) -> int:
    """Print an error as one sentence on stderr and return its exit status."""
    import typer

    from wdtui.cli.errors import BAD_INPUT, FAILED, INTERRUPTED, sentence
    from wdtui.support.third_party import NoArgsIsHelpError

    if isinstance(error, (typer.Exit, typer.Abort)):
        return getattr(error, "exit_code", INTERRUPTED)
    if isinstance(error, NoArgsIsHelpError):
        print(error.message, file=sys.stderr)
        return BAD_INPUT
    if isinstance(error, BrokenPipeError):  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    print(f"wdtui: {sentence(error)}", file=sys.stderr)
    bad_input = isinstance(error, (typer.TyperException, WdtuiError)) and not isinstance(error, TrainingError)
    return status or (BAD_INPUT if bad_input else FAILED)
