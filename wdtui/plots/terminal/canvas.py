"""The plot area as cells, the finding of free room for labels between the curves, and the drawing by plotext.

The only module that uses plotext. It draws the axes, their ticks, the cursor and the cells of curves and labels. The
dots of a curve are joined here: plotext walks a line dot by dot in Python, which makes a chart of noisy curves twenty
times as slow, and in a cell that two curves meet it shows the dots of the last alone.
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
"""The functions of plotext share one figure in a process. Each chart has its own, so that any thread may draw."""
_COLOR, _END = "\x1b[38;5;", "\x1b[0m"
"""What stands before and after cells of one colour in a built figure."""

Row = tuple[list[str], list[int]]
"""The characters of a line and the number of the style of each."""


class Palette:
    """The styles of one chart, numbered, because a number per cell is cheaper to carry and compare than a style."""

    def __init__(self) -> None:
        self.styles = [""]

    def number(self, style: str | None) -> int:
        if not style:
            return 0
        if style not in self.styles:
            self.styles.append(style)
        return min(self.styles.index(style), 255)  # plotext has colours 0 … 255


class Canvas:
    """The cells of a plot area: characters and styles [rows, columns], row 0 on top; character 0 is a free cell."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.characters = np.zeros((rows, columns), dtype=np.uint32)
        self.styles = np.zeros((rows, columns), dtype=np.int64)

    def add_braille(self, cells: NDArray[np.uint32], style: int) -> None:
        """Lay a curve's braille over the others; where they meet the dots of both stay, in the colour of the last."""
        old = self.characters
        dotted = (old >= BRAILLE) & (old < BRAILLE + 256) & (cells > 0)
        self.add(np.where(dotted, cells | old, np.where(cells > 0, cells | BRAILLE, 0)).astype(np.uint32), style)

    def add(self, cells: NDArray[np.uint32], style: int) -> None:
        """Lay characters [rows, columns] over what is there, where they are not 0."""
        self.characters = np.where(cells > 0, cells, self.characters)
        self.styles[cells > 0] = style

    def fill(self, row: slice, column: slice, character: str, style: int) -> None:
        """Draw behind what is there."""
        free = self.characters[row, column] == 0
        self.characters[row, column][free] = ord(character)
        self.styles[row, column][free] = style

    def write(self, row: int, column: int, text: str, style: int) -> None:
        """Write over what is there, cut at the edges."""
        for offset, character in enumerate(text[: self.columns - column], start=column):
            self.characters[row, offset], self.styles[row, offset] = ord(character), style

    def free_places(self, length: int) -> NDArray[np.bool_]:
        """Whether `length` cells from [row, column] on, and one on either side, are free; as `window_any`."""
        taken = np.zeros((self.rows, self.columns + 2), dtype=np.bool_)
        taken[:, 1:-1] = self.characters > 0
        return ~window_any(taken, length + 2)

    def texts(self) -> list[tuple[int, int, str, int]]:
        """The cells that are not free as row, column, text and style of every stretch of one style in a row."""
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
    """What stands left of a plot area, below and behind it. Columns count from 0, rows from 0 on top."""

    style: int
    margin: int
    """How many columns stand left of the plot area: those of the longest label and one for the axis."""
    x_ticks: list[int]
    y_ticks: dict[int, str]
    """The label of every row that has a tick."""
    cursor: int | None
    """The column of a line behind the curves."""


def drawn(canvas: Canvas, axes: Axes | None = None) -> list[Row]:
    """Have plotext draw a plot area, with axes left of it and in a line below where given; from top to bottom.

    plotext places the labels of an x axis in no certain order, so it gets the ticks alone.
    """
    rows = canvas.rows + (axes is not None)
    figure = _Figure().subplots(1, 1).subplot(1, 1)  # a subplot may be larger than the terminal
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
        figure.plot_size(canvas.columns + axes.margin, rows + bool(axes.x_ticks))  # labels have a line, even empty ones
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
            styles[: axes.margin] = [axes.style] * axes.margin  # blanks too: fewer changes of style to send
    return built


def _row(line: str) -> Row:
    """Read a line of a built figure."""
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
    """One line of text outside the plot area, on which labels find free room."""

    characters: list[str]
    styles: list[int]

    @classmethod
    def blank(cls, columns: int) -> Line:
        return cls([" "] * columns, [0] * columns)

    def write(self, column: int, text: str, style: int, *, apart: int = 0, beside: int | None = None) -> bool:
        """Write where only blanks are, `apart` more on either side; return whether there was room.

        What stands in the cell `beside` may be right next to the text.
        """
        end = column + len(text)
        if column < 0 or end > len(self.characters):
            return False
        near = range(max(column - apart, 0), min(end + apart, len(self.characters)))
        if any(self.characters[place] != " " for place in near if place != beside):
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
    """A drawn chart as text, with a span for every run of cells of one style; it knows what its columns show."""

    def __init__(self, rows: list[Row], palette: Palette, x_scale: Scale | None, columns: range) -> None:
        """`columns` are those of the plot area; `x_scale` is None where nothing is drawn."""
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
        """The value of x in the middle of a column of the text; None beside the plot area and without points."""
        if self._x_scale is None or column not in self._columns:
            return None
        return self._x_scale.value((column - self._columns.start + 0.5) / len(self._columns))
