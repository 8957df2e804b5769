"""The plot area as cells, set by plotext, and the finding of free room for labels between the curves.

The only module that uses plotext. Curves arrive as cells: letting plotext walk every line dot by dot costs ten times
as much: 53 ms for three noisy curves on 120 × 30 cells.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from rich.text import Span, Text

from wdtui.plots.terminal.raster import BRAILLE
from wdtui.plots.terminal.scale import Scale
from wdtui.support.third_party import monitor_class

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
        return min(self.styles.index(style), 255)  # plotext takes colours 0 … 255


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

    def lines(self) -> list[Row]:
        """Have plotext set the cells; from top to bottom."""
        monitor = monitor_class()
        monitor.set_theme("clear")
        monitor.set_frame(False)
        monitor.set_size([self.columns, self.rows])
        rows, columns = np.nonzero(self.characters)
        if not len(rows):
            return [([" "] * self.columns, [0] * self.columns) for _ in range(self.rows)]
        monitor.set_xticks([], [])
        monitor.set_yticks([], [])
        monitor.set_xlim(0, max(self.columns - 1, 1))
        monitor.set_ylim(0, max(self.rows - 1, 1))
        characters = list(map(chr, self.characters[rows, columns].tolist()))
        colors = self.styles[rows, columns].tolist()
        monitor.draw(columns.tolist(), (self.rows - 1 - rows).tolist(), marker="x", color=0)
        monitor.marker, monitor.color = [characters], [colors]  # as arguments each would be checked again, cell by cell
        monitor.build_plot()
        colored = [[style if isinstance(style, int) else 0 for style in row] for row in monitor.matrix.fullground]
        return list(zip(monitor.matrix.marker, colored, strict=True))[::-1]


class Line:
    """One line of text outside the plot area, on which labels find free room."""

    def __init__(self, columns: int) -> None:
        self.characters = [" "] * columns
        self.styles = [0] * columns

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
