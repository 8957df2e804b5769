"""Sends a terminal no colour code that it does not need, which is two fifths of what updates of the screen would send.

Textual writes each piece of a line as its colours, the text, and a reset. Most pieces share the background with the one
before, and many the foreground.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.driver import Driver

_CODES = re.compile(r"\x1b\[([\d;]*)m")
_MOVES = re.compile(r"(?:\n?\x1b\[\d+;\d+H)*")
"""What draws nothing, so that colours do not matter."""
_LENGTHS = {"2": 5, "5": 3}
"""How many numbers a colour takes, by its second one: 38;2;R;G;B or 38;5;N."""


class _Style(NamedTuple):
    """The state of a terminal, each part as codes; "" is the default."""

    foreground: str = ""
    background: str = ""
    rest: str = ""
    """Bold, underlined and so on, in the order in which they were set."""


_PLAIN = _Style()


def sparing(driver: type[Driver]) -> type[Driver]:
    """The same driver, which leaves out the codes that change nothing."""

    class Sparing(driver):  # type: ignore[valid-type, misc]
        def write(self, data: str) -> None:
            super().write(without_needless_codes(data))

    return Sparing


def without_needless_codes(text: str) -> str:
    """A text that looks the same on a terminal in its default colours, and leaves it so."""
    parts: list[str] = []
    have, want, end = _PLAIN, _PLAIN, 0
    for codes in _CODES.finditer(text):
        have = _add(parts, text[end : codes.start()], have, want)
        want, end = _after(want, codes[1]), codes.end()
    have = _add(parts, text[end:], have, want)
    parts.append(_change(have, _PLAIN))
    return "".join(parts)


def _add(parts: list[str], text: str, have: _Style, want: _Style) -> _Style:
    """Add a text, after the codes that it needs; returns the state after it."""
    if not text:
        return have
    if _MOVES.fullmatch(text):
        parts.append(text)
        return have
    parts += (_change(have, want), text)
    return want


@functools.lru_cache(1024)
def _change(have: _Style, want: _Style) -> str:
    """The codes from one state to another."""
    if have == want:
        return ""
    if want == _PLAIN:
        return "\x1b[0m"
    if have.rest != want.rest:
        codes = ["0"] if have != _PLAIN else []
        codes += filter(None, (want.rest, want.foreground, want.background))
    else:
        pairs = ((have.foreground, want.foreground, "39"), (have.background, want.background, "49"))
        codes = [new or default for old, new, default in pairs if old != new]
    return f"\x1b[{';'.join(codes)}m"


@functools.lru_cache(1024)
def _after(style: _Style, codes: str) -> _Style:
    """The state after some codes."""
    for code in _split(codes or "0"):
        kind = code.partition(";")[0]
        number = int(kind or 0)
        if number == 0:
            style = _PLAIN
        elif number in (38, 39) or 30 <= number <= 37 or 90 <= number <= 97:
            style = style._replace(foreground="" if number == 39 else code)
        elif number in (48, 49) or 40 <= number <= 47 or 100 <= number <= 107:
            style = style._replace(background="" if number == 49 else code)
        else:
            style = style._replace(rest=f"{style.rest};{code}" if style.rest else code)
    return style


def _split(codes: str) -> Iterator[str]:
    """Codes one by one; a colour is one."""
    numbers = codes.split(";")
    while numbers:
        length = _LENGTHS.get(numbers[1], 1) if numbers[0] in ("38", "48") and len(numbers) > 1 else 1
        yield ";".join(numbers[:length])
        del numbers[:length]
