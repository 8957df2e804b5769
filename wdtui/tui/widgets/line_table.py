"""A table of lines of which only the visible ones are drawn, so that ten thousand cost as much as twenty."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wdtui.support.table import AnyColumn
from wdtui.tui.widgets.chart import changed_cells


class LineTable(ScrollView, can_focus=True):
    """Draws what `line` returns. Changed cells alone are painted again."""

    DEFAULT_CSS = """
    LineTable { background: $background; color: $foreground; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._painted: dict[int, Strip] = {}
        """The visible lines as they were drawn last."""

    def line(self, y: int) -> Strip:
        """The content of a visible line, in the full width."""
        raise NotImplementedError

    def refresh_changed(self, lines: Iterable[int]) -> None:
        """Paint the cells of some visible lines that have changed."""
        for y in lines:
            if (before := self._painted.get(y)) and (span := changed_cells(before, self.render_line(y))):
                self.refresh(Region(span[0], y, span[1] - span[0], 1))

    def notify_style_update(self) -> None:
        self._painted.clear()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        self._painted = {y: strip for y, strip in self._painted.items() if y < self.size.height}
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        self._painted[y] = self.line(y)
        return self._painted[y]


def column_at(x: int, columns: Sequence[tuple[AnyColumn, int]]) -> AnyColumn | None:
    """The column at a cell of a line, given the number of cells of each."""
    ends = itertools.accumulate(cells for _, cells in columns)
    return next((column for (column, _), end in zip(columns, ends, strict=True) if x < end), None)
