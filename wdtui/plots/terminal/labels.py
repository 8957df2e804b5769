"""Where the name of each curve is written: behind its end, else beside it, else as near its end as there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wdtui.plots.terminal.canvas import Canvas, window_any

Cells = NDArray[np.bool_]
"""The cells [rows, columns] that a curve touches."""
_SHORT, _SHARE = 4, 3
"""The characters that a shortened name keeps. It covers a curve only if the plot area has so many times as many
columns."""


def write_names(
    canvas: Canvas, curves: Sequence[Cells], names: Sequence[tuple[str, str]], styles: Sequence[int], ellipsis: str
) -> None:
    """Write the markers and names of curves over a plot area. A curve without a name has "" for both.

    As a name has its marker, it may lie away from its curve. One without room is shortened, or else covers the end of
    its own curve. Names that begin alike are not shortened, but left out.
    """
    shortened = {name: name if len(name) <= _SHORT + 1 else name[:_SHORT] + ellipsis for _, name in names}
    distinct = len(set(shortened.values())) == len(shortened)
    for index, ((marker, name), style) in enumerate(zip(names, styles, strict=True)):
        if not name or not curves[index].any():
            continue
        full, short = (f"{marker} {text}".strip() for text in (name, shortened[name]))
        for text in (full, short) if distinct else (full,):
            starts = canvas.free_starts(len(text))
            if starts.any():
                place = _behind(starts, curves[index]) or _along(starts, curves, index, len(text))
                canvas.write_apart(*(place or _near_end(starts, curves[index])), text, style)
                break
        else:
            if distinct and len(short) * _SHARE <= canvas.columns:
                row, column = _end(curves[index])
                canvas.write_apart(row, min(column, canvas.columns - len(short)), short, style)


def _end(curve: Cells) -> tuple[int, int]:
    """The row and column of the right end of a curve."""
    column = int(np.flatnonzero(curve.any(axis=0))[-1])
    rows = np.flatnonzero(curve[:, column])
    return int(rows[len(rows) // 2]), column


def _behind(starts: Cells, curve: Cells) -> tuple[int, int] | None:
    """Row and column for a name right of a curve's last cell; None if there is no room."""
    row, column = _end(curve)
    return (row, column + 2) if column + 2 < starts.shape[1] and starts[row, column + 2] else None


def _along(starts: Cells, curves: Sequence[Cells], index: int, length: int) -> tuple[int, int] | None:
    """Row and column directly above or below a curve, as far right as possible; away from the others if possible."""
    room = starts & window_any(_thicker(curves[index]), length)
    if not room.any():
        return None
    others = [curve for other, curve in enumerate(curves) if other != index]
    near_others = _thicker(np.any(others, axis=0)) if others else np.zeros_like(curves[index])
    apart = room & ~window_any(near_others, length)
    columns, rows = np.nonzero((apart if apart.any() else room).T)
    return int(rows[columns == columns[-1]][0]), int(columns[-1])


def _near_end(starts: Cells, curve: Cells) -> tuple[int, int]:
    """The free row and column nearest to the end of a curve."""
    end_row, end_column = _end(curve)
    rows, columns = np.nonzero(starts)
    nearest = int(np.argmin(2 * np.abs(rows - end_row) + np.abs(columns - end_column)))
    return int(rows[nearest]), int(columns[nearest])


def _thicker(curve: Cells) -> Cells:
    """The cells of a curve and those above and below."""
    thick = curve.copy()
    thick[1:] |= curve[:-1]
    thick[:-1] |= curve[1:]
    return thick
