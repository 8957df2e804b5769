"""The plot area as cells, the search for free room for labels, and the drawing by plotext.

The only module that uses plotext. It draws the axes, their ticks, the cursor and the cells of curves and labels. The
dots of a curve are computed here: plotext walks along a line in Python, which makes a chart of noisy curves twenty
times slower, and if two curves meet in a cell it shows only the dots of the last.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import plotext
from numpy.typing import NDArray
from rich.text import Span, Text

from wdtui.plots.terminal.raster import BRAILLE
from wdtui.plots.terminal.scale import Scale

_Figure = type(plotext.active())
"""plotext's functions share one figure per process. Each chart creates its own, so that any thread may draw."""
_COLOR, _END = "\x1b[38;5;", "\x1b[0m"
"""The text before and after cells of one colour in plotext's output."""

_STRETCH = 8
"""The number of columns of one colour where two curves share cells."""

Row = tuple[list[str], list[int]]
"""The characters of a line and the number of each one's style."""


class Palette:
    """The styles of one chart by number, which is cheaper to store per cell and to compare than a style."""

    def __init__(self) -> None:
        self.styles = [""]

    def number(self, style: str | None) -> int:
        if not style:
            return 0
        if style not in self.styles:
            self.styles.append(style)
        return min(self.styles.index(style), 255)  # plotext has the colours 0 … 255


class Canvas:
    """The cells of a plot area: characters and styles [rows, columns], row 0 on top. Character 0 is a free cell."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.characters = np.zeros((rows, columns), dtype=np.uint32)
        self.styles = np.zeros((rows, columns), dtype=np.int64)

    def add_braille(self, cells: NDArray[np.uint32], style: int) -> None:
        """Draw a curve's braille over the others.

        In shared cells the dots of both stay. Their colours alternate, so that no curve vanishes under another one.
        """
        old, before = self.characters, self.styles.copy()
        dotted = (old >= BRAILLE) & (old < BRAILLE + 256) & (cells > 0)
        self.add(np.where(dotted, cells | old, np.where(cells > 0, cells | BRAILLE, 0)).astype(np.uint32), style)
        theirs = dotted & (np.arange(self.columns) // _STRETCH % 2 == 0)
        self.styles[theirs] = before[theirs]

    def add(self, cells: NDArray[np.uint32], style: int) -> None:
        """Draw characters [rows, columns] over the others, where they are not 0."""
        self.characters = np.where(cells > 0, cells, self.characters)
        self.styles[cells > 0] = style

    def fill(self, row: slice, column: slice, character: str, style: int) -> None:
        """Draw in free cells only."""
        free = self.characters[row, column] == 0
        self.characters[row, column][free] = ord(character)
        self.styles[row, column][free] = style

    def fill_row(self, row: int, characters: NDArray[np.uint32], style: int) -> None:
        """Draw characters [columns], where they are not 0, in the free cells of a row. Blanks make long stretches."""
        free = (self.characters[row] == 0) & (characters > 0)
        self.characters[row, free], self.styles[row, free] = characters[free], style

    def write(self, row: int, column: int, text: str, style: int) -> None:
        """Write over other characters, cut at the edges."""
        for offset, character in enumerate(text[: self.columns - column], start=column):
            self.characters[row, offset], self.styles[row, offset] = ord(character), style

    def write_apart(self, row: int, column: int, text: str, style: int) -> None:
        """Write a label, with a blank cell on each side that neither the grid nor a line fills."""
        self.write(row, column, text, style)
        for beside in (column - 1, column + len(text)):
            if 0 <= beside < self.columns and not self.characters[row, beside]:
                self.write(row, beside, " ", style)

    def free_starts(self, length: int) -> NDArray[np.bool_]:
        """Whether `length` cells from [row, column] on, and one on each side, are free; shaped as `window_any`."""
        occupied = np.zeros((self.rows, self.columns + 2), dtype=np.bool_)
        occupied[:, 1:-1] = self.characters > 0
        return ~window_any(occupied, length + 2)

    def texts(self) -> list[tuple[int, int, str, int]]:
        """The cells that are not free, as row, column, text and style of each stretch of one style in a row."""
        styles = np.where(self.characters > 0, self.styles, -1)
        found = []
        for row, line in enumerate(styles):
            starts = [0, *(np.flatnonzero(line[1:] != line[:-1]) + 1).tolist()]
            for start, end in zip(starts, [*starts[1:], self.columns], strict=True):
                if line[start] >= 0:
                    text = "".join(map(chr, self.characters[row, start:end].tolist()))
                    found.append((row, start, text, int(line[start])))
        return found


@dataclasses.dataclass(frozen=True)
class Axes:
    """The axes of a plot area. Columns count from 0, rows from 0 on top."""

    style: int
    margin: int
    """The number of columns left of the plot area: the longest label and one for the axis."""
    x_ticks: list[int]
    y_ticks: dict[int, str]
    """The label of each row with a tick."""
    cursor: int | None
    """The column of a line behind the curves."""


def drawn(canvas: Canvas, axes: Axes | None = None) -> list[Row]:
    """Draw a plot area with plotext, optionally with axes to its left and below; returns rows from top to bottom.

    plotext draws the labels of an x axis in an unstable order, so it draws only the ticks.
    """
    rows = canvas.rows + (axes is not None)
    figure = _Figure().subplot(1, 1)  # only a subplot may be larger than the terminal; each figure has a spare one
    figure.theme("clear")
    figure.xaxes(axes is not None, False)
    figure.yaxes(axes is not None, False)
    figure.xlim(0, max(canvas.columns - 1, 1))
    figure.ylim(0, max(canvas.rows - 1, 1))
    if axes is None:
        figure.plot_size(canvas.columns, rows)
        figure.xticks([], [])
        figure.yticks([], [])
    else:
        figure.plot_size(canvas.columns + axes.margin, rows + bool(axes.x_ticks))  # empty labels also need a line
        figure.ticks_color(axes.style)
        figure.xticks(axes.x_ticks, [""] * len(axes.x_ticks))
        figure.yticks([canvas.rows - 1 - row for row in axes.y_ticks], axes.y_ticks.values())
        if axes.cursor is not None:
            figure.vertical_line(axes.cursor, axes.style)
    for row, column, text, style in canvas.texts():
        figure.text(text, column, canvas.rows - 1 - row, color=style, alignment="left")
    built = list(map(_row, figure.build().split("\n")[:rows]))
    if axes is not None:
        for _, styles in built[: canvas.rows]:
            styles[: axes.margin] = [axes.style] * axes.margin  # also spaces: fewer changes of style to send
    return built


def _row(line: str) -> Row:
    """Parse a line of plotext's output."""
    characters: list[str] = []
    styles: list[int] = []
    for part in line.split(_END):
        style = 0
        if part.startswith(_COLOR):
            number, part = part.removeprefix(_COLOR).split("m", 1)
            style = int(number)
        characters += part
        styles += [style] * len(part)
    return characters, styles


