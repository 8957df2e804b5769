"""Text that is laid out and painted again only when it changes."""

from __future__ import annotations

import textwrap

from rich.text import Text
from textual.widgets import Static


class PlainText(Static):
    """A Static without markup whose `set_text` is cheap if nothing changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._shown: tuple[str, object] = "", ()

    def set_text(self, text: str | Text, *, same_size: bool = False) -> None:
        """Show a text. With `same_size` the rest of the screen is not laid out again."""
        shown = (text.plain, tuple(text.spans)) if isinstance(text, Text) else (text, ())
        if shown != self._shown:
            self._shown = shown
            self.update(text, layout=not same_size)

    def lines(self, text: str) -> int:
        """The number of lines that a text takes in the present width; 0 as long as there is none."""
        width = self.content_size.width
        if self.styles.text_wrap == "nowrap" or not width:
            return text.count("\n") + 1 if width else 0
        return sum(len(textwrap.wrap(line, width, break_on_hyphens=False)) or 1 for line in text.split("\n"))
