"""Converts curves to dots with numpy: decimates them without losing extremes, then joins the points by lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wdtui.plots.terminal.scale import Floats

BRAILLE = 0x2800
"""The character without dots. Its low byte says which of the 2 × 4 dots are set."""

_BITS = [0, 1, 2, 4, 5, 6, 3, 7]
"""The dot of each bit of a braille character, where dots count down the left column, then the right."""


def decimate(
    x: Floats, y: Floats, columns: int, x_range: tuple[float, float], x_log: bool = False
) -> tuple[Floats, Floats]:
    """Reduce a curve to what `columns` columns over `x_range` can show; `x` and `y` are [points].

    Each column keeps the first of its smallest and the first of its largest values. The nearest points beyond both
    ends of the range are kept too. Between two kept points with values that are not finite between them, the first of
    those is kept as a gap. The order by x is kept. There are at most 4 · columns + 3 points, 2 · columns + 2 of them
    finite. Points without a position on the x axis (not finite, or not positive on a logarithmic one) are removed.
    """
    x, y = _placed(x, y, x_log)
    low, high = x_range
    first, last = np.searchsorted(x, low, "left"), np.searchsorted(x, high, "right")
    finite = np.isfinite(y)
    inside = first + np.flatnonzero(finite[first:last])
    before, after = np.flatnonzero(finite[:first])[-1:], last + np.flatnonzero(finite[last:])[:1]
    kept = np.concatenate([before, _extremes(y[inside], _columns(x[inside], columns, low, high, x_log), inside), after])
    kept = _with_gaps(kept.astype(np.int64), finite)
    return x[kept], y[kept]


def lines(x: Floats, y: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """Join points by lines on a grid [height, width] whose row 0 is on top.

    `x` is within 0…1, `y` is clipped to it, and NaN in `y` breaks the line.
    """
    grid = np.zeros((height, width), dtype=np.bool_)
    drawn = np.isfinite(y)
    column = np.minimum(x * width, width - 1).astype(np.int64)
    row = height - 1 - np.minimum(np.clip(np.where(drawn, y, 0), 0, 1) * height, height - 1).astype(np.int64)
    grid[row[drawn], column[drawn]] = True
    joined = np.flatnonzero(drawn[1:] & drawn[:-1])
    across, down = column[joined + 1] - column[joined], row[joined + 1] - row[joined]
    length = np.maximum(np.abs(across), np.abs(down))
    segment = np.repeat(np.arange(len(joined)), length)
    along = (np.arange(len(segment)) - np.repeat(np.cumsum(length) - length, length)) / length[segment]
    start = joined[segment]
    grid[row[start] + _rounded(along * down[segment]), column[start] + _rounded(along * across[segment])] = True
    return grid


def braille(dots: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Pack dots [4 · rows, 2 · columns] into the low bytes of braille characters [rows, columns]; 0 without dots."""
    rows, columns = dots.shape[0] // 4, dots.shape[1] // 2
    cells = dots.reshape(rows, 4, columns, 2).transpose(0, 2, 3, 1).reshape(rows, columns, 8)[..., _BITS]
    return np.packbits(cells, axis=-1, bitorder="little")[..., 0].astype(np.uint32)


def to_the_edges(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Cut the first and last segment of a curve at 0 and 1 in x. Points outside with no segment inside are removed."""
    x, y = x.copy(), y.copy()
    for end, edge, beyond in ((0, 0.0, x < 0), (-1, 1.0, x > 1)):
        if len(x) and beyond[end]:
            inner = 1 if end == 0 else -2
            if len(x) > 1 and np.isfinite(y[inner]) and x[inner] != x[end]:
                y[end] += (y[inner] - y[end]) * (edge - x[end]) / (x[inner] - x[end])
                x[end] = edge
    inside = (x > -1e-9) & (x < 1 + 1e-9)
    return x[inside], y[inside]


def _placed(x: Floats, y: Floats, x_log: bool) -> tuple[Floats, Floats]:
    placed = np.isfinite(x) & (x > 0) if x_log else np.isfinite(x)
    if not placed.all():
        x, y = x[placed], y[placed]
    if (x[1:] < x[:-1]).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    return x, y


def _columns(x: Floats, columns: int, low: float, high: float, x_log: bool) -> NDArray[np.int64]:
    if x_log:
        x, low, high = np.log10(x), float(np.log10(low)), float(np.log10(high))
    return np.minimum((x - low) / (high - low) * columns, columns - 1).astype(np.int64)


def _extremes(y: Floats, column: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices of the first smallest and first largest value of each stretch of equal columns, ascending."""
    if not len(y):
        return index
    starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    stretch = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(y))))
    chosen = []
    for extreme in (np.minimum, np.maximum):
        hits = np.flatnonzero(y == extreme.reduceat(y, starts)[stretch])
        chosen.append(hits[np.concatenate([[True], stretch[hits][1:] != stretch[hits][:-1]])])
    return np.asarray(index[np.unique(np.concatenate(chosen))], dtype=np.int64)


def _with_gaps(kept: NDArray[np.int64], finite: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Add the first index that is not finite between two neighbours of `kept`, if there is one."""
    if finite.all() or len(kept) < 2:
        return kept
    missing = np.flatnonzero(~finite)
    following = np.searchsorted(missing, kept[:-1])
    following = missing[np.minimum(following, len(missing) - 1)]
    gaps = following[(following > kept[:-1]) & (following < kept[1:])]
    return np.sort(np.concatenate([kept, gaps]))


def _rounded(values: Floats) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
