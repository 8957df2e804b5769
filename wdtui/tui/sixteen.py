"""The colours of runs, curves and events on a terminal with 16 colours."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as Background
from textual.filter import LineFilter

_NAMED = {
    "#0072b2": "bright_blue",
    "#d55e00": "yellow",
    "#009e73": "green",
    "#cc79a7": "magenta",
    "#e69f00": "bright_yellow",
    "#56b4e9": "cyan",
    "#999999": "white",
    "#d7263d": "red",
    "#808080": "bright_black",
}
"""The nearest colours would be the same ones for several curves."""


class SixteenColours(LineFilter):
    """Replaces all colours by the 16 of the terminal, so that colours of charts which differ still do."""

    def apply(self, segments: list[Segment], background: Background) -> list[Segment]:
        return [Segment(text, style and _replaced(style), control) for text, style, control in segments]


@lru_cache(1024)
def _replaced(style: Style) -> Style:
    color, bgcolor = _named(style.color), _named(style.bgcolor)
    return style if (color, bgcolor) == (style.color, style.bgcolor) else style + Style(color=color, bgcolor=bgcolor)


def _named(color: Color | None) -> Color | None:
    if color is None or color.triplet is None:
        return color
    name = _NAMED.get(color.triplet.hex)
    return Color.parse(name) if name else color.downgrade(ColorSystem.STANDARD)
