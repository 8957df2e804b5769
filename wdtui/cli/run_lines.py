"""Tables of runs and of sweeps as lines of a terminal: as many columns as fit, with the states in colour."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from wdtui.runs.columns import RunColumns
from wdtui.store.records import RunRecord
from wdtui.support.table import fitting

STYLES = {"": "", "running": "cyan", "error": "red", "muted": "dim", "faint": "dim", "success": "green"}
"""The colours of the app's theme as those of the terminal."""
_PIPED = 160
"""The width of a table that goes to a file or another program."""


def console() -> Console:
    """A console that prints text as it is, coloured on a terminal unless NO_COLOR is set."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(highlight=False, markup=False, emoji=False, width=width)


def print_lines(lines: Iterable[Text]) -> None:
    """Print lines that are not wrapped: what is too long for the terminal is cut."""
    out = console()
    for line in lines:
        line.rstrip()
        out.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def print_runs(runs: Sequence[RunRecord]) -> None:
    """Print a heading and a line for each run: the usual columns of the app's table, the number first."""
    possible = RunColumns.of(runs)
    number = dataclasses.replace(possible.all["run:id"], text=lambda run: str(run.id), rank=0)
    keys = [key for key in (*possible.usual, "run:steps/s") if key != "run:id"]
    columns = [number, *(possible.all[key] for key in keys)]
    needed = {column: max(map(column.needed, runs), default=0) for column in columns}
    shown = fitting([column for column in columns if needed[column] or not column.optional], console().width, needed)
    heading = "".join(column.aligned(column.title, cells) for column, cells in shown)
    print_lines([Text(heading, "dim")])
    print_lines(
        Text.assemble(
            *(
                (part, STYLES[tone])
                for column, cells in shown
                for part, tone in column.parts(column.cell(run, cells), column.tone(run))
            )
        )
        for run in runs
    )
