"""What the line below the charts says: the legend, and the values of runs at the cursor. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from wdtui.analysis.axes import AXES
from wdtui.analysis.sweep_table import written
from wdtui.schema.chart import Chart
from wdtui.support.text import number
from wdtui.tui.subjects import Subject, positions, seed_groups, value_at
from wdtui.tui.view import View


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


def comparison(charts: Sequence[Chart], subjects: Sequence[Subject], view: View, width: int) -> Text:
    """The values of several runs at the cursor: a line for each run, with differences from the first that has a value.

    Of the charts, those are in it that fit into `width` columns of the terminal.
    """
    schema = subjects[0].shown.run.schema
    mains = {chart.several[-1]: chart for chart in charts if chart.several[-1] and not chart.x}
    heads = [place_text(view), *(chart.title for chart in mains.values())]
    rows = [[subject.label for subject in subjects]]
    for metric in mains:
        values = [_within(subject, metric, view) for subject in subjects]
        first = next((value for value in values if value is not None and math.isfinite(value)), None)
        texts = []
        for value in values:
            difference = ""
            if value is not first and value is not None and first is not None and math.isfinite(value - first):
                difference = f" ({'+' if value >= first else '−'}{written(schema, metric, abs(value - first))})"
            texts.append(written(schema, metric, value) + difference)
        rows.append(texts)
    widths = [max(map(len, [head, *column])) for head, column in zip(heads, rows, strict=True)]
    while len(widths) > 2 and 4 + sum(widths) + 3 * (len(widths) - 1) > width:
        del widths[-1], heads[-1], rows[-1]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"    {heads[0].ljust(widths[0])}", "bold")
    text.append("".join(f"   {head.rjust(width)}" for head, width in zip(heads[1:], widths[1:], strict=True)))
    for index, subject in enumerate(subjects):
        identity = subject.identity
        text.append(f"\n─{identity.marker or '─'}─ ", identity.color).append(rows[0][index].ljust(widths[0]))
        text.append(
            "".join(f"   {column[index].rjust(width)}" for column, width in zip(rows[1:], widths[1:], strict=True))
        )
    return text


def _within(subject: Subject, metric: str, view: View) -> float | None:
    """The value at the cursor; None beyond the end of the run."""
    reached = positions(subject, view)
    return value_at(subject, metric, view) if len(reached) and (view.cursor or 0.0) <= reached[-1] else None
