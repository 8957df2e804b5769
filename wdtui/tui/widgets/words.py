"""Text that is laid out and painted again only when it says something else."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """A Static without markup whose `say` costs nothing where nothing changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._said: RenderableType = ""

    def say(self, words: str | Text) -> None:
        if words != self._said or (isinstance(words, Text) and words.spans != getattr(self._said, "spans", None)):
            self._said = words
            self.update(words)
