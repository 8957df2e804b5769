"""Charts of sweeps: a curve over one axis, and a map over two. Pure functions from tables to text.

Both are readable without colour: the curve has names beside its lines, the map a shade and a number in each cell.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from rich.style import Style
from rich.text import Text

from wdtui.analysis.sweep_table import Row, Table, label
from wdtui.plots.terminal import RUN_COLORS, TONES, Mark, Series, draw, scaled
from wdtui.schema.hyperparameters import Value
from wdtui.schema.schema import Schema
from wdtui.studies.grid import coarse_to_fine
from wdtui.support.text import number

_SHADES = " ░▒▓█"
_PLAIN_SHADES = " .+*#"
_SIGNS = {"running": "▸", "paused": "‖", "failed": "✗", "interrupted": "◐", "stopped": "■", "diverged": "∞"}
_WAITING = "·"
_ALWAYS_EXPLAINED = {"▸": "training", _WAITING: "waiting", "✗": "failed"}
_PLAIN_SIGNS = str.maketrans(
    {"▸": ">", "‖": "=", "✗": "x", "◐": "o", "■": "s", "∞": "!", "·": ".", "–": "-", "…": "~", "╲": "/"}
    | {"λ": "lambda", "ε": "eps"}
)
_MAP_COLOR = RUN_COLORS[0]
_WIDEST, _TALLEST = 16, 3
"""The maximum size of a cell of the map, in columns and lines of the terminal."""


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
    series = [line for metric in metrics for line in _series(table, metric, dict(zip(values, positions, strict=True)))]
    threshold = table.threshold()
    marks = []
    if threshold is not None:
        marks.append(Mark(positions[values.index(threshold)], f"interpolation threshold {written(threshold)}"))
    margin = (max(positions) - min(positions)) * 0.02 or 1.0
    shares = all(_is_share(table.schema, metric) for metric in metrics)
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


def _is_share(schema: Schema, metric: str) -> bool:
    return metric in schema.metrics and schema.metrics[metric].share


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


def _series(table: Table, metric: str, positions: dict[Value, float]) -> list[Series]:
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
            lines.append(Series(text, [x for x, _ in spreads], [spread.median for _, spread in spreads], color))
    return [*bars, *lines]


@dataclasses.dataclass(frozen=True)
class _Shading:
    """Maps a quantity to a shade."""

    low: float
    high: float
    log: bool
    shades: str

    def shade(self, value: float) -> str:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        position = (math.log(value) if self.log else value) - low
        share = position / (high - low) if high > low else float(value != 0)
        return self.shades[min(max(int(share * len(self.shades)), 0), len(self.shades) - 1)]


def heatmap(
    table: Table,
    metric: str,
    *,
    width: int,
    height: int,
    selected: tuple[int, int] | None = None,
    ascii: bool = False,
) -> Text:
    """A metric or milestone over a table's two axes, as exactly `height` lines of `width` cells.

    The first axis runs down, the second across. Each cell has a shade and the median. Until a run of the cell has
    finished, this is the median of the newest points, after a symbol for their state. If not all cells fit, the part
    around the cell `selected` (row, column) is shown.
    """
    (down, rows), (across, columns) = table.axes.items()
    cells = {row.values: row for row in table.rows}
    shading = _shading(table, metric, ascii)
    schema = table.schema
    corner = f"{schema.symbol(down)} ╲ {schema.symbol(across)}"
    corner = _plain(corner) if ascii else corner
    side = list(map(schema.field(down).written, rows))
    heads = list(map(schema.field(across).written, columns))
    texts = {values: _cell_text(schema, row, metric, shading) for values, row in cells.items()}
    left = max(map(len, [*side, corner])) + 1
    longest = max((len(value) for _, value in texts.values()), default=1)
    narrowest = max(*map(len, heads), longest + 3)
    shown_rows, tall = _window(len(rows), height - 2, 1, selected and selected[0], _TALLEST)
    shown, wide = _window(len(columns), width - left, narrowest + 2, selected and selected[1], _WIDEST)
    lines = [Text(corner.rjust(left - 1) + " " + "".join(heads[column].rjust(wide) for column in shown), "dim")]
    for row, line in itertools.product(shown_rows, range(tall)):
        named = line == tall // 2
        text = Text((side[row] if named else "").rjust(left - 1) + " ", "dim")
        for column in shown:
            shade, value = texts.get((rows[row], columns[column]), ("", ""))
            value = (value if named else "").rjust(longest)
            cell = _cell(shade, value, wide, selected == (row, column))
            text.append_text(_marked(cell, (row, column)))
        lines.append(text)
    lines += [Text()] * (height - 1 - len(lines))
    signs = [value[:1] for _, value in texts.values()]
    lines.append(_legend(schema, metric, shading, signs, len(shown) < len(columns) or len(shown_rows) < len(rows)))
    return _fitted(lines[:height], width, ascii)


def _cell(shade: str, value: str, wide: int, selected: bool) -> Text:
    """One line of a cell of the map, with the shade left of the value."""
    shaded = wide - len(value) - 3 if shade else 0
    cell = Text("  " + shade * shaded + value.rjust(wide - 2 - shaded), "not dim")
    cell.stylize(_MAP_COLOR, 2, 2 + shaded)
    if selected:
        cell.stylize("reverse", wide - len(value) - 1)
    return cell


def _marked(cell: Text, indices: tuple[int, int]) -> Text:
    """The cell with its indices in the metadata of its style, for clicks."""
    cell.stylize(Style(meta={"cell": indices}))
    return cell


def _cell_text(schema: Schema, row: Row, metric: str, shading: _Shading) -> tuple[str, str]:
    """The shade of a cell and its median, after a symbol if that is not final; without a value no shade."""
    spread, states = row.so_far(metric), row.states
    sign = next((sign for state, sign in _SIGNS.items() if states[state]), _WAITING)
    if spread is None:
        return "", "–" if sign == _WAITING and (states["done"] or states["steered"]) else sign
    return shading.shade(spread.median), ("" if row.finished else sign) + _rounded(schema, spread.median, metric)


def _rounded(schema: Schema, value: float, metric: str) -> str:
    return f"{value:.2f}" if _is_share(schema, metric) else number(value)


def _shading(table: Table, metric: str, ascii: bool) -> _Shading:
    shades = _PLAIN_SHADES if ascii else _SHADES
    if _is_share(table.schema, metric):
        return _Shading(0.0, 1.0, False, shades)
    medians = [spread.median for row in table.rows if (spread := row.so_far(metric))] or [0.0]
    log = _log_metrics(table.schema, [metric]) and min(medians) > 0
    return _Shading(min(medians), max(medians), log, shades)


def _legend(schema: Schema, metric: str, shading: _Shading, signs: Sequence[str], cut: bool) -> Text:
    low, high = _rounded(schema, shading.low, metric), _rounded(schema, shading.high, metric)
    scale = "".join(shade * 2 for shade in shading.shades)
    explained = _ALWAYS_EXPLAINED | {
        sign: state for state, sign in _SIGNS.items() if sign in signs and sign not in _ALWAYS_EXPLAINED
    }
    words = [f"{sign} {state}" for sign, state in explained.items()] + (["… more cells"] if cut else [])
    return Text(f"{label(schema, metric)}  {low} {scale} {high}   {'  '.join(words)}", "dim")


def _window(count: int, room: int, least: int, chosen: int | None, most: int) -> tuple[range, int]:
    """The indices that fit, with a size between `least` and `most` cells each, including the chosen one."""
    shown = max(min(room // least, count), 1)
    first = min(max((chosen or 0) - shown // 2, 0), count - shown)
    return range(first, first + shown), max(min(room // shown, most), least)


def _fitted(lines: list[Text], width: int, ascii: bool) -> Text:
    for line in lines:
        if ascii:
            line.plain = _plain(line.plain)
        line.truncate(width)
        line.pad_right(width - line.cell_len)
    return Text("\n", no_wrap=True, end="").join(lines)


def _plain(text: str) -> str:
    return text.translate(_PLAIN_SIGNS).encode("ascii", "replace").decode()
