"""Tables of runs and of sweeps as lines of a terminal: as many columns as fit, with the states in colour."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from wdtui.runs.columns import RunColumns
from wdtui.store.records import RunRecord
from wdtui.support.table import GAP, AnyColumn, fitting

STYLES = {"": "", "running": "cyan", "error": "red", "muted": "dim", "faint": "dim", "success": "green"}
"""The colours of the app's theme as those of the terminal."""
_PIPED = 160
"""The width of a table that goes to a file or another program."""


def console() -> Console:
    """A console that prints text as it is, coloured on a terminal unless NO_COLOR is set."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(highlight=False, markup=False, emoji=False, width=width)


def print_table(columns: Sequence[AnyColumn], rows: Sequence[Any], needed: Mapping[AnyColumn, int]) -> None:
    """Print a heading and a line for each row, with as many columns as fit and the cells that each needs."""
    out = console()
    shown = fitting(columns, out.width, needed)
    heading = "".join(column.aligned(column.title, cells) for column, cells in shown)
    out.print(Text(heading.rstrip(), "dim"), no_wrap=True, overflow="ellipsis")
    for row in rows:
        parts = (
            (part, STYLES[tone])
            for column, cells in shown
            for part, tone in column.parts(column.cell(row, cells), column.tone(row))
        )
        line = Text.assemble(*parts)
        line.rstrip()
        out.print(line, no_wrap=True, overflow="ellipsis")


def plain_needed(columns: Iterable[AnyColumn], rows: Sequence[Any]) -> dict[AnyColumn, int]:
    """The cells that each column needs for its title and its texts."""
    return {column: max(cell_len(text) for text in (column.title, *map(column.text, rows))) + GAP for column in columns}


def print_runs(runs: Sequence[RunRecord]) -> None:
    """Print the usual columns of the app's table, the number of the run first."""
    possible = RunColumns.of(runs)
    number = dataclasses.replace(possible.all["run:id"], text=lambda run: str(run.id), rank=0)
    keys = [key for key in (*possible.usual, "run:steps/s") if key != "run:id"]
    columns = [number, *(possible.all[key] for key in keys)]
    needed = {column: max(map(column.needed, runs), default=0) for column in columns}
    print_table([column for column in columns if needed[column] or not column.optional], runs, needed)
