"""The layers of a run as a table that scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from wdtui.plots.terminal.layers import Row, fitted
from wdtui.support.table import Column
from wdtui.tui.theme import style_of
from wdtui.tui.widgets.line_table import LineTable, column_at

_ORDERED_BY = {"layer": "network", "rotation / equilibrium": "deviation", "decay share": "share"}
"""The order that a click on the title of a column asks for."""


class LayerTable(LineTable):
    """Shows rows below the titles of the columns that fit."""

    class Ordered(Message):
        """The title of a column was clicked."""

        def __init__(self, order: str) -> None:
            super().__init__()
            self.order = order

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[Row] = ()
        self._columns: list[tuple[Column[Row], int]] = []

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows."""
        self._rows = rows
        columns = fitted(rows, self.scrollable_content_region.width - 1)
        if columns != self._columns:
            self._columns = columns
            self.refresh()
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self.refresh_changed(list(self._painted))

    def on_resize(self) -> None:
        self.show(self._rows)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        at = column_at(event.x, self._columns)
        if event.y == 0 and at and at.title in _ORDERED_BY:
            self.post_message(self.Ordered(_ORDERED_BY[at.title]))

    def line(self, y: int) -> Strip:
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
        return Strip(parts).adjust_cell_length(width, base)
