"""Axes as pure functions: positions of values, ranges that rarely change, and a few ticks at round values."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wdtui.support.text import number, scientific

Floats = NDArray[np.float64]

LIMIT = 1e150
"""Larger values are drawn here, so that differences of values do not overflow."""

_DECADES = 300.0
"""The decimal logarithm of the largest end of an axis."""

_WHOLE_STEPS, _STEPS, _DECADE_STEPS = (
    (1.0, 2.0, 2.5, 5.0, 10.0),
    (1.0, 2.0, 2.5, 4.0, 5.0, 10.0),
    (1.0, 2.0, 3.0, 5.0, 10.0),
)
"""The steps between ticks: ×10ᵏ of chosen ends, which are whole numbers of them, of other values, and of decades."""

_TICK = 0.375
"""Where in its row a tick lies: on the second of its four dots. Between two, values near it would be at two heights."""

_FLAT = 5.0
"""A curve is an outlier if the axis is so many times as long with it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis."""

    low: float
    high: float
    """The ends of the axis, as values, or as their decimal logarithms if `log`."""
    log: bool = False

    def unit(self, values: ArrayLike) -> Floats:
        """Map values of any shape to 0 (low end) … 1 (high end) and beyond; NaN if they have no position."""
        array = np.clip(np.asarray(values, dtype=np.float64), -LIMIT, LIMIT)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.log:
                array = np.log10(np.where(array > 0, array, np.nan))
            return np.asarray(np.clip((array - self.low) / (self.high - self.low), -1e9, 1e9), dtype=np.float64)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends as values."""
        return (10**self.low, 10**self.high) if self.log else (self.low, self.high)

    def value(self, unit: float) -> float:
        """The value at a position between 0 (low end) and 1 (high end)."""
        position = self.low + unit * (self.high - self.low)
        return 10**position if self.log else position

    def cell(self, value: float, cells: int) -> int | None:
        """The cell, 0 … cells - 1, of a value; None outside the axis."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        position = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return max(min(int(position * cells), cells - 1), 0) if -1e-9 <= position <= 1 + 1e-9 else None

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values on the axis, ascending, with labels: about `most`, and at least three if that is not less."""
        if not self.log:
            return _linear_ticks(self.low, self.high, most)
        ticks = _log_ticks(self.low, self.high, most)
        if len(ticks) < min(most, 3) and self.high - self.low < 1:
            return _linear_ticks(*self.ends, most + 2)
        return ticks


