"""Views of a headless sweep: a progress bar, plain lines without a terminal, or JSON lines; then a table.

A sweep of a single run ends with its curves, like a run.
"""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.console import Console
from rich.text import Text

from wdtui.analysis.summary import summary
from wdtui.analysis.sweep_table import Row, columns, label, state, written
from wdtui.cli import run_lines
from wdtui.cli.views import Bar, Unframed, print_result
from wdtui.plots.terminal.inline import share_bar
from wdtui.runs.row_texts import TONES
from wdtui.runs.sweep_words import cell_name, opening_line, progress_line, spread_text, states_text
from wdtui.runs.sweeps import Progress as SweepProgress
from wdtui.schema.hyperparameters import format_value
from wdtui.store.records import FINISHED, RunRecord, Status
from wdtui.support.table import GAP, Column
from wdtui.support.text import clean, number

if TYPE_CHECKING:
    from wdtui.store.store import Store

_PLAIN_SECONDS = 5.0
_BAR = 8
_MOST_NUMBERS = 4
"""The number of runs that are named for one combination of values."""


class SweepView(Protocol):
    """Protocol of a sweep view: `begin`, `ended` for each cell with its count, `advance` for progress, and `finish`."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: Any) -> None: ...
    def begin(self, progress: SweepProgress, seconds: float) -> None: ...
    def ended(self, progress: SweepProgress, index: int, count: int, taken_over: bool) -> None: ...
    def advance(self, progress: SweepProgress) -> None: ...
    def finish(self, progress: SweepProgress) -> None: ...


def choose_view(as_json: bool, store: Store) -> SweepView:
    if as_json:
        return JsonView(store)
    return ProgressView(store) if sys.stderr.isatty() else PlainView(store)


class Follower:
    """Reports each cell to a view once, when it ends."""

    def __init__(self, view: SweepView, estimate: Callable[[SweepProgress], float]) -> None:
        """`estimate` returns the seconds for the rest of a sweep."""
        self._view, self._estimate = view, estimate
        self._before: SweepProgress | None = None
        self._shown: set[int] = set()

    def change(self, progress: SweepProgress) -> None:
        """Update the view with the present state of the sweep."""
        before, self._before = self._before, progress
        if before is None:
            self._view.begin(progress, self._estimate(progress))
            self._show(progress, [index for index, run in enumerate(progress.runs) if _ended(run, FINISHED)], True)
            return
        pairs = zip(before.runs, progress.runs, strict=True)
        ended = (index for index, (was, run) in enumerate(pairs) if _ended(run) and not (_ended(was) and was == run))
        self._show(progress, ended)
        self._view.advance(progress)

    def finish(self, progress: SweepProgress) -> None:
        """Report the end, and cells that ended since the last change."""
        self._show(progress, (index for index, run in enumerate(progress.runs) if _ended(run)))
        self._view.finish(progress)

    def _show(self, progress: SweepProgress, indices: Any, taken_over: bool = False) -> None:
        for index in indices:
            if index not in self._shown:
                self._shown.add(index)
                self._view.ended(progress, index, len(self._shown), taken_over)


def _ended(run: RunRecord | None, states: frozenset[Status] = FINISHED | {Status.FAILED}) -> bool:
    return run is not None and run.status_text in states


class JsonView(Unframed):
    """One JSON object per line: the cells, then the summary."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, progress: SweepProgress, seconds: float) -> None:
        pass

    def ended(self, progress: SweepProgress, index: int, count: int, taken_over: bool) -> None:
        run, cell = progress.runs[index], progress.sweep.cells[index]
        assert run
        about = {"event": "cell", "sweep": progress.sweep.label, "taken_over": taken_over}
        axes = {"axes": dict(zip(progress.sweep.grid.axes, cell.values, strict=True)), "seed": cell.config.seed}
        self._write(
            summary(run.id, run.status, run.reason, self._store.curves(run.id), run.schema.judged) | about | axes
        )

    def advance(self, progress: SweepProgress) -> None:
        pass

    def finish(self, progress: SweepProgress) -> None:
        self._write({"event": "summary"} | sweep_json(progress, table=True))

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event, ensure_ascii=False, allow_nan=False), flush=True)


