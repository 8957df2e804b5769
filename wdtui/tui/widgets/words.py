"""Text that is laid out and painted again only when it changes."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """A Static without markup whose `say` is cheap if nothing changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._said: tuple[str, object] = "", ()

    def say(self, words: str | Text, *, same_size: bool = False) -> None:
        """Show a text. With `same_size` the rest of the screen is not laid out again."""
        said = (words.plain, tuple(words.spans)) if isinstance(words, Text) else (words, ())
        if said != self._said:
            self._said = said
            self.update(words, layout=not same_size)
