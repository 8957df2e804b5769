"""Text that is laid out and painted again only when it says something else."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """A Static without markup whose `say` costs nothing where nothing changes."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._said: tuple[str, object] = "", ()

    def say(self, words: str | Text, *, same_size: bool = False) -> None:
        """Show words; where they take as much room as those before, the rest of the screen need not be painted."""
        said = (words.plain, tuple(words.spans)) if isinstance(words, Text) else (words, ())
        if said != self._said:
            self._said = said
            self.update(words, layout=not same_size)
