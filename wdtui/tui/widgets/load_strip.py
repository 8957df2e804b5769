"""A row of small charts of the machine's load in the last minutes."""

from __future__ import annotations

import itertools

from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from wdtui.tui.figures import Figure
from wdtui.tui.load import MOST_CHARTS, LoadHistory, load_figures, load_legend
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.plain_text import PlainText


class LoadStrip(Container):
    """A chart for each quantity that the hardware reports, and a legend."""

    DEFAULT_CSS = """
    LoadStrip > #gauges { height: 1fr; }
    LoadStrip ChartPanel { width: 1fr; height: 1fr; display: none; }
    LoadStrip > #devices { height: 1; padding: 0 2; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def compose(self) -> ComposeResult:
        with Horizontal(id="gauges"):
            for _ in range(MOST_CHARTS):
                panel = ChartPanel(Figure("", "", ()))
                panel.can_focus = False  # it has no actions
                yield panel
        yield PlainText(id="devices")

    def show(self, history: LoadHistory) -> None:
        """Show the samples."""
        figures = load_figures(history)
        for panel, figure in itertools.zip_longest(self.query(ChartPanel), figures):
            panel.display = figure is not None
            if figure:
                panel.show(figure)
        self.query_one("#devices", PlainText).set_text(load_legend(history), same_size=True)
