"""The map of a sweep over two axes: a colour and a number in each cell. A pure function from a table to text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from rich.style import Style
from rich.text import Text

from wdtui.analysis.milestones import FIT, GENERALISED
from wdtui.analysis.sweep_table import Row, Spread, Table, label
from wdtui.plots.terminal.colormap import filled
from wdtui.schema.schema import Schema
from wdtui.support.text import number

_SHADES, _PLAIN_SHADES = " ░▒▓█", " .+*#"
_SIGNS = {"running": "▸", "paused": "‖", "failed": "✗", "interrupted": "◐", "stopped": "■", "diverged": "∞"}
_WAITING = "·"
_ALWAYS_EXPLAINED = {"▸": "training", "✗": "failed", _WAITING: "waiting"}
_PLAIN_SIGNS = str.maketrans(
    {"▸": ">", "‖": "=", "✗": "x", "◐": "o", "■": "s", "∞": "!", "·": ".", "–": "-", "…": "~", "╲": "/", "━": "="}
    | {"─": "-", "▐": "|", "▂": "_", "┌": "+", "┐": "+", "└": "+", "┘": "+", "│": "|", "λ": "lambda", "ε": "eps"}
)
_EDGES, _SHADED_EDGES = "▐▂", "│─"
"""The line of the level, right of a cell and below one, which look equally thick; the same between shades."""
_LEGEND = 20
"""Columns of the colours in the legend."""


def heatmap(
    table: Table,
    metric: str,
    *,
    width: int,
    height: int,
    selected: tuple[int, int] | None = None,
    colors: bool = True,
    ascii: bool = False,
) -> Text:
    """A metric or milestone over a table's two axes, as exactly `height` lines of `width` cells.

    The first axis runs down, the second across. Each cell has a colour, or without `colors` a shade, and the median.
    Until a run of the cell has finished, this is the median of the newest points, after a symbol for their state, above
    a bar for their progress. Large cells also have the range over their seeds. A line separates cells on either side of
    the level at which a run fits or generalises. If not all cells fit, the part around the cell `selected` (row,
    column) is shown.
    """
    (down, rows), (across, columns) = table.axes.items()
    schema = table.schema
    scale = _scale(table, metric)
    paint = _Paint(scale, "" if colors else _PLAIN_SHADES if ascii else _SHADES)
    cells = {row.values: _cell(schema, row, metric) for row in table.rows}
    corner = f"{schema.symbol(down)} ╲ {schema.symbol(across)}"
    side, heads = list(map(schema.field(down).written, rows)), list(map(schema.field(across).written, columns))
    left = max(map(len, [*side, _plain(corner) if ascii else corner])) + 1
    longest = max((len(cell.text) for cell in cells.values()), default=1)
    shown_rows = _window(len(rows), height - 2, 1, selected and selected[0])
    shown = _window(len(columns), width - left, max(*map(len, heads), longest) + 2, selected and selected[1])
    tops, lefts = _edges(height - 2, len(shown_rows)), _edges(width - left, len(shown))
    level = _level(schema, metric)

    def cell(row: int, column: int) -> _Cell | None:
        if row not in range(len(rows)) or column not in range(len(columns)):
            return None
        return cells.get((rows[row], columns[column]))

    head = "".join(heads[column].center(after - before) for column, (before, after) in zip(shown, lefts, strict=True))
    lines = [Text(f"{corner.rjust(left - 1)} {head}", "dim")]
    for row, (top, bottom) in zip(shown_rows, tops, strict=True):
        blocks = [
            _block(
                cell(row, column),
                paint,
                after - before,
                bottom - top,
                selected=selected == (row, column),
                crossed=tuple(
                    _crossed(cell(row, column), cell(*other), level) for other in ((row, column + 1), (row + 1, column))
                ),
            )
            for column, (before, after) in zip(shown, lefts, strict=True)
        ]
        for line in range(bottom - top):
            named = line == (bottom - top - 1) // 2
            text = Text((side[row] if named else "").rjust(left - 1) + " ", "dim")
            for column, block in zip(shown, blocks, strict=True):
                text.append_text(_marked(block[line], (row, column)))
            lines.append(text)
    lines += [Text()] * (height - 1 - len(lines))
    cut = len(shown) < len(columns) or len(shown_rows) < len(rows)
    signs = [one.text[:1] for one in cells.values()]
    lines.append(_legend(schema, metric, paint, signs, width, cut=cut, level=level))
    return _fitted(lines[:height], width, ascii)


@dataclasses.dataclass(frozen=True)
class _Scale:
    """Positions of a quantity between the smallest and the largest value of the map."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end. If all values are equal, 0 of zeros and 1 of others."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        position = (math.log(value) if self.log else value) - low
        return position / (high - low) if high > low else float(value != 0)


