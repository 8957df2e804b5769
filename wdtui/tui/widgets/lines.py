"""The header line and the line of keys at the bottom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from wdtui.support.table import omitting
from wdtui.tui.keymap import title
from wdtui.tui.keys import Key

_GAP = 3
"""The number of cells between two keys."""


class HeaderLine(Widget):
    """The title of the screen, and a text such as the device and the number of active runs."""

    DEFAULT_CSS = """
    HeaderLine { height: 1; color: $muted; padding: 0 2; }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._text = self._beside = ""

    def show(self, text: str, beside: str = "") -> None:
        """Show a text on the right, and another one before it if there is room for both."""
        if (text, beside) != (self._text, self._beside):
            self._text, self._beside = text, beside
            self.refresh()

    def render(self) -> Text:
        left, right = Text.assemble(("wdtui", "bold"), f"  {self._title}"), Text(self._text)
        both = Text(" · ".join(filter(None, (self._beside, self._text))))
        if left.cell_len + both.cell_len + 2 <= self.size.width:
            right = both
        room = self.size.width - left.cell_len - right.cell_len
        if room < 2:
            return right if right.cell_len <= self.size.width else left
        return Text.assemble(left, " " * room, right, no_wrap=True)


class KeyLine(Widget):
    """Keys, of which those with the highest rank are omitted if there is no room. A click has the effect of the key."""

    DEFAULT_CSS = """
    KeyLine { height: 1; padding: 0 2; color: $muted; link-style: none; link-color: $muted; link-style-hover: none;
        link-color-hover: $accent; link-background-hover: $background; }
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__()
        self._keys = keys

    def show(self, keys: Sequence[Key]) -> None:
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def render(self) -> Text:
        entries = [_entry(key, title(key, getattr(self.app, "keymap", {}))) for key in self._keys]
        cells = {place: entry.cell_len for place, entry in enumerate(entries)}
        shown = omitting(cells, self.size.width + _GAP, rank=lambda place: (self._keys[place].footer, place))
        text = Text("", no_wrap=True).join(entries[place] for place in shown)
        text.truncate(self.size.width)
        return text


def _entry(key: Key, shown: str) -> Text:
    action = key.action if "." in key.action else f"screen.{key.action}"
    click = Style.from_meta({"@click": action}) if key.action else Style()
    entry = Text.assemble((shown, "bold"), f" {key.label}")
    entry.stylize(click)
    return entry.append(" " * _GAP)
