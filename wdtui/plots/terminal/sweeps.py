"""The chart of a sweep over one axis: metrics over its values. A pure function from a table to text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.text import Text

from wdtui.analysis.sweep_table import Table, label
from wdtui.plots.terminal import RUN_COLORS, RUN_MARKERS, TONES, Mark, Series, draw, scaled
from wdtui.plots.terminal.heatmap import is_share
from wdtui.schema.hyperparameters import Value
from wdtui.schema.schema import Schema
from wdtui.studies.grid import coarse_to_fine


def curve(
    table: Table,
    *,
    width: int,
    height: int,
    metrics: Sequence[str],
    selected: int | None = None,
    ascii: bool = False,
) -> Text:
    """Metrics over the values of a table's only axis, as exactly `height` lines of `width` cells.

    Lines join the medians, bars span the minimum and maximum over seeds. Values without a finished run have a separate
    line through the newest points. On a logarithmic axis 0 is at the left edge. The interpolation threshold is marked.
    `selected` is the index of a value to point at.
    """
    (axis, values), *_ = table.axes.items()
    written = table.schema.field(axis).written
    positions = axis_positions(table.schema, axis, values)
    placed = dict(zip(values, positions, strict=True))
    series = [
        line
        for index, metric in enumerate(metrics)
        for line in _series(table, metric, placed, RUN_MARKERS[index % len(RUN_MARKERS)])
    ]
    threshold = table.threshold()
    marks = []
    if threshold is not None:
        marks.append(Mark(positions[values.index(threshold)], f"interpolation threshold {written(threshold)}"))
    margin = (max(positions) - min(positions)) * 0.02 or 1.0
    shares = all(is_share(table.schema, metric) for metric in metrics)
    return draw(
        series,
        width=width,
        height=height,
        x_range=(min(positions) - margin, max(positions) + margin),
        y_range=(0, 1) if shares else None,
        y_log=_log_metrics(table.schema, metrics),
        marks=marks,
        cursor=None if selected is None else positions[selected],
        ascii=ascii,
        x_ticks=[(positions[index], written(values[index])) for index in coarse_to_fine(len(values))],
    )


def title(schema: Schema, axes: Mapping[str, Sequence[Value]], metrics: Sequence[str]) -> str:
    """The title of a curve of these metrics over the first axis, which says what is logarithmic."""
    (axis, values), *_ = axes.items()
    families = {found[0].title if (found := schema.trace(metric)) else metric for metric in metrics}
    shown = (
        families.pop() if len(metrics) > len(families) == 1 else ", ".join(label(schema, metric) for metric in metrics)
    )
    over = scaled(schema.symbol(axis), log=on_log_axis(schema, axis, values))
    return f"{scaled(shown, log=_log_metrics(schema, metrics))} over {over}"


def _log_metrics(schema: Schema, metrics: Sequence[str]) -> bool:
    return all(metric in schema.metrics and schema.metrics[metric].log for metric in metrics)


def on_log_axis(schema: Schema, axis: str, values: Sequence[Value]) -> bool:
    """Whether values are positioned by their logarithm on their axis."""
    numbers = not any(isinstance(value, (bool, str, tuple)) or value is None for value in values)
    return numbers and schema.field(axis).sweep == "log" and any(value > 0 for value in values)  # type: ignore[operator]


def axis_positions(schema: Schema, axis: str, values: Sequence[Value]) -> list[float]:
    """Positions of values on their axis: by logarithm, by value, or equally spaced if they are not numbers."""
    if any(isinstance(value, (bool, str, tuple)) or value is None for value in values):
        return list(map(float, range(len(values))))
    sizes = [float(value) for value in values]  # type: ignore[arg-type]
    if not on_log_axis(schema, axis, values):
        return sizes
    logs = [math.log10(size) for size in sizes if size > 0]
    gap = max((max(logs) - min(logs)) / 8, 0.3)
    return [math.log10(size) if size > 0 else min(logs) - gap for size in sizes]


def _series(table: Table, metric: str, positions: dict[Value, float], marker: str) -> list[Series]:
    """The bars and lines of one metric: of the values that are final, and of those that are not."""
    found, name = table.schema.trace(metric), label(table.schema, metric)
    color = TONES[found[1].tone] if found else RUN_COLORS[2]
    bars, lines = [], []
    for finished, text in ((False, f"{name} so far"), (True, name)):
        rows = [row for row in table.rows if row.finished == finished]
        spreads = [(positions[row.values[0]], spread) for row in rows if (spread := row.so_far(metric))]
        bars += [
            Series("", np.full(2, x), [spread.low, spread.high], color)
            for x, spread in spreads
            if spread.low < spread.high
        ]
        if spreads or finished:
            lines.append(Series(text, [x for x, _ in spreads], [spread.median for _, spread in spreads], color, marker))
    return [*bars, *lines]