@dataclasses.dataclass(frozen=True)
class _Paint:
    """Fills a cell with a colour, or with a shade where `shades` are given."""

    scale: _Scale
    shades: str

    @property
    def edges(self) -> str:
        """The characters of the line of the level."""
        return _SHADED_EDGES if self.shades else _EDGES

    def fill(self, value: float | None) -> tuple[str, Style]:
        """The character and the style of an area with this value."""
        return (" ", Style()) if value is None else self.at(self.scale.share(value))

    def at(self, share: float) -> tuple[str, Style]:
        """The same for a position on the scale."""
        if not self.shades:
            return " ", filled(share)
        return self.shades[min(max(int(share * len(self.shades)), 0), len(self.shades) - 1)], Style()


@dataclasses.dataclass(frozen=True)
class _Cell:
    """What a cell of the map says."""

    text: str
    """The median, after a symbol if that is not final; or the symbol alone."""
    value: float | None
    range: str
    """The range over seeds; empty if there is none."""
    progress: float | None
    """The share of the steps trained, while a run of the cell is live."""


def _cell(schema: Schema, row: Row, metric: str) -> _Cell:
    spread, states = row.so_far(metric), row.states
    sign = next((sign for state, sign in _SIGNS.items() if states[state]), _WAITING)
    if spread is None:
        text = "–" if sign == _WAITING and (states["done"] or states["steered"]) else sign
        return _Cell(text, None, "", row.progress)
    text = ("" if row.finished else sign) + _rounded(schema, spread.median, metric)
    return _Cell(text, spread.median, _range(schema, spread, metric), row.progress)


def _range(schema: Schema, spread: Spread, metric: str) -> str:
    low, high = (_rounded(schema, value, metric) for value in (spread.low, spread.high))
    return f"{low}–{high}" if low != high else ""


def _block(
    cell: _Cell | None, paint: _Paint, wide: int, tall: int, *, selected: bool, crossed: tuple[bool, ...]
) -> list[Text]:
    """A cell as `tall` lines of `wide` columns. `crossed` says whether the level lies right of it, and below it."""
    shade, style = paint.fill(cell.value if cell else None)
    grid: list[list[str]] = [[shade] * wide for _ in range(tall)]
    middle = (tall - 1) // 2
    if crossed[0]:
        for line in grid:
            line[-1] = paint.edges[0]
    if crossed[1]:
        grid[-1] = [paint.edges[1]] * (wide - 1) + [grid[-1][-1] if crossed[0] else paint.edges[1]]
    if cell:
        framed = selected and tall > 2 and wide > len(cell.text) + 3
        if framed:
            _frame(grid)
        around = " " if paint.shades and shade != " " else ""
        _write(grid[middle], f"[{cell.text}]" if selected and not framed else f"{around}{cell.text}{around}")
        inner = wide - 4
        if middle + 1 < tall - framed and inner > 1:
            full = round((cell.progress or 0) * inner)
            bar = "━" * full + "─" * (inner - full) if cell.progress is not None else ""
            further = bar or (cell.range and f"{around}{cell.range}{around}")
            _write(grid[middle + 1], further if len(further) <= wide - 2 else "")
    bold = Style(bold=selected or None)
    return [Text("".join(line), Style(dim=False) + style + bold) for line in grid]