def value_axis(
    values: Floats,
    log: bool,
    chosen: tuple[float, float] | None = None,
    *,
    extra: tuple[float, ...] = (),
    rows: int,
) -> tuple[Scale, dict[int, str]]:
    """Choose a vertical axis of so many rows, and the rows with ticks, from 0 at the bottom, with their labels.

    The axis holds the chosen ends if they are valid, else finite `values`, and `extra` ones that are near enough to
    leave room for the curves. A tick lies on a dot in the middle of its row. Rows between ticks are equally many,
    except on a logarithmic axis of less than about a decade.
    """
    low, high = _ends(values, log, chosen, extra) or (0.0, 1.0)
    even = _even_rows(low, high, rows, _DECADE_STEPS if log else _STEPS if chosen is None else _WHOLE_STEPS)
    if log and even:
        first, step, per_step = even
        used, reach = (high - low) * per_step / step, max(-first, first + rows) * step / per_step
        even = even if used > (rows - 1) * 0.6 and reach < _DECADES else None
    if even is None:
        low, high = _rounded_out(low, high)
        half = (high - low) / (2 * (rows - 1)) if rows > 1 else 0.0
        most = _DECADES if log else math.inf
        below, above = 2 * half * _TICK, 2 * half * (1 - _TICK)
        scale = Scale(max(low - below, -most), min(high + above, most), log)
        cells = ((scale.cell(value, rows), label) for value, label in scale.ticks(max(min(rows // 3, 5), 1)))
        return scale, {cell: label for cell, label in reversed([*cells]) if cell is not None}
    first, step, per_step = even
    row = step / per_step
    scale = Scale((first - _TICK) * row, (first + rows - _TICK) * row, log)
    ticks = range(-(-first // per_step), (first + rows - 1) // per_step + 1)
    labels = _even_log_labels(ticks, step) if log else _linear_labels([tick * step for tick in ticks], step)
    return scale, dict(zip((tick * per_step - first for tick in ticks), labels, strict=True))


def _ends(
    values: Floats, log: bool, chosen: tuple[float, float] | None, extra: tuple[float, ...] = ()
) -> tuple[float, float] | None:
    """The positions that an axis has to hold; None without values."""
    ends = _transformed(np.asarray(chosen if chosen is not None else (), dtype=np.float64), log)
    if len(ends) == 2 and _wide_enough(ends[0], ends[1]):
        return float(ends[0]), float(ends[1])
    positions = _transformed(values, log)
    if not len(positions):
        return None
    low, high = float(positions.min()), float(positions.max())
    reach = max(high - low, 2.0 if log else abs(high) * 0.5)
    for value in _transformed(np.asarray(extra, dtype=np.float64), log).tolist():
        if low - reach <= value <= high + reach:
            low, high = min(low, value), max(high, value)
    return _widened(low, high, log)


def _even_rows(low: float, high: float, rows: int, steps: tuple[float, ...]) -> tuple[int, float, int] | None:
    """The axis of the finest rows that hold two positions, with at least three ticks, or two in fewer than six rows.

    Somewhat coarser rows with more ticks are preferred. Returns the first row, where row 0 is at position 0, the step
    between ticks, and its number of rows; None without room for two ticks.
    """
    enough = 3 if rows >= 6 else 2
    best, least = None, math.inf
    for per_step in range(max(2 if rows < 9 else 3, -(-rows // 6)), (rows - 1) // (enough - 1) + 1):
        step = (high - low) * per_step / rows
        for _ in range(4):
            step = _round_up(step, steps)
            first = _first_row(low * per_step / step, high * per_step / step, per_step, rows)
            if first is not None and (first + rows - 1) // per_step - -(-first // per_step) + 1 >= enough:
                if (cost := step / per_step * (1 + per_step / rows)) < least * (1 - 1e-9):
                    best, least = (first, step, per_step), cost
                break
            step *= 1.01
    return best


def _first_row(low: float, high: float, per_step: int, rows: int) -> int | None:
    """The first of the rows that hold two positions, counted in rows; None if there are not enough rows.

    A tick is on top if possible, or else at the bottom. Spare rows are at the bottom, as most curves fall, but not
    below 0 where no position is: so a growing curve seldom changes its axis.
    """
    first, last = math.floor(low + 0.5 + 1e-6), math.ceil(high - 0.5 - 1e-6)
    least = 0 if first >= 0 else last - rows + 1
    if last - first >= rows:
        return None
    for aligned in (-(-last // per_step) * per_step - rows + 1, first // per_step * per_step):
        if least <= aligned <= first and last - aligned < rows:
            return aligned
    return max(last - rows + 1, least)


def _round_up(step: float, factors: tuple[float, ...]) -> float:
    """The next larger factor × 10ᵏ."""
    power = 10.0 ** math.floor(math.log10(step) + 1e-9)
    found = next(factor * power for factor in factors if factor * power >= step * (1 - 1e-9))
    return max(found, 0.5) if factors is _DECADE_STEPS else found


def without_outliers(parts: list[Floats], log: bool) -> list[Floats]:
    """The curves that decide a range: without the few, a third at most, next to which all others would be flat."""
    kept = [part for part in parts if len(_transformed(part, log))]
    for _ in range(len(kept) // 3):
        spans = [_span([*kept[:index], *kept[index + 1 :]], log) for index in range(len(kept))]
        least = int(np.argmin(spans))
        if not 0 < spans[least] * _FLAT < _span(kept, log):
            break
        del kept[least]
    return kept


def _span(parts: list[Floats], log: bool) -> float:
    """How much of the axis curves cover together."""
    ends = np.concatenate([[part.min(), part.max()] for part in (_transformed(part, log) for part in parts)])
    return float(ends.max() - ends.min())


def time_scale(values: Floats, log: bool, chosen: tuple[float, float] | None) -> Scale:
    """Choose the axis of steps: the chosen ends, else the range of the values, extended to 0 if that is near."""
    if chosen is None and len(values):
        low, high = float(values.min()), float(values.max())
        chosen = (0.0 if 0 <= low < 0.2 * high and not log else low, high)
    ends = _ends(values, log, chosen)
    return Scale(*ends, log) if ends else Scale(0.0, 1.0, log)


def round_step(span: float, most: int) -> float:
    """The smallest 1, 2 or 5 × 10ᵏ of which at most `most` fit into the span."""
    least = span / max(most, 1)
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def _transformed(values: Floats, log: bool) -> Floats:
    finite = values[np.isfinite(values)]
    if log:
        return np.log10(np.clip(finite[finite > 0], 1 / LIMIT, LIMIT))
    return np.clip(finite, -LIMIT, LIMIT)


def _wide_enough(low: float, high: float) -> bool:
    return high - low > max(abs(low), abs(high)) * 1e-6 and high - low > 1e-300


def _widened(low: float, high: float, log: bool) -> tuple[float, float]:
    """Two ends with room between them."""
    if _wide_enough(low, high):
        return low, high
    margin = max(0.5 if log else abs(low) * 0.1 or 1.0, 1e-290)
    return low - margin, high + margin


def _rounded_out(low: float, high: float) -> tuple[float, float]:
    """Round the ends to multiples of a fine step, so that they seldom change while a curve grows."""
    step = round_step(high - low, 20)
    return math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step


def _linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    step, values = 0.0, []
    for finer in range(most, most + 9):  # if a step fits five times, at least three multiples are on the axis
        step = round_step(high - low, finer)
        values = [k * step for k in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]
        if len(values) >= min(max(most, 2), 3):
            break
    on_axis = [min(max(value, low), high) for value in values]  # rounding may put a value beyond an end
    return list(zip(on_axis, _linear_labels(values, step), strict=True))


def _linear_labels(values: list[float], step: float) -> list[str]:
    if not values:
        return []
    largest = max(map(abs, values))
    power = math.floor(math.log10(step) + 1e-9)
    power -= step > 2.4 * 10.0**power and step < 2.6 * 10.0**power  # 2.5 has a digit more
    if largest >= 1e8 or power < -4:
        digits = max(math.floor(math.log10(largest or 1) + 1e-9) - power, 0)
        return [scientific(value, digits) if value else "0" for value in values]
    if largest >= 10_000 and power >= 3:
        return [f"{round(value / 1000):,}k" if value else "0" for value in values]
    return [f"{value:,.{max(-power, 0)}f}" if value else "0" for value in values]


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Powers of ten, on a short axis also multiples of them: the fewest that are enough."""
    powers, enough = _log_positions(low, high, (1,)), min(max(most, 2), 3)
    stride = max(math.ceil(len(powers) / max(most, 1)), 1)
    coarse = ([position for position in powers if round(position) % step == 0] for step in range(stride, 0, -1))
    fine = (_log_positions(low, high, factors) for factors in ((1, 3), (1, 2, 5)))
    choices = [*coarse, *fine]
    kept = next((positions for positions in choices if len(positions) >= enough), choices[-1])
    exponents = bool(kept) and (kept[0] < -3.001 or kept[-1] > 6.999)
    return [(10**position, _log_label(position, exponents)) for position in kept]


def _even_log_labels(ticks: Sequence[int], step: float) -> list[str]:
    """The labels of multiples of a number of decades. Between two decades stands 3, which is nearly the middle."""
    positions = [tick * step if tick * step % 1 == 0 else math.floor(tick * step) + math.log10(3) for tick in ticks]
    exponents = bool(positions) and (positions[0] < -3.001 or positions[-1] > 6.999)
    return [_log_label(position, exponents) for position in positions]


def _log_positions(low: float, high: float, factors: tuple[int, ...]) -> list[float]:
    powers = range(math.floor(low), math.ceil(high) + 1)
    positions = [k + math.log10(factor) for k, factor in itertools.product(powers, factors)]
    return [position for position in positions if low - 1e-9 <= position <= high + 1e-9]


def _log_label(position: float, exponents: bool) -> str:
    """The label of a power. 0.01 is written as 1e-2 if other labels need exponents, so that all look alike."""
    value = float(f"{10**position:.0e}")
    return scientific(value) if exponents and not 1 <= value < 1000 else number(value)
