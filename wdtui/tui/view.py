"""The view of charts: axes, the visible part of the time axis, the cursor. Immutable, no Textual."""

from __future__ import annotations

import dataclasses
import math
from typing import Self

Span = tuple[float, float]


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

    def with_time_scale_changed(self) -> Self:
        return dataclasses.replace(self, time_log=not self.time_log, span=None)

    def with_value_scale_changed(self, chart: str) -> Self:
        return dataclasses.replace(self, other_scale=self.other_scale ^ {chart})

    def visible(self, whole: Span) -> Span:
        """The steps in view of charts that cover `whole`."""
        low, high = self.span or whole
        return (max(low, 1.0), max(high, 2.0)) if self.time_log else (low, high)

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
        return math.log10(max(step, 1.0)) if self.time_log else step

    def _value(self, position: float) -> float:
        return 10**position if self.time_log else position
