"""Charts within a line of text: a curve as blocks, and a bar beside a mark."""

from __future__ import annotations

import math
from collections.abc import Iterable

_BLOCKS, _DOTS = "▁▂▃▄▅▆▇", "⣤⠶⠛"
"""The heights of a value in a curve, which leave a gap to the line above, and of a point."""
EMPTY = "╌"
"""What a bar does not fill."""
_FLAT = 0.1
"""A curve whose range is a smaller share of its largest value is not stretched to the full height."""


def sparkline(values: Iterable[float], ends: tuple[float, float] | None = None, *, dots: bool = False) -> str:
    """A curve, one block for each value and a blank for NaN. With `dots` a value on its own is a point at its height.

    The bottom and the top are `ends`, or else the smallest and the largest value.
    """
    values = list(values)
    known = [value for value in values if not math.isnan(value)]
    low, high = ends or (min(known, default=0.0), max(known, default=0.0))
    span = max(high - low, 0.0 if ends else _FLAT * abs(high)) or 1.0
    signs = _DOTS if dots and len(known) == 1 else _BLOCKS
    return "".join(" " if math.isnan(value) else _sign(signs, (value - low) / span) for value in values)


def _sign(signs: str, height: float) -> str:
    """The sign for a height between 0 and 1."""
    return signs[min(max(int(height * len(signs)), 0), len(signs) - 1)]


def share_bar(share: float, width: int) -> str:
    """A bar that fills a share of `width` cells. Only 1 fills it, and only 0 leaves it empty."""
    halves = min(max(round(share * 2 * width), 1), 2 * width - 1) if 0 < share < 1 else round(share) * 2 * width
    return ("━" * (halves // 2) + "╸" * (halves % 2)).ljust(width, EMPTY)


def bar(value: float, mark: float, width: int, most: float) -> str:
    """A bar from 0 in `width` cells that stand for 0 to `most`, with a mark.

    A larger value ends in an arrow. NaN is a bar of no length.
    """
    at = min(int(mark / most * width), width - 1)
    length = 0.0 if math.isnan(value) else max(value, 0.0) / most * width
    whole = min(int(length), width)
    cells = "━" * whole + ("╸" if whole < width and length - whole >= 0.5 else "")
    cells = cells.ljust(width) if length <= width else f"{cells[:-1]}▸"
    sign = "│" if cells[at] == " " else "┿"
    return cells[:at] + sign + cells[at + 1 :]
