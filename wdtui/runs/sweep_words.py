"""Texts about sweeps, shared by the command line and the app."""

from __future__ import annotations

import math

from wdtui.analysis.sweep_table import Row, written
from wdtui.runs.sweeps import Progress
from wdtui.schema.hyperparameters import Value, format_value
from wdtui.schema.schema import Schema
from wdtui.studies.grid import Cell, Grid
from wdtui.support.table import GAP, omitting
from wdtui.support.text import NOTHING, duration, number


def opening_line(progress: Progress, seconds: float) -> str:
    """A line about the runs that will be trained."""
    already = f", {number(progress.finished)} of them already trained" if progress.finished else ""
    steps = f"; {number(progress.steps_left)} steps, about {duration(seconds)}" if not progress.complete else ""
    return f"Sweep {progress.sweep.label}: {progress.sweep.grid.title}: {counted(len(progress.runs))}{already}{steps}."


def counted(runs: int) -> str:
    return f"{number(runs)} runs" if runs != 1 else "1 run"


_STATES = {
    "running": 3, "paused": 3, "failed": 2, "diverged": 2, "steered": 5, "interrupted": 4, "stopped": 4, "missing": 4
}  # fmt: skip
"""The states that a line about a sweep counts, with the rank of each."""


def progress_line(progress: Progress, width: float = math.inf) -> str:
    """A line about the progress of a sweep. Without room for all its parts, those with the highest rank are omitted."""
    states, speed = progress.states, progress.speed
    parts = {f"{number(progress.finished)}/{number(len(progress.runs))} runs done": 0}
    parts |= {f"{number(states[state])} {state}": rank for state, rank in _STATES.items() if states[state]}
    parts |= {f"{number(round(speed))} steps/s": 6, f"{duration(progress.seconds_left)} left": 1} if speed else {}
    shown = omitting({part: len(part) + GAP for part in parts}, width + GAP, rank=parts.__getitem__)
    return (" " * GAP).join(shown)


def cell_name(grid: Grid, cell: Cell) -> str:
    """What tells a run from the others of its sweep, e.g. 'λ 0.1, seed 3'."""
    named = values_name(grid, cell.values)
    return ", ".join(filter(None, [named, f"seed {cell.config.seed}" if len(grid.seeds) > 1 or not named else ""]))


def values_name(grid: Grid, values: tuple[Value, ...]) -> str:
    """One combination of the axes' values, e.g. 'λ 0.1, H 64'."""
    symbol = grid.base.schema().symbol
    return ", ".join(f"{symbol(axis)} {format_value(value)}" for axis, value in zip(grid.axes, values, strict=True))


def states_text(row: Row) -> str:
    """The state that all runs of a row share, or how many are in each."""
    states = row.states
    return next(iter(states)) if len(states) == 1 else ", ".join(f"{count} {state}" for state, count in states.items())


def spread_text(schema: Schema, row: Row, name: str) -> str:
    """A median with its range and, where not all runs have the quantity, how many do; – where none has.

    Before the first run has finished they are of the newest points.
    """
    spread = row.so_far(name)
    if spread is None:
        return NOTHING
    text, low, high = (written(schema, name, value) for value in (spread.median, spread.low, spread.high))
    notes = [f"{low.removesuffix(' %')}–{high}"] if low != high else []
    notes += [f"{spread.count} of {len(row.runs)}"] if spread.count < len(row.runs) else []
    return f"{text} ({', '.join(notes)})" if notes else text
