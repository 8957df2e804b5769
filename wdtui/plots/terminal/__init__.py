"""Charts for the terminal: one pure function from curves to text, for the app and the command line.

No state is kept between calls, so any thread may draw. Curves may have any length, gaps and any values.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from wdtui.plots.terminal.canvas import Axes, Canvas, Drawing, Line, Palette, Row, drawn
from wdtui.plots.terminal.labels import write_names
from wdtui.plots.terminal.raster import braille, decimate, lines, to_the_edges
from wdtui.plots.terminal.scale import Floats, Scale, round_step, time_scale, value_axis, without_outliers
from wdtui.support.text import clean, number

__all__ = [
    "BLOW_UP",
    "EVENTS",
    "GREY",
    "RUN_COLORS",
    "RUN_MARKERS",
    "TONES",
    "Drawing",
    "Level",
    "Mark",
    "Series",
    "decimate",
    "draw",
    "look",
    "scaled",
]

RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Okabe and Ito's colours, first those readable on dark and light backgrounds. Grey replaces yellow and black."""
TONES = {"train": RUN_COLORS[0], "validation": RUN_COLORS[2], "test": RUN_COLORS[1]}
"""The colours of a run's own curves, by data set."""
RUN_MARKERS = ("", "•", "×", "+", "o", "◆", "*")
"""Markers on the curves of runs, so that they differ without colour; "" is a bare line."""

BLOW_UP, GREY = "#d7263d", "#808080"
EVENTS = {
    "fit": ("◇", ""),
    "blow-up": ("▲", BLOW_UP),
    "generalised": ("●", RUN_COLORS[2]),
    "steered": ("■", RUN_COLORS[4]),
    "fork": ("◂", ""),
    "expected": ("△", "dim"),
}
"""The glyph of each kind of event, and its colour where a run is shown alone."""

_MOST_OF_A_PATH = 4_000
"""The number of points of a path that are drawn."""
_DIM, _GRID = "dim", f"dim {GREY}"
_PLAIN_MARKERS = "*o+x#%@"
_ASCII = str.maketrans(
    {
        "ε": "eps",
        "λ": "lambda",
        "–": "-",
        "−": "-",
        "×": "x",
        "∞": "inf",
        "▲": "^",
        "△": "?",
        "◇": "o",
        "●": "@",
        "■": "#",
        "◂": "<",
        "┤": "+",
        "│": "|",
        "└": "+",
        "┊": ":",
        "·": ".",
    }
    | {"┬": "+", "┴": "+", "─": "-", "╌": "-", "…": "~"}
)


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve; `x` and `y` are [points], ascending in x. A value that is not finite is a gap."""

    label: str
    x: ArrayLike
    y: ArrayLike
    color: str | None = None
    marker: str = ""
    """One character, drawn on the line every few columns."""
    path: bool = False
    """Whether the points are joined in their order, which need not be ascending in x."""


@dataclasses.dataclass(frozen=True)
class Mark:
    """A marked position on the time axis, such as the fit or a blow-up."""

    x: float
    label: str = ""
    color: str | None = None
    line: bool = False
    """Whether a thin line leads up from it, behind the curves."""
    glyph: str = "▲"
    """The character below the chart."""


@dataclasses.dataclass(frozen=True)
class Level:
    """A reference value, such as ε: a dashed line across the chart."""

    y: float
    label: str = ""


@dataclasses.dataclass(frozen=True)
class _Look:
    """The output style of one chart."""

    palette: Palette
    ascii: bool

    def style(self, color: str | None) -> int:
        return self.palette.number(color)

    @property
    def dim(self) -> int:
        return self.palette.number(_DIM)

    def glyph(self, glyph: str) -> str:
        """A symbol, or its ASCII replacement."""
        return glyph.translate(_ASCII) if self.ascii else glyph

    def text(self, label: str) -> str:
        """A label with one cell per character."""
        if label.isascii() and label.isprintable():
            return label
        label = clean(label)
        if self.ascii:
            return label.translate(_ASCII).encode("ascii", "replace").decode()
        if cell_len(label) == len(label) and all(map(cell_len, label)):
            return label
        return "".join(char if cell_len(char) == 1 else "?" for char in label if cell_len(char))

    def sign(self, series: Series, index: int) -> str:
        """The marker of a curve, or without braille the character it is drawn with; "" for a bare line."""
        marker = self.text(series.marker)[:1].strip()
        if self.ascii and marker in ("", "?"):
            return _PLAIN_MARKERS[index % len(_PLAIN_MARKERS)]
        return marker

    def row(self, row: Row) -> Row:
        """A row of plotext's output, with symbols replaced in ASCII mode."""
        characters, styles = row
        return (list("".join(characters).translate(_ASCII)), styles) if self.ascii else row

    @property
    def dots(self) -> tuple[int, int]:
        """Dots per cell, down and across."""
        return (1, 1) if self.ascii else (4, 2)


