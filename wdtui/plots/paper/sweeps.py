"""Results of sweeps: curves over one axis with the range over seeds, and maps over two axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wdtui.analysis.sweep_table import Row, Table
from wdtui.plots.paper.style import (
    INK,
    SMALL,
    TONE_STYLES,
    WIDTH,
    drawn,
    look,
    measure_axis,
    name_lines,
    stacked,
    titled,
    value_title,
    wording,
    write_marks,
)
from wdtui.plots.terminal import RUN_COLORS, TONES, scaled
from wdtui.plots.terminal.sweeps import axis_positions, on_log_axis
from wdtui.schema.hyperparameters import Value
from wdtui.schema.schema import Schema
from wdtui.studies.grid import coarse_to_fine
from wdtui.support.text import NOTHING, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"
_Line = tuple[Table, str, str, tuple[str, Any, str]]
"""A table over one axis, the quantity, the line's name, and its colour, style and marker."""


@drawn
def curve(table: Table, metrics: Sequence[str], title: str = "") -> Figure:
    """Quantities over the only axis of a table. Those that share a chart of a run, such as accuracies, share a panel.

    Lines join the medians over seeds, bands span the minimum and maximum. On a logarithmic axis 0 is at the left, after
    a break. The interpolation threshold is marked.
    """
    groups: dict[str, list[str]] = {}
    for name in metrics:
        found = table.schema.trace(name)
        groups.setdefault(found[0].name if found else name, []).append(name)
    lines = [
        [(table, name, _short(table.schema, name, names), _look(table.schema, name)) for name in names]
        for names in groups.values()
    ]
    return _panels(table, [(names, own) for names, own in zip(groups.values(), lines, strict=True)], title)


@drawn
def family(table: Table, along: str, metrics: Sequence[str]) -> Figure:
    """Quantities of a table with two axes over one of them, one per panel, with a line for each value of the other."""
    (other,) = (axis for axis in table.axes if axis != along)
    tables = [(value, table.at({other: value})) for value in table.axes[other]]
    symbol, written = table.schema.symbol(other), table.schema.field(other).written
    panels = []
    for metric in metrics:
        lines = [
            (part, metric, f"{symbol} {written(value)}", (*look(index), _MARKERS[index % len(_MARKERS)]))
            for index, (value, part) in enumerate(tables)
        ]
        panels.append(([metric], lines))
    return _panels(tables[0][1], panels)


@drawn
def heatmap(table: Table, metrics: Sequence[str], title: str = "") -> Figure:
    """Maps of quantities over a table's two axes, the first down, the second across. Cells show medians."""
    schema, ((down, rows), (across, columns)) = table.schema, table.axes.items()
    width = min(max(WIDTH, 0.5 * len(columns) + 1.2), 0.9 * len(columns) + 3)
    figure, panels = stacked([max(0.3 * len(rows) + 0.8, 1.4)] * len(metrics), width=width, shared=False)
    for metric, axes in zip(metrics, panels, strict=True):
        _map(axes, table, metric)
        axes.set_yticks(range(len(rows)), list(map(schema.field(down).written, rows)))
        axes.set_xticks(range(len(columns)), list(map(schema.field(across).written, columns)))
        axes.set_ylabel(axis_name(schema, down))
        axes.set_title(f"{wording(schema, metric)}, median over seeds", loc="left", fontsize=9)
        axes.set_xlabel(axis_name(schema, across))
    titled(figure, title)
    return figure


def axis_name(schema: Schema, axis: str) -> str:
    """The label of an axis, with its symbol and unit."""
    field = schema.field(axis)
    unit = f" ({field.unit})" if field.unit else ""
    return f"{field.label} {field.symbol}{unit}".strip()


def _short(schema: Schema, name: str, group: Sequence[str]) -> str:
    """The label of a line in its panel; empty if it is the only one."""
    found = schema.trace(name)
    return (found[1].label if found else wording(schema, name)) if len(group) > 1 else ""


def _look(schema: Schema, name: str) -> tuple[str, Any, str]:
    found = schema.trace(name)
    if found is None:
        return RUN_COLORS[0], "-", "o"
    tone = found[1].tone
    return TONES[tone], TONE_STYLES[tone], "s" if tone == "test" else "o"


# Curves over one axis


def _panels(table: Table, panels: Sequence[tuple[Sequence[str], list[_Line]]], title: str = "") -> Figure:
    (axis, values), *_ = table.axes.items()
    positions = dict(zip(values, axis_positions(table.schema, axis, values), strict=True))
    figure, axes = stacked([2.6 if len(panels) == 1 else 2.1] * len(panels))
    margin = (max(positions.values()) - min(positions.values())) * 0.03 or 0.5
    axes[0].set_xlim(min(positions.values()) - margin, max(positions.values()) + margin)
    for panel, (names, lines) in zip(axes, panels, strict=True):
        ends = [(end, line[2], line[3][0]) for line in lines for end in _line(panel, line, positions)]
        measure_axis(panel, table.schema, names)
        panel.set_ylabel(value_title(panel, _family(table.schema, names)))
        if not panel.lines:
            panel.set_yticks([])
            panel.text(0.5, 0.5, "no run has a value", transform=panel.transAxes, ha="center", va="center")
        name_lines(panel, ends)
    _value_axis(axes[-1], table.schema, axis, positions)
    if _broken(positions):
        for panel in axes:
            _break(panel, positions)
    tables = list({id(shown): shown for _, lines in panels for shown, *_ in lines}.values())
    write_marks(axes[0], list(_thresholds(axes, tables, positions)))
    titled(figure, title)
    return figure


