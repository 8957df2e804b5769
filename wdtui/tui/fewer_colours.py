"""The colours of runs, curves and events on a terminal with 16 colours or without any."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color, ColorSystem
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as Background
from textual.filter import LineFilter

from wdtui.plots.terminal import BLOW_UP, GREY, RUN_COLORS

_OF_RUNS = "bright_blue", "yellow", "green", "magenta", "bright_yellow", "cyan", "white"
_NAMED = dict(zip(RUN_COLORS, _OF_RUNS, strict=True)) | {BLOW_UP: "red", GREY: "bright_black"}
"""The nearest colours would be the same ones for several curves."""


class SixteenColours(LineFilter):
    """Replaces all colours by the 16 of the terminal, so that colours of charts which differ still do."""

    def apply(self, segments: list[Segment], background: Background) -> list[Segment]:
        return [Segment(text, style and _replaced(style), control) for text, style, control in segments]


class BrightGreys(LineFilter):
    """Replaces colours on a dark background by greys as bright as their brightest part.

    Textual's own greys have the luminance of the colour, which makes blue curves hard to see.
    """

    def apply(self, segments: list[Segment], background: Background) -> list[Segment]:
        if background.brightness > 0.5:
            return segments
        return [Segment(text, style and _grey(style), control) for text, style, control in segments]


@lru_cache(1024)
def _replaced(style: Style) -> Style:
    color, bgcolor = _named(style.color), _named(style.bgcolor)
    return style if (color, bgcolor) == (style.color, style.bgcolor) else style + Style(color=color, bgcolor=bgcolor)


def _named(color: Color | None) -> Color | None:
    if color is None or color.triplet is None:
        return color
    name = _NAMED.get(color.triplet.hex)
    return Color.parse(name) if name else color.downgrade(ColorSystem.STANDARD)


@lru_cache(1024)
def _grey(style: Style) -> Style:
    if style.color is None or style.color.triplet is None:
        return style
    return style + Style(color=Color.from_triplet(ColorTriplet(*[max(style.color.triplet)] * 3)))
