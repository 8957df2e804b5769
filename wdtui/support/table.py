"""Columns of a table in a terminal: the texts of their cells, and which of them fit into a width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from rich.cells import cell_len, set_cell_size

Row = TypeVar("Row")
GAP = 2
"""The number of cells between two columns, which are the last of each."""


@dataclasses.dataclass(frozen=True, eq=False)
class Column(Generic[Row]):
    """One column. Narrow tables omit those with the highest `rank` first."""

    title: str
    width: int
    rank: int
    text: Callable[[Row], str]
    value: Callable[[Row], Any] | None = None
    """The value to sort by, or None."""
    right: bool = True
    tone: Callable[[Row], str] = lambda row: ""
    """The theme colour of a row's cell; "" is the default."""
    stretch: int = 0
    """Its share of the remaining width, of which it takes no more than it needs."""
    shorter: Callable[[Row], str] | None = None
    """The text if there is no room for `text`."""
    both_ends: bool = False
    """Whether a text that is too long loses its middle, and not its end."""

    def cell(self, row: Row, cells: int) -> str:
        """The text for a row in exactly `cells` cells."""
        text = self.text(row)
        if self.shorter and cell_len(text) > cells - GAP:
            text = self.shorter(row)
        return self.aligned(text, cells)

    def parts(self, cell: str, tone: str) -> Iterable[tuple[str, str]]:
        """The text of a cell in parts, each with its theme colour."""
        return [(cell, tone)]

    def aligned(self, text: str, cells: int) -> str:
        """The text in exactly `cells` cells, the last two of them blank."""
        room = max(cells - GAP, 1)
        if cell_len(text) > room and self.both_ends:
            end = (room - 1) * 2 // 3
            text = f"{set_cell_size(text, room - 1 - end)}…{text[len(text) - end :]}"
        text = cut(text, room, " · ")
        padding = " " * (room - cell_len(text))
        return (padding + text if self.right else text + padding) + " " * (cells - room)


def cut(text: str, cells: int, between: str) -> str:
    """A text in at most `cells` cells. It loses whole parts, which leaves numbers whole, if they fill half of it."""
    if cells < 1:
        return ""
    if cell_len(text) <= cells:
        return text
    parts = text.split(between)
    while parts := parts[:-1]:
        kept = f"{between.join(parts)}{between.rstrip(' ·')} …"
        if cells // 2 <= cell_len(kept) <= cells:
            return kept
    return f"{set_cell_size(text, cells - 1)}…"


AnyColumn = TypeVar("AnyColumn", bound=Column[Any])


def fitting(columns: Iterable[AnyColumn], width: int, needed: Mapping[AnyColumn, int]) -> list[tuple[AnyColumn, int]]:
    """The columns that fit, with the number of cells of each: its own width, or the needed one if that is larger.

    A column that stretches gets what it needs only where there is room for it beside all others.
    """
    wanted = {column: column.width if column.stretch else max(column.width, needed[column]) for column in columns}
    cells = omitting(wanted, width, rank=lambda column: column.rank)
    growing = sorted((column for column in cells if column.stretch), key=lambda column: needed[column])
    for place, column in enumerate(growing):
        rest = max(width - sum(cells.values()), 0) * column.stretch // sum(other.stretch for other in growing[place:])
        cells[column] += min(rest, max(needed[column] - cells[column], 0))
    return [*cells.items()]


Part = TypeVar("Part")


def omitting(cells: Mapping[Part, int], width: float, rank: Callable[[Part], Any]) -> dict[Part, int]:
    """The parts of a line, and their cells, that fit into a width: those with the highest rank are omitted first."""
    left = dict(cells)
    while len(left) > 1 and sum(left.values()) > width:
        del left[max(left, key=rank)]
    return left