@dataclasses.dataclass
class Line:
    """A line of text outside the plot area that finds free room for labels."""

    characters: list[str]
    styles: list[int]

    @classmethod
    def blank(cls, columns: int) -> Line:
        return cls([" "] * columns, [0] * columns)

    def write(self, column: int, text: str, style: int, *, apart: int = 0, beside: int | None = None) -> bool:
        """Write if these cells, and `apart` more on each side, are blank; return whether they were.

        The cell `beside` may touch the text.
        """
        end = column + len(text)
        if column < 0 or end > len(self.characters):
            return False
        near = range(max(column - apart, 0), min(end + apart, len(self.characters)))
        if any(self.characters[cell] != " " for cell in near if cell != beside):
            return False
        self.characters[column:end] = text
        self.styles[column:end] = [style] * len(text)
        return True

    @property
    def row(self) -> Row:
        return self.characters, self.styles


def window_any(cells: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Whether any of `length` cells from [row, column] on is set; [rows, max(columns - length + 1, 0)]."""
    total = np.zeros((cells.shape[0], cells.shape[1] + 1), dtype=np.int64)
    np.cumsum(cells, axis=1, out=total[:, 1:])
    return np.asarray(total[:, length:] > total[:, : max(total.shape[1] - length, 0)], dtype=np.bool_)


class Drawing(Text):
    """A chart as text, with a span for each stretch of one style, which can convert columns to values of x."""

    def __init__(self, rows: list[Row], palette: Palette, x_scale: Scale | None, columns: range) -> None:
        """`columns` are those of the plot area. `x_scale` is None if nothing is drawn."""
        spans, start = [], 0
        for _, styles in rows:
            for style, run in itertools.groupby(styles):
                end = start + len(list(run))
                if style:
                    spans.append(Span(start, end, palette.styles[style]))
                start = end
            start += 1
        super().__init__("\n".join("".join(row) for row, _ in rows), spans=spans, no_wrap=True, end="")
        self._x_scale, self._columns = x_scale, columns

    def x_at(self, column: int) -> float | None:
        """The value of x in the middle of a text column; None outside the plot area and without points."""
        if self._x_scale is None or column not in self._columns:
            return None
        return self._x_scale.value((column - self._columns.start + 0.5) / len(self._columns))