class PlainView(Unframed):
    """A line on stderr for each cell and every few seconds. Chart and table on stdout."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, progress: SweepProgress, seconds: float) -> None:
        self._written = time.monotonic()
        self._say(opening_line(progress, seconds))

    def ended(self, progress: SweepProgress, index: int, count: int, taken_over: bool) -> None:
        if not taken_over:
            self._say(cell_line(progress, index, count))

    def advance(self, progress: SweepProgress) -> None:
        if time.monotonic() - self._written > _PLAIN_SECONDS:
            self._say(progress_line(progress))

    def finish(self, progress: SweepProgress) -> None:
        print_sweep(progress, self._store)

    def _say(self, line: str) -> None:
        self._written = time.monotonic()
        print(line, file=sys.stderr, flush=True)


class ProgressView(Bar):
    """A progress bar below a line for each cell. Chart and table on stdout."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def begin(self, progress: SweepProgress, seconds: float) -> None:
        self._say(opening_line(progress, seconds))
        total = progress.steps + progress.steps_left
        self._task = self._progress.add_task(progress.sweep.label, total=total, state="starting PyTorch")

    def ended(self, progress: SweepProgress, index: int, count: int, taken_over: bool) -> None:
        if not taken_over:
            self._say(cell_line(progress, index, count))

    def advance(self, progress: SweepProgress) -> None:
        done, left = progress.steps, progress.steps_left
        self._progress.update(self._task, completed=done, total=done + left, state=progress_line(progress))

    def finish(self, progress: SweepProgress) -> None:
        print_sweep(progress, self._store)

    def _say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


def cell_line(progress: SweepProgress, index: int, count: int) -> str:
    """A line about a finished cell, with the number of finished cells."""
    run, cell = progress.runs[index], progress.sweep.cells[index]
    assert run
    share = f"{count:>{len(str(len(progress.runs)))}}/{len(progress.runs)}"
    schema = run.schema
    names = [name for name in columns(schema) if name in schema.metrics]
    metrics = [f"{schema.metrics[name].short} {written(schema, name, run.latest.get(name))}" for name in names]
    reason = clean(run.reason) if run.status != Status.DONE else ""
    return "  ".join([share, cell_name(progress.sweep.grid, cell), state(run), *metrics, reason]).rstrip()


def sweep_json(progress: SweepProgress, *, table: bool = False) -> dict[str, Any]:
    """A sweep as JSON types. `steps` and `seconds` are those of this call of `complete`, if there was one."""
    sweep = progress.sweep
    about = {
        "sweep": sweep.label,
        "name": sweep.name,
        "experiment": sweep.experiment,
        "created": sweep.created,
        "axes": {axis: list(values) for axis, values in sweep.grid.axes.items()},
        "seeds": list(sweep.grid.seeds),
        "cells": len(progress.runs),
        "complete": progress.complete,
        "states": dict(progress.states),
    }
    if not table:
        return about
    return about | {
        "steps": progress.steps - progress.steps_before,
        "seconds": progress.seconds,
        "steps_per_second": progress.speed,
        "interpolation_threshold": progress.table.threshold(),
        "table": progress.table.to_json(columns(progress.table.schema)),
    }


def print_sweep(progress: SweepProgress, store: Store) -> None:
    """Print a sweep's chart, if it has one or two axes, and the table of its cells, or the curves of a single run."""
    if len(progress.runs) == 1 and (run := progress.runs[0]):
        print_result(run, store.curves(run.id))
        return
    console = run_lines.console()
    if progress.table.measured and (drawn := _chart(progress, console)):
        console.print(drawn, "")
    _print_cells(progress)
    done = f"{number(progress.finished)} of {number(len(progress.runs))} runs are done"
    at = f", {number(round(progress.speed))} steps/s in total" if progress.speed else ""
    console.print(f"Sweep {progress.sweep.label}: {done}{at}.")


