"""What decay does to each layer of a run: sentences above a table of layers, or one line where there is no room."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from wdtui.analysis.decay import ORDERS, Decay, Layer, matching, ordered
from wdtui.plots.terminal.layers import Row
from wdtui.schema.curves import Curves
from wdtui.tui.keymap import key_of
from wdtui.tui.widgets.layer_table import LayerTable
from wdtui.tui.widgets.plain_text import PlainText

_GRAIN = 0.05
"""In a live run layers change places where their values differ by more, so that rows rest."""
_NAMES = {"deviation": "by deviation", "share": "by decay share", "network": "as in the network"}


class DecayPanel(Vertical):
    """Shows a Decay. Posts Selected when the layers that a search finds are others."""

    DEFAULT_CSS = """
    DecayPanel { height: 1; padding: 0 2; }
    DecayPanel #decay-line { height: 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; link-style: none;
        link-color: $muted; link-style-hover: none; link-color-hover: $accent; link-background-hover: $background; }
    DecayPanel > #decay-open { display: none; height: 1fr; border: round $line; padding: 0 1;
        border-title-color: $foreground; border-subtitle-color: $muted; }
    DecayPanel > #decay-open:focus-within { border: round $accent; }
    DecayPanel #sentences { height: auto; max-height: 50%; margin-bottom: 1; }
    DecayPanel LayerTable { height: 1fr; }
    DecayPanel #layer { height: 1; display: none; }
    DecayPanel.-open { padding: 0; }
    DecayPanel.-open > #decay-line { display: none; }
    DecayPanel.-open > #decay-open { display: block; }
    DecayPanel.-searching #layer { display: block; }
    """

    class Selected(Message):
        """The layers whose names have this pattern are wanted."""

        def __init__(self, pattern: str) -> None:
            super().__init__()
            self.pattern = pattern

    def __init__(self) -> None:
        super().__init__(id="decay")
        self._decay: Decay | None = None
        self._curves: Curves | None = None
        self._order = next(iter(ORDERS))
        self._pattern = ""
        self._grain = 0.0
        self._lines = 0
        """The lines that the sentences take."""
        self._layers: list[Layer] = []
        """Those shown, in order."""

    def compose(self) -> ComposeResult:
        yield PlainText(id="decay-line")
        with Vertical(id="decay-open"):
            yield PlainText(id="sentences")
            yield LayerTable()
            search = Input(id="layer", placeholder="a part of a layer's name, * is anything", compact=True)
            search.cursor_blink = False
            yield search

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    @property
    def searching(self) -> bool:
        return self.has_class("-searching")

    @property
    def needed(self) -> int:
        """The number of lines for all layers, with titles, sentences and a border."""
        if self._decay is None:
            return 1
        return len(self._decay.layers) + 1 + max(self._lines, len(self._decay.sentences)) + 1 + self.searching + 2

    def open(self, wanted: bool) -> None:
        """Show the table, or one line."""
        self.set_class(wanted, "-open")

    def show(self, decay: Decay, curves: Curves, *, live: bool) -> None:
        """Show what decay does in a run with these curves. Rows of a live one change places only if they must."""
        self._decay, self._curves, self._grain = decay, curves, _GRAIN if live else 0.0
        key = key_of("gauges", getattr(self.app, "keymap", {}))
        line = Text.assemble((key, "bold"), f" {decay.line}")
        line.stylize(Style.from_meta({"@click": "screen.gauges"}))
        self.query_one("#decay-line", PlainText).set_text(line, same_size=True)
        sentences = self.query_one("#sentences", PlainText)
        text = "\n".join(decay.sentences)
        lines, self._lines = self._lines, sentences.lines(text)
        sentences.set_text(text, same_size=lines == self._lines)
        self._arrange()

    def _arrange(self) -> None:
        if self._decay is None or self._curves is None:
            return
        known = {layer.name: at for at, layer in enumerate(self._layers)}
        layers = sorted(self._decay.layers, key=lambda layer: known.get(layer.name, len(known)))
        found = matching(layers if self._order != "network" else self._decay.layers, self._pattern)
        self._layers = ordered(found, self._order, self._grain)
        self.query_one(LayerTable).show([Row(layer, self._curves) for layer in self._layers])
        box, shown, all_layers = self.query_one("#decay-open"), len(self._layers), len(self._decay.layers)
        count = f"{all_layers:,} layers" if shown == all_layers else f"{shown:,} of {all_layers:,} layers"
        title = " · ".join(["decay", count, _NAMES[self._order]])
        if box.border_title != title:
            box.border_title = title

    def order_by_next(self) -> None:
        """Order by the next of deviation, decay share and place in the network."""
        orders = list(ORDERS)
        self._order_by(orders[(orders.index(self._order) + 1) % len(orders)])

    def _order_by(self, order: str) -> None:
        self._order, self._layers = order, []
        self._arrange()
        self.query_one(LayerTable).scroll_home()

    def search(self) -> None:
        """Ask for a part of a layer's name."""
        self.set_class(True, "-searching")
        self.query_one("#layer", Input).focus()

    def end_search(self) -> None:
        """Show all layers again."""
        self.query_one("#layer", Input).value = ""
        self.set_class(False, "-searching")
        self.focus_table()

    def focus_table(self) -> None:
        self.query_one(LayerTable).focus()

    @on(LayerTable.Ordered)
    def _order_asked(self, event: LayerTable.Ordered) -> None:
        event.stop()
        self._order_by(event.order)

    @on(Input.Changed, "#layer")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._pattern, self._layers = event.value, []
        self._arrange()
        self.post_message(self.Selected(event.value))

    @on(Input.Submitted, "#layer")
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.set_class(bool(event.value.strip()), "-searching")
        self.focus_table()
