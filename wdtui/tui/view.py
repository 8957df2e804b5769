"""The view of charts: axes, the visible part of the time axis, the cursor. Immutable, no Textual."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Self

Span = tuple[float, float]
_SMOOTHINGS = (0.0, 0.8, 0.95, 0.99)


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One view of all charts of a screen."""

    time_log: bool = False
    other_scale: frozenset[str] = frozenset()
    """Charts whose value axis has the other scale than by default."""
    span: Span | None = None
    """The steps in view; None for all of them."""
    cursor: float | None = None
    """The step whose values are shown. It stays in view, at the edge if necessary."""
    per_layer: bool = False
    layers: str = ""
    """A pattern of the names of the layers that are drawn; empty for all."""
    bands: bool = True
    """Whether runs that differ only in their seed are drawn as their median between their minimum and maximum."""
    axis: str = "step"
    """The horizontal axis, one of `wdtui.analysis.axes.AXES`. Span and cursor are values on it."""
    smoothing: float = 0.0
    """The weight of the past in the moving average of each curve; 0 for the curves as measured."""
    value_zoom: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By chart, the share of its range of values that is in view; 1 if it is missing."""

    def with_axis(self, axis: str) -> Self:
        return dataclasses.replace(self, axis=axis, span=None, cursor=None)

    def with_next_smoothing(self) -> Self:
        return dataclasses.replace(self, smoothing=_SMOOTHINGS[(_SMOOTHINGS.index(self.smoothing) + 1) % 4])

    def with_values_zoomed(self, chart: str, factor: float) -> Self:
        """Show `factor` times as much of a chart's range of values."""
        share = min(max(self.value_zoom.get(chart, 1.0) * factor, 1e-4), 1.0)
        return dataclasses.replace(self, value_zoom={**self.value_zoom, chart: share})

    def with_time_scale_changed(self) -> Self:
        return dataclasses.replace(self, time_log=not self.time_log, span=None)

    def with_value_scale_changed(self, chart: str) -> Self:
        return dataclasses.replace(self, other_scale=self.other_scale ^ {chart})

    def visible(self, whole: Span) -> Span:
        """The steps in view of charts that cover `whole`."""
        low, high = self.span or whole
        return (low, max(high, 2 * low)) if self.time_log else (low, high)

    def zoomed(self, factor: float, whole: Span, around: float | None = None) -> Self:
        """Show `factor` times as many steps around a step: the given one, else the cursor, else the newest."""
        low, high = self._positions(self.visible(whole))
        ends = self._positions(whole)
        around = self.cursor if around is None else around
        middle = min(max(self._position(around), low), high) if around is not None else high
        size = (high - low) * factor
        if size >= (ends[1] - ends[0]) * (1 - 1e-9):  # zooming in and out again shows all
            return dataclasses.replace(self, span=None)
        if size < (ends[1] - ends[0]) * 1e-4:
            return self
        share = (middle - low) / (high - low)
        return self._looking_at(middle - share * size, size, ends)

    def panned(self, share: float, whole: Span) -> Self:
        """Move along the time axis by a share of the visible part."""
        if self.span is None:
            return self
        low, high = self._positions(self.span)
        return self._looking_at(low + share * (high - low), high - low, self._positions(whole))

    def showing(self, low: float, high: float, whole: Span) -> Self:
        """Show the part between two values of the axis, if it is not too small."""
        first, last = self._position(low), self._position(high)
        ends = self._positions(whole)
        return self if last - first < (ends[1] - ends[0]) * 1e-4 else self._looking_at(first, last - first, ends)

    def pointing_at(self, step: float, whole: Span) -> Self:
        """Put the cursor on a step, and move the visible part only if necessary."""
        view = dataclasses.replace(self, cursor=step)
        if self.span is None:
            return view
        (low, high), position = self._positions(self.span), self._position(step)
        if low <= position <= high:
            return view
        return view._looking_at(
            position if position < low else position - (high - low), high - low, self._positions(whole)
        )

    def _looking_at(self, low: float, size: float, ends: Span) -> Self:
        low = min(max(low, ends[0]), ends[1] - size)
        first, last = self._value(low), self._value(low + size)
        cursor = None if self.cursor is None else min(max(self.cursor, first), last)
        return dataclasses.replace(self, span=(first, last), cursor=cursor)

    def _positions(self, span: Span) -> Span:
        return self._position(span[0]), self._position(span[1])

    def _position(self, step: float) -> float:
        return math.log10(max(step, 1e-9)) if self.time_log else step

    def _value(self, position: float) -> float:
        return 10**position if self.time_log else position
