"""The dialog that fills a chart with any metrics: a fuzzy search over what the runs record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.fuzzy import Matcher
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from wdtui.schema.schema import Schema
from wdtui.tui.layouts import Picked
from wdtui.tui.screens.dialogs import Dialog

_MOST = 200
"""How many metrics are listed; the search finds the others."""
USUAL = Picked(())
"""The answer that asks for the problem's own chart."""


class MetricPicker(Dialog[Picked]):
    """Answers with what the chart is to show; with `USUAL` for what it shows by default."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("down", "move(1)", "next"),
        ("up", "move(-1)", "previous"),
        Binding("tab", "mark", "mark", priority=True),
        Binding("ctrl+x", "across", "across", priority=True),  # the search has other uses for them
        Binding("ctrl+u", "usual", "usual", priority=True),
    ]
    title_text = "metrics of this chart"

    def __init__(self, schema: Schema, columns: Sequence[str], now: Picked | None) -> None:
        """`columns` are those that the runs record."""
        super().__init__()
        self._schema, self._columns = schema, columns
        self._now = (*now.columns, now.x) if now else ()
        self._marked: list[str] = []
        self._x = ""
        self._found: list[str] = []

    def body(self) -> ComposeResult:
        search = Input(
            placeholder="a metric or a layer, such as rotation or linear1", compact=True, select_on_focus=False
        )
        search.cursor_blink = False
        yield search
        yield OptionList()
        yield Static(
            "Enter shows it, Tab marks several, ^x puts one on the horizontal axis, ^u brings back the usual chart.",
            classes="hint",
            markup=False,
        )

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._list("")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self._list(event.value.strip())

    def _list(self, query: str) -> None:
        """List the metrics that match, the best first; without a query all, those of the chart now first."""
        names = {column: f"{self._schema.written_column(column)}  {column}" for column in self._columns}
        if query:
            matcher = Matcher(query)
            scores = {column: matcher.match(name) for column, name in names.items()}
            found = sorted((column for column, score in scores.items() if score), key=lambda one: -scores[one])
        else:
            found = sorted(names, key=lambda column: column not in (*self._marked, *self._now))
        self._found = found[:_MOST]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(column)) for column in self._found])
        options.highlighted = 0 if self._found else None

    def _line(self, column: str) -> Text:
        mark = "→ " if column == self._x else "● " if column in self._marked else "  "
        name = self._schema.written_column(column)
        return Text.assemble(
            mark, name, ("" if name == column else f"  {column}", "dim"), no_wrap=True, overflow="ellipsis"
        )

    @property
    def _chosen(self) -> str | None:
        index = self.query_one(OptionList).highlighted
        return None if index is None else self._found[index]

    def _search_anew(self) -> None:
        """Show the marks, and clear the search for the next metric."""
        search = self.query_one(Input)
        if search.value:
            search.value = ""
        else:
            index = self.query_one(OptionList).highlighted
            self._list("")
            self.query_one(OptionList).highlighted = index

    def action_move(self, lines: int) -> None:
        options = self.query_one(OptionList)
        if self._found:
            options.highlighted = ((options.highlighted or 0) + lines) % len(self._found)

    def action_mark(self) -> None:
        if column := self._chosen:
            self._marked = [one for one in self._marked if one != column] + [column] * (column not in self._marked)
            self._search_anew()

    def action_across(self) -> None:
        if column := self._chosen:
            self._x = "" if self._x == column else column
            self._marked = [one for one in self._marked if one != column]
            self._search_anew()

    def action_usual(self) -> None:
        self.dismiss(USUAL)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._answer()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._answer()

    def _answer(self) -> None:
        """Answer with the marked metrics, and with the chosen one if it was searched for or none is marked."""
        searched = self.query_one(Input).value.strip() or not self._marked
        chosen = [self._chosen] if searched and self._chosen not in (None, self._x) else []
        columns = tuple(dict.fromkeys([*self._marked, *filter(None, chosen)]))
        if columns:
            self.dismiss(Picked(columns, self._x))
