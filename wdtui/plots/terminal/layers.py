"""The columns of a table of layers, for the app and the command line: what decay does to each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from wdtui.analysis.decay import Layer, norms
from wdtui.plots.terminal.inline import bar, sparkline
from wdtui.schema.curves import Curves
from wdtui.support.table import GAP, Column, fitting
from wdtui.support.text import NOTHING, clean, number, percent

_CURVE, _BAR, _MOST = 8, 15, 1.5
"""Cells of the curve of norms, cells of the bar, and the multiple of the equilibrium that fills it."""


class Row(NamedTuple):
    """A layer of a run."""

    layer: Layer
    curves: Curves


def _rotation(row: Row) -> str:
    """The rotation as a bar, with a mark at the equilibrium."""
    layer = row.layer
    if layer.invariant is False:
        return "not scale-invariant"
    if math.isnan(layer.equilibrium):
        return NOTHING
    return f"{bar(layer.equilibrium, 1, _BAR, _MOST)} {layer.equilibrium:>6.2f}"


COLUMNS: tuple[Column[Row], ...] = (
    Column("layer", 8, 0, lambda row: clean(row.layer.name), right=False, both_ends=True),
    Column("", _CURVE + GAP, 2, lambda row: _norms(row), right=False, tone=lambda row: "muted"),
    Column("norm", 8, 0, lambda row: number(row.layer.norm)),
    Column("rotation / equilibrium", _BAR + 9, 1, _rotation, right=False, tone=lambda row: _tone(row)),
    Column("decay share", 13, 0, lambda row: percent(row.layer.decay_share)),
    Column("rotation", 10, 4, lambda row: number(row.layer.rotation)),
    Column("cos(W, ∇W)", 12, 3, lambda row: f"{row.layer.cosine:.3f}" if row.layer.cosine >= 0 else NOTHING),
)


def _norms(row: Row) -> str:
    return sparkline(norms(row.curves, row.layer.name, _CURVE))


def _tone(row: Row) -> str:
    return "muted" if math.isnan(row.layer.equilibrium) else ""


def fitted(rows: Sequence[Row], width: int) -> list[tuple[Column[Row], int]]:
    """The columns that fit and the cells of each. Names have the room that the longest of them needs."""
    width += GAP  # the blank cells after the last column may be cut
    longest = max((len(row.layer.name) for row in rows), default=0) + GAP
    needed = sum(column.width for column in COLUMNS[1:] if column.rank < 2)
    names = max(min(longest, width - needed), COLUMNS[0].width)
    return fitting(COLUMNS, width, dict.fromkeys(COLUMNS, 0) | {COLUMNS[0]: names})
