"""Charts within a line of text: a curve as blocks, and a bar beside a mark."""

from __future__ import annotations

import math
from collections.abc import Iterable

_BLOCKS = "▁▂▃▄▅▆▇█"
_FLAT = 0.1
"""A curve whose range is a smaller share of its largest value is not stretched to the full height."""


def sparkline(values: Iterable[float]) -> str:
    """A curve of positive values, one block for each: its smallest value is at the bottom, its largest on top."""
    values = list(values)
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = max(high - low, _FLAT * abs(high)) or 1.0
    return "".join(_BLOCKS[min(int((value - low) / span * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in values)


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