def look(index: int) -> tuple[str, str]:
    """Colour and marker of the run with this index. The first 49 differ."""
    colors, markers = len(RUN_COLORS), len(RUN_MARKERS)
    return RUN_COLORS[index % colors], RUN_MARKERS[(index + index // colors) % markers]


def scaled(name: str, *, log: bool) -> str:
    """The name of an axis, with "(log)" if it is logarithmic."""
    return f"{name} (log)" if log else name


def draw(
    series: Sequence[Series],
    *,
    width: int,
    height: int,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_log: bool = False,
    y_log: bool = False,
    marks: Sequence[Mark] = (),
    levels: Sequence[Level] = (),
    cursor: float | None = None,
    legend: bool = False,
    ascii: bool = False,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    outliers: bool = True,
) -> Drawing:
    """Draw curves over steps as exactly `height` lines of `width` cells.

    Without ranges the axes fit the data. Values beyond `y_range` are drawn at its edge. Values without a position (not
    finite, or not positive on a logarithmic axis) are gaps. Later curves are on top. With `legend` the names are above
    the chart, else several curves are named beside their lines if there is room. Small sizes omit labels, then axes.
    `x_ticks` are values and labels for the x axis. The first ones that fit are shown. Without them, there are round
    ticks and one where the data end. Without `outliers`, few curves that would flatten all others leave the chart.
    """
    if width < 1 or height < 1:
        return Drawing([], Palette(), None, range(0))
    look = _Look(Palette(), ascii)
    points = [_points(curve) for curve in series]
    finite = [_finite(x, y) for x, y in points]
    x_scale = time_scale(_deciding([x for x, _ in finite]), x_log, x_range)
    extra = tuple(level.y for level in levels)
    each = [y for _, y in finite]
    values = _deciding(each if outliers else without_outliers(each, y_log))
    if width < 12 or height < 4:
        y_scale, _ = value_axis(values, y_log, y_range, extra=extra, rows=height)
        bare, _ = _paint(Canvas(height, width), look, series, points, x_scale, y_scale)
        return Drawing(drawn(bare), look.palette, x_scale, range(width))

    named = _legend(look, series, width) if legend and height >= 5 else None
    own_line = height >= 8 and any(x_scale.cell(mark.x, 100) is not None for mark in marks)
    rows = height - 2 - own_line - (named is not None)
    known = any(len(x) for x, _ in finite)
    y_scale, y_labels = value_axis(values, y_log, y_range, extra=extra, rows=rows)
    y_ticks = _y_ticks(look, y_labels if known or y_range else {}, rows, width)
    margin = max(map(len, y_ticks.values()), default=0) + 1
    canvas, curves = _paint(Canvas(rows, width - margin), look, series, points, x_scale, y_scale)
    _levels(canvas, look, levels, y_scale)
    if not any(curve.any() for curve in curves):
        message = look.text("no values" if any(len(x) for x, _ in points) and not known else "no points yet")
        canvas.write_apart(rows // 2, max((canvas.columns - len(message)) // 2, 0), message, look.dim)
    elif not legend and sum(bool(curve.label) for curve in series) > 1:
        names = [(look.sign(curve, index), look.text(curve.label)) for index, curve in enumerate(series)]
        write_names(canvas, curves, names, [look.style(curve.color) for curve in series], look.glyph("…"))
    shown_scale = x_scale if known or x_range else None
    end = _end_of_data([x for x, _ in finite], x_scale) if x_ticks is None else None
    labels, columns = _x_labels(look, shown_scale, x_ticks, end, margin, width)
    cursor_column = None if cursor is None else x_scale.cell(cursor, canvas.columns)
    _grid(canvas, look, marks, x_scale, y_ticks, cursor_column)
    axes = Axes(look.dim, margin, columns, y_ticks, cursor_column)
    *body, axis = map(look.row, drawn(canvas, axes))
    below = [Line(*axis), labels]
    if own_line:
        below.insert(1, Line.blank(width))
    if shown_scale:
        lines_of_marks = (below[1], below[1]) if own_line else (below[0], labels)
        _write_marks(lines_of_marks, look, shown_scale, marks, margin, canvas.columns)
    rows_of_text = [*([named] if named else []), *body, *(line.row for line in below)]
    return Drawing(rows_of_text, look.palette, shown_scale, range(margin, width))


def _end_of_data(parts: Sequence[Floats], scale: Scale) -> float | None:
    """Where the curves end; if the axis goes on, as of a live run, rounded down to a few per cent of it.

    So the tick and its label, which a terminal has to paint, do not change with every point.
    """
    end = max((float(x[-1]) for x in parts if len(x)), default=None)
    low, high = scale.ends
    if end is None or scale.log or not low <= end < low + 0.999 * (high - low):
        return end
    step = round_step(high - low, 50)
    return math.floor(end / step) * step or None


def _points(series: Series) -> tuple[Floats, Floats]:
    x, y = np.asarray(series.x, dtype=np.float64).ravel(), np.asarray(series.y, dtype=np.float64).ravel()
    both = min(len(x), len(y))
    return x[:both], y[:both]


def _finite(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points that are not gaps."""
    finite = np.isfinite(x) & np.isfinite(y)
    return (x, y) if finite.all() else (x[finite], y[finite])


def _deciding(parts: list[Floats]) -> Floats:
    """The values that decide the range of an axis: minimum, smallest positive value and maximum of each curve."""
    values = []
    for part in parts:
        if len(part):
            values += [part.min(), part.max()]
            if values[-2] <= 0 < values[-1]:
                values.append(part[part > 0].min())
    return np.array(values, dtype=np.float64)


def _paint(
    canvas: Canvas,
    look: _Look,
    series: Sequence[Series],
    points: list[tuple[Floats, Floats]],
    x_scale: Scale,
    y_scale: Scale,
) -> tuple[Canvas, list[NDArray[np.bool_]]]:
    """Draw the curves; also return the cells [rows, columns] that each of them touches."""
    down, across = look.dots
    curves = []
    for index, (curve, (x, y)) in enumerate(zip(series, points, strict=True)):
        y = np.where(y > 0, y, np.nan) if y_scale.log else y
        dots = lines(
            *_placed(curve, x, y, x_scale, y_scale, canvas.columns * across),
            canvas.columns * across,
            canvas.rows * down,
        )
        style = look.style(curve.color)
        if look.ascii:
            touched = dots
            canvas.add(np.where(dots, np.uint32(ord(look.sign(curve, index))), np.uint32(0)), style)
        else:
            cells = braille(dots)
            touched = cells > 0
            canvas.add_braille(cells, style)
            _set_markers(canvas, look.sign(curve, index), touched, style, index)
            if np.count_nonzero(touched) == 1:  # a single dot would not be seen
                ((row, column),) = np.argwhere(touched)
                canvas.write(int(row), int(column), look.sign(curve, index) or "•", style)
        curves.append(touched)
    return canvas, curves


def _placed(curve: Series, x: Floats, y: Floats, x_scale: Scale, y_scale: Scale, columns: int) -> tuple[Floats, Floats]:
    """The points of a curve on both axes, 0 … 1, as few as show the same."""
    if not curve.path:
        x, y = decimate(x, y, columns, x_scale.ends, x_scale.log)
        return to_the_edges(x_scale.unit(x), y_scale.unit(y))
    stride = max(len(x) // _MOST_OF_A_PATH, 1)
    across, up = x_scale.unit(x[::stride]), y_scale.unit(y[::stride])
    outside = ~((across > -1e-9) & (across < 1 + 1e-9))
    return np.where(outside, 0.0, across), np.where(outside, np.nan, up)


def _set_markers(canvas: Canvas, marker: str, touched: NDArray[np.bool_], style: int, index: int) -> None:
    """Draw a marker on the middle of a curve every few columns, at other columns than those of its neighbours.

    There is none on its last cell, where its name, which begins with one, may follow.
    """
    if not marker:
        return
    for column in range((3 + 5 * index) % 14, canvas.columns - 1, 14):
        rows = np.flatnonzero(touched[:, column])
        if len(rows) and touched[:, column + 1].any():
            canvas.write(int(rows[len(rows) // 2]), column, marker, style)


def _levels(canvas: Canvas, look: _Look, levels: Sequence[Level], scale: Scale) -> None:
    for level in levels:
        cell = scale.cell(level.y, canvas.rows)
        if cell is None:
            continue
        row, label = canvas.rows - 1 - cell, look.text(level.label)
        free = np.flatnonzero(canvas.free_starts(len(label))[row])
        column = int(free[-1]) if len(free) else max(canvas.columns - len(label), 0)
        canvas.write_apart(row, column, label, look.dim)
        dash = look.glyph("╌")
        canvas.fill(slice(row, row + 1), slice(None, None, 2 if look.ascii else 1), dash, look.dim)


def _grid(
    canvas: Canvas, look: _Look, marks: Sequence[Mark], x_scale: Scale, y_ticks: dict[int, str], cursor: int | None
) -> None:
    """Draw the lines of marks and a faint line at each tick of the value axis, where nothing else is."""
    for mark in marks:
        if mark.line and (column := x_scale.cell(mark.x, canvas.columns)) not in (None, cursor):
            style = look.style(f"{_DIM} {mark.color}" if mark.color else _DIM)
            canvas.fill(slice(None), slice(column, column + 1), look.glyph("┊"), style)
    dots = np.where(np.arange(canvas.columns) % 4, ord(" "), ord(look.glyph("·"))).astype(np.uint32)
    if cursor is not None:
        dots[cursor] = 0
    for row in y_ticks:
        canvas.fill_row(row, dots, look.style(_GRID))


def _legend(look: _Look, series: Sequence[Series], width: int) -> Row:
    line, column = Line.blank(width), 0
    for index, curve in enumerate(series):
        sample = f"{look.glyph('─')}{look.sign(curve, index) or '─'}{look.glyph('─')} "
        label = look.text(curve.label)
        rest = f"+{len(series) - index}"
        keep = 0 if index == len(series) - 1 else len(rest) + 2
        if column + len(sample) + len(label) + keep > width:
            line.write(column, rest, look.dim)
            break
        line.write(column, sample, look.style(curve.color))
        line.write(column + len(sample), label, look.style(None))
        column += len(sample) + len(label) + 2
    return line.row


def _y_ticks(look: _Look, labels: dict[int, str], rows: int, width: int) -> dict[int, str]:
    """The label of each row with a tick, where 0 is on top; empty if they would be too wide for the chart."""
    labels = {rows - 1 - row: look.text(label) for row, label in labels.items()}
    return labels if max(map(len, labels.values()), default=0) <= width // 3 else {}


def _x_labels(
    look: _Look,
    scale: Scale | None,
    ticks: Sequence[tuple[float, str]] | None,
    end: float | None,
    margin: int,
    width: int,
) -> tuple[Line, list[int]]:
    """The line of labels below the axis, and the columns of the plot area with ticks.

    The label at `end`, where the data end, comes before the others. A round tick whose label has no room keeps its
    place, so that ticks are evenly spaced.
    """
    line, ticked, columns = Line.blank(width), list[int](), width - margin
    ends = [] if end is None else _ticks(scale, 1, columns, [(end, number(round(end, 3)))])
    for cell, label in [*ends, *_ticks(scale, max(columns // 12, 3), columns, ticks)]:
        label = look.text(label)
        start = max(min(margin + cell - len(label) // 2, width - len(label)), 0)
        fits = line.write(start, label, look.dim, apart=1)
        if fits or (ticks is None and all(abs(cell - other) > 2 for other in ticked)):
            ticked.append(cell)
    return line, ticked


def _ticks(
    scale: Scale | None, most: int, cells: int, chosen: Sequence[tuple[float, str]] | None = None
) -> list[tuple[int, str]]:
    """The cell and the label of each tick, without repeated labels; empty without a scale."""
    ticks: dict[str, int] = {}
    for value, label in (scale.ticks(most) if chosen is None else chosen) if scale else ():
        cell = scale.cell(value, cells) if scale else None
        if cell is not None:
            ticks.setdefault(label, cell)
    return [(cell, label) for label, cell in ticks.items()]


def _write_marks(
    lines: tuple[Line, Line], look: _Look, scale: Scale, marks: Sequence[Mark], left: int, columns: int
) -> None:
    """Write all glyphs on the first line, and the labels that fit on the second, which may be the same line.

    A glyph whose place another kind has taken stands beside it.
    More than two marks with one label share it.
    """
    line, labels = lines
    placed, drawn_at = [], dict[int, tuple[str, int]]()
    for mark in marks:
        if (cell := scale.cell(mark.x, columns)) is None:
            continue
        drawn = look.glyph(mark.glyph), look.style(mark.color)
        near = (place for place in (cell, cell + 1, cell - 1) if 0 <= place < columns)
        place = next((place for place in near if drawn_at.get(place, drawn) == drawn), cell)
        drawn_at[place] = drawn
        line.characters[left + place], line.styles[left + place] = drawn
        placed.append((left + place, mark))
    kinds = Counter(mark.label for _, mark in placed if mark.label)
    done: set[str] = set()
    for column, mark in placed:
        many = kinds[mark.label] > 2
        if not mark.label or (many and mark.label in done):
            continue
        label = look.text(f"{mark.label} ×{kinds[mark.label]}" if many else mark.label)
        texts = (label,) if many or line is labels else (label, label.rsplit(" ", 1)[0])
        style, triangle = look.style(mark.color), column if line is labels else None
        if any(_write_near(labels, column, text, style, triangle) for text in texts):
            done.add(mark.label)


def _write_near(line: Line, column: int, text: str, style: int, triangle: int | None) -> bool:
    """Write right of a triangle on the same line, or below one, else to its left, with a space around the text."""
    right, left = (column + 1, column - len(text)) if triangle is not None else (column, column - len(text) + 1)
    return any(line.write(start, text, style, apart=1, beside=triangle) for start in (right, left))
