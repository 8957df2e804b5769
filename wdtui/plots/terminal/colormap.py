"""A perceptual colour map for the terminal: viridis, whose lightness rises evenly, so that it survives without hues."""

from __future__ import annotations

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.style import Style

_VIRIDIS = (
    "440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"
)  # fmt: skip
"""Equally spaced colours of matplotlib's map of this name (van der Walt and Smith 2015)."""
_STOPS = [ColorTriplet(*bytes.fromhex(stop)) for stop in _VIRIDIS]


def color(share: float) -> ColorTriplet:
    """The colour at a position between 0 (dark) and 1 (light)."""
    position = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    index = min(int(position), len(_STOPS) - 2)
    below, above, part = _STOPS[index], _STOPS[index + 1], position - index
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(below, above, strict=True))
    return ColorTriplet(red, green, blue)


def filled(share: float) -> Style:
    """Text on the colour at a position, in the one of black and white that contrasts more."""
    background = color(share)
    red, green, blue = background
    ink = "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else "#000000"
    return Style(color=ink, bgcolor=Color.from_triplet(background))
