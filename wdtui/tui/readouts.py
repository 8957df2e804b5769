"""What the line below the charts says: the legend, and the values of runs at the cursor. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from wdtui.analysis.axes import AXES
from wdtui.analysis.sweep_table import written
from wdtui.schema.chart import Chart
from wdtui.schema.schema import Schema
from wdtui.support.table import omitting
from wdtui.support.text import number
from wdtui.tui.subjects import Subject, positions, seed_groups, value_at
from wdtui.tui.view import View

_BETWEEN, _MARK = "   ", 4
"""The blanks between two values, and the number of cells of a run's marker."""
_MOST_LINES = 3


def legend(subjects: Sequence[Subject], view: View) -> Text:
    """The colour, marker and name of each of several runs, or of each band of seeds, on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    groups = seed_groups(subjects, view)
    first_of = {id(group[0]): group for group in groups}
    others = {id(subject) for group in groups for subject in group[1:]}
    for subject in subjects:
        if id(subject) in others:
            continue
        identity, group = subject.identity, first_of.get(id(subject))
        text.append("   " if text else "").append(f"─{identity.marker or '─'}─ ", identity.color)
        text.append(f"{_without_seeds(subject)}: median and range of {len(group)} seeds" if group else subject.label)
    return text


def _without_seeds(subject: Subject) -> str:
    """What a band is of, as 'λ0.3 ε0.01 H256'."""
    run = subject.shown.run
    named = {symbol: name for symbol, name in run.schema.main.items() if name not in run.schema.seeds}
    return " ".join(symbol + run.written(name) for symbol, name in named.items())


def place_text(view: View) -> str:
    """Where the cursor is, as 'step 9,360'."""
    place = view.cursor or 0.0
    return f"step {number(int(place))}" if view.axis == "step" else f"{AXES[view.axis].label} {number(place)}"


def readout(metric: str, subjects: Sequence[Subject], view: View, width: int) -> Text:
    """The values of a metric of several runs at the cursor, in as few lines of `width` columns as they need.

    What does not fit into _MOST_LINES is counted.
    """
    schema = subjects[0].shown.run.schema
    text = Text().append(place_text(view), "bold").append(f"{_BETWEEN}{schema.written_column(metric)}")
    used, lines = text.cell_len, 1
    for place, subject in enumerate(subjects):
        value = written(schema, metric, _within(subject, metric, view))
        entry = _named(subject).append(f" {value}", "bold")
        used += len(_BETWEEN) + entry.cell_len
        if used > width and lines == _MOST_LINES:
            return text.append(f"{_BETWEEN}+{len(subjects) - place}")
        if used > width:
            text.append("\n")
            used, lines = entry.cell_len, lines + 1
        else:
            text.append(_BETWEEN)
        text.append_text(entry)
    return text


def comparison(charts: Sequence[Chart], subjects: Sequence[Subject], view: View, width: int) -> Text:
    """The values of several runs at the cursor: a line for each run, with differences from the first that has a value.

    Of the charts, those are in it that fit into `width` columns of the terminal.
    """
    schema = subjects[0].shown.run.schema
    names = [place_text(view), *(subject.label for subject in subjects)]
    longest = max(map(len, names))
    metrics = dict.fromkeys(chart.several[-1] for chart in charts if chart.several[-1] and not chart.x)
    blocks = [_values(schema, metric, subjects, view) for metric in metrics]
    cells = {place: len("".join(block[0])) for place, block in enumerate(blocks)}
    shown = omitting(cells, width - _MARK - longest, rank=lambda place: place)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" " * _MARK).append(names[0].ljust(longest), "bold")
    text.append("".join(blocks[place][0] for place in shown))
    for index, subject in enumerate(subjects, 1):
        text.append("\n").append_text(_named(subject, longest))
        text.append("".join(blocks[place][index] for place in shown))
    return text


def _values(schema: Schema, metric: str, subjects: Sequence[Subject], view: View) -> list[str]:
    """The lines of a metric in the comparison, of one width: its heads, and of each run its value and difference."""
    values = [_within(subject, metric, view) for subject in subjects]
    known = [value for value in values if value is not None and math.isfinite(value)]
    texts = [schema.written_column(metric), *(written(schema, metric, value) for value in values)]
    differences = ["difference", *(_difference(schema, metric, value, known) for value in values)]
    columns = (texts, differences) if len(known) > 1 else (texts,)
    widths = [len(_BETWEEN) + max(map(len, column)) for column in columns]
    return [
        "".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]


def _difference(schema: Schema, metric: str, value: float | None, known: Sequence[float]) -> str:
    """The difference from the first value that is known, of shares in points; "reference" for that value itself."""
    if value is None or not math.isfinite(value):
        return ""
    if value is known[0]:
        return "reference"
    text = written(schema, metric, abs(value - known[0])).replace(" %", " points")
    return f"{'+' if value >= known[0] else '−'}{text}"


def _named(subject: Subject, cells: int = 0) -> Text:
    """The marker and the name of a run."""
    identity = subject.identity
    return Text().append(f"─{identity.marker or '─'}─ ", identity.color).append(subject.label.ljust(cells))


def _within(subject: Subject, metric: str, view: View) -> float | None:
    """The value at the cursor; None beyond the end of the run."""
    reached = positions(subject, view)
    return value_at(subject, metric, view) if len(reached) and (view.cursor or 0.0) <= reached[-1] else None
