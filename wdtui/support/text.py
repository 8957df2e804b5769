"""Formats numbers, shares, durations and texts from outside, in the same way on every screen and line.

Plain Python: no torch, no UI. Nothing here escapes markup: give the result to a `rich.text.Text`, never to a parser.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata

NOTHING = "–"
"""Shown for a missing value."""
MOST_CHARACTERS = 20_000
"""The longest text that a user may enter: about ten pages."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS …: titles, links
    r"|\x1b[ -/]*[0-~]?"
)


def number(value: float | None, unit: str = "") -> str:
    """Format a number for people: 30,030 · 56.4 · 0.954 · 1.4e-4 · 0 · – for None and NaN · ∞.

    Whole numbers are exact below 10⁷ (ints always). Others have three significant digits, or two below 0.01.
    """
    shown = _bare_number(value)
    return f"{shown} {unit}" if unit and shown != NOTHING else shown


def exact(value: float) -> str:
    """A number in the notation of `number`, but ungrouped and exact, so that it reads back the same: 0.01 · 1e-4."""
    if not math.isfinite(value) or not _needs_exponent(value):
        return repr(value).removesuffix(".0")
    return next(text for digits in range(17) if float(text := scientific(value, digits)) == value)


def scientific(value: float, digits: int = 0) -> str:
    """0.00014 as 1.4e-4, with at most `digits` after the point and no trailing zeros."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def percent(value: float | None) -> str:
    """A share of 1 as 97.2 %. Only 1 is 100 % and only 0 is 0 %: 0.9996 is 99.9 %, 0.0002 is <0.1 %."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return f"{_bare_number(value)} %"
    if abs(value - round(value)) < 1e-6:  # the mean of ones in single precision may be slightly off
        return f"{round(value) * 100:,} %"
    if 0 < value < 1:
        return "<0.1 %" if value < 0.0005 else f"{min(value * 100, 99.9):.1f} %"
    return f"{value * 100:,.1f} %"


def duration(seconds: float | None) -> str:
    """A time span: 0:38 · 1:02:03 · 3 d 4 h; – for None and NaN, ∞ for infinity."""
    if seconds is None or not math.isfinite(seconds):
        return "∞" if seconds == math.inf else NOTHING
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour} h"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def clean(text: str) -> str:
    """Make text from outside safe to show on one line.

    Escape sequences, control characters, bidi overrides, invisible characters and lone surrogates are removed. A line
    break or tab becomes one space.
    """
    text = re.sub(r"\r\n|[\t\n\v\f\r\x85\u2028\u2029]", " ", text)
    return "".join(char for char in _ESCAPES.sub("", text) if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def capital(text: str) -> str:
    """The text with its first letter in upper case. The rest is unchanged."""
    return text[:1].upper() + text[1:]


def too_long(text: str) -> str:
    """The end of a sentence about a text with more than MOST_CHARACTERS; empty for shorter ones."""
    if len(text) <= MOST_CHARACTERS:
        return ""
    return f"has {len(text):,} characters, and at most {MOST_CHARACTERS:,} are allowed"


def _bare_number(value: float | None) -> str:
    if value is None or value != value:
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if _needs_exponent(value):
        return scientific(value, 1)
    if value == int(value):
        return f"{int(value):,}"
    rounded = float(f"{value:.{3 if size >= 0.01 else 2}g}")
    return f"{value:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.10g}"


def _needs_exponent(value: float) -> bool:
    """Whether a number is written as 1e-4 rather than 0.0001, in every text for people."""
    return value != 0 and not 1e-3 <= abs(value) < 1e7


def say(sentence: str) -> None:
    """Tell the person whose training goes on, on stderr."""
    print(f"wdtui: {sentence}", file=sys.stderr, flush=True)