def print_sweeps(sweeps: Sequence[SweepProgress]) -> None:
    """Print the list of sweeps."""

    def left(progress: SweepProgress) -> int:
        return len(progress.runs) - progress.finished - progress.states["failed"]

    columns: list[Column[SweepProgress]] = [
        Column("sweep", 6, 0, lambda progress: progress.sweep.label, right=False),
        Column("name", 10, 1, lambda progress: clean(progress.sweep.name or progress.sweep.experiment), right=False,
               stretch=1),
        Column("what varies", 20, 0, lambda progress: progress.sweep.grid.title, right=False, stretch=3),
        Column("runs", 6, 2, lambda progress: number(len(progress.runs))),
        Column("progress", _BAR + GAP, 3, lambda progress: share_bar(progress.finished / len(progress.runs), _BAR),
               right=False, tone=lambda progress: "running" if left(progress) else "muted"),
        Column("done", 6, 0, lambda progress: number(progress.finished)),
        Column("failed", 8, 1, lambda progress: number(progress.states["failed"]),
               tone=lambda progress: "error" if progress.states["failed"] else "muted"),
        Column("left", 6, 1, lambda progress: number(left(progress)),
               tone=lambda progress: "running" if left(progress) else "muted"),
    ]  # fmt: skip
    run_lines.print_table(columns, sweeps, run_lines.plain_needed(columns, sweeps))


def _chart(progress: SweepProgress, console: Console) -> Text | None:
    from wdtui.plots.terminal.heatmap import heatmap
    from wdtui.plots.terminal.sweeps import curve, title

    table, ascii = progress.table, codecs.lookup(console.encoding).name != "utf-8"
    width = min(console.width, 100)
    match len(table.axes):
        case 1 if len(table.rows) > 1:
            metrics = table.schema.charts_of(())[0].several
            drawn = curve(table, width=width, height=16, metrics=metrics, ascii=ascii)
            return Text(f"{title(table.schema, table.axes, metrics)}\n").append_text(drawn)
        case 2:
            rows = len(next(iter(table.axes.values())))
            colors = console.color_system in ("256", "truecolor") and not console.no_color
            main = table.schema.charts_of(())[0].main
            return heatmap(table, main, width=width, height=rows + 2, colors=colors, ascii=ascii)
        case _:
            return None


def _print_cells(progress: SweepProgress) -> None:
    """Print what was measured of each combination of the axes' values."""
    schema = progress.table.schema
    main = schema.headline[-1] if schema.headline else ""
    cells: list[Column[Row]] = [
        Column(schema.symbol(axis), 5, 0, partial(_axis, place)) for place, axis in enumerate(progress.sweep.grid.axes)
    ]
    cells.append(Column("runs", 6, 9, _numbers, right=False))
    cells.append(Column("state", 7, 1, states_text, right=False, tone=_tone))
    for place, name in enumerate(columns(schema)):
        metric = schema.metrics.get(name)
        head = metric.short if metric else label(schema, name)
        cells.append(Column(head, 6, 0 if name == main else 2 + place, partial(spread_text, schema, name=name)))
        if name == main and metric and metric.share:
            cells.append(
                Column(f"{head} bar", _BAR + GAP, 2, partial(_bar, name), right=False, tone=lambda row: "muted")
            )
    rows = progress.table.rows
    run_lines.print_table(cells, rows, run_lines.plain_needed(cells, rows))


def _axis(place: int, row: Row) -> str:
    return format_value(row.values[place])


def _numbers(row: Row) -> str:
    numbers = [str(run.id) for run in row.runs if isinstance(run, RunRecord)]
    return ",".join(numbers[:_MOST_NUMBERS]) + ("…" if len(numbers) > _MOST_NUMBERS else "")


def _bar(name: str, row: Row) -> str:
    spread = row.so_far(name)
    return share_bar(spread.median, _BAR) if spread else ""


def _tone(row: Row) -> str:
    """The colour of the state that matters most: one that trains, then one that failed."""
    tones = {TONES.get(Status(state), "") if state in {*Status} else "muted" for state in row.states}
    return next((tone for tone in ("running", "error", "muted") if tone in tones), "")
