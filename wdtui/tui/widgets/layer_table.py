"""The layers of a run as a table that scrolls. Only visible lines are drawn, so 2,000 layers cost as much as twenty."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wdtui.plots.terminal.layers import Row, fitted
from wdtui.support.table import Column
from wdtui.tui.theme import style_of
from wdtui.tui.widgets.chart import changed_cells

_ORDERED_BY = {"layer": "network", "rotation / equilibrium": "deviation", "decay share": "share"}
"""The order that a click on the title of a column asks for."""


class LayerTable(ScrollView, can_focus=True):
    """Shows rows below the titles of the columns that fit. Changed cells alone are painted again."""

    DEFAULT_CSS = """
    LayerTable { background: $background; color: $foreground; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    class Ordered(Message):
        """The title of a column was clicked."""

        def __init__(self, order: str) -> None:
            super().__init__()
            self.order = order

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Row] = ()
        self._columns: list[tuple[Column[Row], int]] = []
        self._painted: dict[int, Strip] = {}
        """The visible lines as they were drawn last."""

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows."""
        self._rows = rows
        columns = fitted(rows, self.scrollable_content_region.width - 1)
        if columns != self._columns:
            self._columns = columns
            self.refresh()
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        for y, before in list(self._painted.items()):
            span = changed_cells(before, self.render_line(y))
            if span:
                self.refresh(Region(span[0], y, span[1] - span[0], 1))

    def on_resize(self) -> None:
        self.show(self._rows)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        ends = [*itertools.accumulate(cells for _, cells in self._columns)]
        at = next((column for (column, _), end in zip(self._columns, ends, strict=True) if event.x < end), None)
        if event.y == 0 and at and at.title in _ORDERED_BY:
            self.post_message(self.Ordered(_ORDERED_BY[at.title]))

    def notify_style_update(self) -> None:
        self._painted.clear()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        self._painted = {y: strip for y, strip in self._painted.items() if y < self.size.height}
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        index = y - 1 + self.scroll_offset.y
        muted = base + style_of(self.app, "muted")
        if y == 0:
            parts = [Segment(column.aligned(column.title, cells), muted) for column, cells in self._columns]
        elif index < len(self._rows):
            row = self._rows[index]
            parts = [
                Segment(column.cell(row, cells), muted if column.tone(row) else base) for column, cells in self._columns
            ]
        else:
            parts = []
        self._painted[y] = Strip(parts).adjust_cell_length(width, base)
        return self._painted[y]