def _line(axes: Axes, line: _Line, positions: dict[Value, float]) -> Iterator[float]:
    """Draw the median and the band of one quantity; yield the value at which the line ends, if it has a name."""
    table, metric, name, (color, style, marker) = line
    spreads = [(row.values[0], spread) for row in table.rows if (spread := row.spread(metric))]
    apart = spreads[:1] if spreads and _broken(positions) and spreads[0][0] == 0 else []
    for part in filter(None, (apart, spreads[len(apart) :])):
        x = [positions[value] for value, _ in part]
        axes.plot(
            x, [spread.median for _, spread in part], color=color, linestyle=style, marker=marker, markersize=3.5,
            label=name,
        )  # fmt: skip
        low, high = [spread.low for _, spread in part], [spread.high for _, spread in part]
        if len(part) > 1:
            axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        else:
            axes.vlines(x, low, high, color=color, alpha=0.4, linewidth=3)
    if spreads and name:
        yield spreads[-1][1].median


def _family(schema: Schema, names: Sequence[str]) -> str:
    """The common label of a panel's quantities."""
    found = schema.trace(names[0])
    return found[0].title if found and len(names) > 1 else wording(schema, names[0])


def _value_axis(axes: Axes, schema: Schema, axis: str, positions: dict[Value, float]) -> None:
    """Label the axis with as many values as fit, the ends and the middle first."""
    values, (low, high), written = list(positions), axes.get_xlim(), schema.field(axis).written
    shown: list[Value] = []
    for value in (values[index] for index in coarse_to_fine(len(values))):
        room = 0.012 * (high - low)
        if all(
            abs(positions[value] - positions[other]) > room * (len(written(value)) + len(written(other)) + 2) / 2
            for other in shown
        ):
            shown.append(value)
    axes.set_xticks([positions[value] for value in shown], list(map(written, shown)))
    axes.set_xticks(list(positions.values()), minor=True)
    axes.set_xlabel(scaled(axis_name(schema, axis), log=on_log_axis(schema, axis, values)))


def _broken(positions: dict[Value, float]) -> bool:
    """Whether 0 is on a logarithmic axis, where it has no position of its own."""
    return len(positions) > 1 and 0 in positions and positions[0] != 0


def _break(axes: Axes, positions: dict[Value, float]) -> None:
    """Draw a break in the axis between 0 and the smallest other value."""
    first, second, *_ = sorted(positions.values())
    axes.annotate(
        "//", ((first + second) / 2, 0), xycoords=("data", "axes fraction"), ha="center", va="center", fontsize=9,
        annotation_clip=False,
    )  # fmt: skip


def _thresholds(
    axes: Sequence[Axes], tables: Sequence[Table], positions: dict[Value, float]
) -> Iterator[tuple[float, str]]:
    """Draw the interpolation threshold if all lines share one; yield its label."""
    thresholds = {table.threshold() for table in tables}
    if len(thresholds) > 1 or None in thresholds:
        return
    (threshold,) = thresholds
    (axis, *_) = tables[0].axes
    for panel in axes:
        panel.axvline(positions[threshold], color=INK, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0.5)
    yield positions[threshold], f"interpolation threshold {tables[0].schema.field(axis).written(threshold)}"


# Maps


def _map(axes: Axes, table: Table, metric: str) -> None:
    import matplotlib
    import numpy as np

    rows, columns = table.axes.values()
    medians = np.array([[_median(table.row((row, column)), metric) for column in columns] for row in rows])
    shading = _shading(table.schema, medians, metric)
    colors = matplotlib.colormaps["viridis"]
    edges = np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    axes.pcolormesh(*edges, np.ma.masked_invalid(medians), cmap=colors, norm=shading)
    axes.invert_yaxis()
    for (row, column), median in np.ndenumerate(medians):
        red, green, blue, _ = colors(float(shading(median))) if math.isfinite(median) else (1.0, 1.0, 1.0, 1.0)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        color = INK if not math.isfinite(median) else "#ffffff" if dark else "#000001"
        axes.text(
            column,
            row,
            _in_cell(table.schema, float(median), metric),
            ha="center",
            va="center",
            fontsize=SMALL,
            color=color,
        )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _median(row: Row | None, metric: str) -> float:
    spread = row.spread(metric) if row else None
    return spread.median if spread else math.nan


def _shading(schema: Schema, medians: Any, metric: str) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    declared = schema.metrics.get(metric)
    if declared and declared.share:
        return Normalize(0, 1)
    known = medians[~(medians != medians)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return LogNorm(low, high) if declared and declared.log and low > 0 else Normalize(low, high)


def _in_cell(schema: Schema, value: float, metric: str) -> str:
    if not math.isfinite(value):
        return NOTHING
    share = metric in schema.metrics and schema.metrics[metric].share
    return f"{value:.2f}" if share else number(value)
