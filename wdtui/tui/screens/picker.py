"""Fuzzy searches over what runs record and what a table shows: the metrics of a chart, the columns, the order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, TypeVar

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

Answer = TypeVar("Answer")

_MOST = 200
"""How many entries are listed; the search finds the others."""
USUAL = Picked(())
"""The answer that asks for the problem's own chart."""


class Picker(Dialog[Answer]):
    """A search over entries, of which one or several are picked."""

    BINDINGS: ClassVar[list[BindingType]] = [("down", "move(1)", "next"), ("up", "move(-1)", "previous")]
    placeholder = ""
    hint = ""

    def __init__(self, entries: Mapping[str, str], first: Collection[str], marked: Sequence[str] = ()) -> None:
        """`entries` are texts by key, with a further name after two blanks. Without a search `first` come first."""
        super().__init__()
        self._entries, self._first = entries, first
        self._marked = [*marked]
        self._found: list[str] = []

    def body(self) -> ComposeResult:
        search = Input(placeholder=self.placeholder, compact=True, select_on_focus=False)
        search.cursor_blink = False
        yield search
        yield OptionList()
        yield Static(self.hint, classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._list("")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self._list(event.value.strip())

    def _list(self, query: str) -> None:
        """List the entries that match, a name in full before all others, then the best.

        Without a query list all, the marked and the first ones on top.
        """
        if query:
            typed = _plain(query)
            matcher = Matcher(typed)
            scores = {key: matcher.match(_plain(text)) for key, text in self._entries.items()}
            found = [key for key, score in scores.items() if score]
            found.sort(key=lambda key: (typed not in _plain(self._entries[key]).split("  "), -scores[key]))
        else:
            found = sorted(self._entries, key=lambda key: key not in self._marked and key not in self._first)
        self._found = found[:_MOST]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(key)) for key in self._found])
        options.highlighted = 0 if self._found else None

    def _sign(self, key: str) -> str:
        """What stands before an entry."""
        return "● " if key in self._marked else "  "

    def _line(self, key: str) -> Text:
        text, gap, name = self._entries[key].partition("  ")
        return Text.assemble(self._sign(key), text, (gap + name, "dim"), no_wrap=True, overflow="ellipsis")

    @property
    def _chosen(self) -> str | None:
        index = self.query_one(OptionList).highlighted
        return None if index is None else self._found[index]

    @property
    def _searched(self) -> bool:
        return bool(self.query_one(Input).value.strip())

    def _search_anew(self) -> None:
        """Show the marks, and clear the search for the next entry."""
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
        if key := self._chosen:
            self._marked = [one for one in self._marked if one != key] + [key] * (key not in self._marked)
            self._search_anew()

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.answer()

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.answer()

    def answer(self) -> None:
        """Dismiss the dialog with what is picked, if that is anything."""
        raise NotImplementedError


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")


_SEVERAL: list[BindingType] = [
    Binding("tab", "mark", "mark", priority=True),  # the search has other uses for them
    Binding("ctrl+u", "usual", "usual", priority=True),
]


class MetricPicker(Picker[Picked]):
    """Answers with what the chart is to show; with `USUAL` for what it shows by default."""

    BINDINGS: ClassVar[list[BindingType]] = [*_SEVERAL, Binding("ctrl+x", "across", "across", priority=True)]
    title_text = "metrics of this chart"
    placeholder = "a metric or a layer, such as rotation or linear1"
    hint = "Enter shows it, Tab marks several, ^x puts one on the horizontal axis, ^u brings back the usual chart."

    def __init__(self, schema: Schema, columns: Sequence[str], now: Picked | None) -> None:
        """`columns` are those that the runs record."""
        names = {column: schema.written_column(column) for column in columns}
        entries = {column: name if name == column else f"{name}  {column}" for column, name in names.items()}
        super().__init__(entries, (*now.columns, now.x) if now else ())
        self._x = ""

    def _sign(self, key: str) -> str:
        return "→ " if key == self._x else super()._sign(key)

    def action_across(self) -> None:
        if column := self._chosen:
            self._x = "" if self._x == column else column
            self._marked = [one for one in self._marked if one != column]
            self._search_anew()

    def action_usual(self) -> None:
        self.dismiss(USUAL)

    def answer(self) -> None:
        """Answer with the marked metrics, and with the chosen one if it was searched for or none is marked."""
        searched = self._searched or not self._marked
        chosen = [self._chosen] if searched and self._chosen not in (None, self._x) else []
        columns = tuple(dict.fromkeys([*self._marked, *filter(None, chosen)]))
        if columns:
            self.dismiss(Picked(columns, self._x))


class ColumnPicker(Picker[tuple[str, ...]]):
    """Answers with the keys of the columns to show; with none for the usual ones."""

    BINDINGS: ClassVar[list[BindingType]] = _SEVERAL
    title_text = "columns of the table"
    placeholder = "a field, a metric, or another property of a run, such as best test or created"
    hint = "Tab shows or hides a column, Enter shows one more and closes, ^u brings back the usual columns."

    def action_usual(self) -> None:
        self.dismiss(())

    def answer(self) -> None:
        """Answer with the marked columns, and with the chosen one if it was searched for."""
        chosen = [self._chosen] if self._searched and self._chosen else []
        if columns := tuple(dict.fromkeys([*self._marked, *chosen])):
            self.dismiss(columns)


class OrderPicker(Picker[str]):
    """Answers with the key of the column to sort by."""

    title_text = "sort the runs"
    placeholder = "what to sort by, such as test, best test or created"
    hint = "Enter sorts, the largest first. The same once more reverses the order."

    def answer(self) -> None:
        if self._chosen is not None:
            self.dismiss(self._chosen)