def _frame(grid: list[list[str]]) -> None:
    """Draw a line around a cell."""
    for line in grid:
        line[0] = line[-1] = "│"
    for line, ends in ((grid[0], "┌┐"), (grid[-1], "└┘")):
        line[:] = [ends[0], *"─" * (len(line) - 2), ends[1]]


def _write(line: list[str], text: str) -> None:
    """Write a text in the middle of a line."""
    start = max((len(line) - len(text)) // 2, 0)
    line[start : start + len(text)] = text[: len(line)]


def _marked(line: Text, indices: tuple[int, int]) -> Text:
    """The line of a cell with its indices in the metadata of its style, for clicks."""
    line.stylize(Style(meta={"cell": indices}))
    return line


def _crossed(cell: _Cell | None, other: _Cell | None, level: float | None) -> bool:
    if level is None or cell is None or other is None or cell.value is None or other.value is None:
        return False
    return (cell.value >= level) != (other.value >= level)


def _level(schema: Schema, metric: str) -> float | None:
    """The value at which a run fits or generalises, for the metric that decides it."""
    return {schema.judged.fit: FIT, schema.judged.generalise: GENERALISED}.get(metric) if metric else None


def is_share(schema: Schema, metric: str) -> bool:
    return metric in schema.metrics and schema.metrics[metric].share


def _rounded(schema: Schema, value: float, metric: str) -> str:
    return f"{value:.2f}" if is_share(schema, metric) else number(value)


def _scale(table: Table, metric: str) -> _Scale:
    """From the smallest to the largest median."""
    medians = [spread.median for row in table.rows if (spread := row.so_far(metric))] or [0.0]
    declared = table.schema.metrics.get(metric)
    return _Scale(min(medians), max(medians), bool(declared and declared.log) and min(medians) > 0)


def _legend(
    schema: Schema, metric: str, paint: _Paint, signs: Sequence[str], width: int, *, cut: bool, level: float | None
) -> Text:
    """The scale in the colours of the cells, and the level and symbols that fit; shorter where there is little room."""
    low, high = (_rounded(schema, value, metric) for value in (paint.scale.low, paint.scale.high))
    words = [f"{sign} {state}" for sign, state in _explained(signs)] + (["… more cells"] if cut else [])
    line = ""
    if level is not None and paint.scale.low < level <= paint.scale.high:
        line = f"{paint.edges[0]} line: {{}} {_rounded(schema, level, metric)}"
    name, columns = label(schema, metric), _LEGEND
    if len(f"{name}  {low}  {high}   {'  '.join([line.format(name), *words])}") + columns > width:
        columns //= 2
        name = schema.metrics[metric].short if metric in schema.metrics else name
    text = Text(f"{name}  {low} ", "dim")
    for column in range(columns):
        character, style = paint.at(column / (columns - 1))
        text.append(character, Style(dim=False) + style)
    text.append(f" {high} ", "dim")
    for word in filter(None, [line.format(name), *words]):
        if text.cell_len + 2 + len(word) <= width:
            text.append(f"  {word}", "dim")
    return text


def _explained(signs: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from _ALWAYS_EXPLAINED.items()
    yield from ((sign, state) for state, sign in _SIGNS.items() if sign in signs and sign not in _ALWAYS_EXPLAINED)


def _window(count: int, room: int, least: int, chosen: int | None) -> range:
    """The indices that fit, each of which needs at least `least` cells of the terminal, including the chosen one."""
    shown = max(min(room // least, count), 1)
    first = min(max((chosen or 0) - shown // 2, 0), count - shown)
    return range(first, first + shown)


def _edges(room: int, count: int) -> list[tuple[int, int]]:
    """Divide a length into `count` equal parts, as long as possible. The rest stays blank."""
    size = max(room // count, 1)
    return [(size * index, size * (index + 1)) for index in range(count)]


def _fitted(lines: list[Text], width: int, ascii: bool) -> Text:
    for line in lines:
        if ascii:
            line.plain = _plain(line.plain)
        line.truncate(width)
        line.pad_right(width - line.cell_len)
    return Text("\n", no_wrap=True, end="").join(lines)


def _plain(text: str) -> str:
    return text.translate(_PLAIN_SIGNS).encode("ascii", "replace").decode()
