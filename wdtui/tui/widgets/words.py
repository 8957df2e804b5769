"""Text that is laid out and painted again only when it says something else."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """A Static without markup whose `say` costs nothing where nothing changes."""

    def __init__(self, *, flows: bool = True, id: str | None = None, classes: str | None = None) -> None:
        """Words that do not flow have a height of their own: the screen, painted whole after a layout, needs none."""
        super().__init__(id=id, classes=classes, markup=False)
        self._flows = flows
        self._said: RenderableType = ""

    def say(self, words: str | Text) -> None:
        if words != self._said or (isinstance(words, Text) and words.spans != getattr(self._said, "spans", None)):
            lines, self._said = str(self._said).count("\n"), words
            self.update(words, layout=self._flows and (lines != str(words).count("\n") or len(str(words)) < 400))
