"""One line about the machine's load in the last minutes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from wdtui.store.records import RunRecord
from wdtui.tui.load import LoadHistory, load_line
from wdtui.tui.theme import style_of
from wdtui.tui.widgets.plain_text import PlainText


class LoadStrip(PlainText):
    """Sparklines of what the hardware reports and of the processes that train."""

    DEFAULT_CSS = "LoadStrip { height: 1; padding: 0 2; text-wrap: nowrap; text-overflow: ellipsis; }"

    _samples: tuple[LoadHistory, Sequence[RunRecord]] = LoadHistory(), ()

    def on_resize(self) -> None:
        self.show(*self._samples)

    def show(self, history: LoadHistory, runs: Sequence[RunRecord]) -> None:
        """Show the samples."""
        self._samples = history, runs
        line = load_line(history, runs, self.size.width)
        styled = ((text, style_of(self.app, tone) if tone else "") for text, tone in line)
        self.set_text(Text.assemble(*styled, no_wrap=True), same_size=True)
