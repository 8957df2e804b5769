"""Help: a short guide and every key, with the command line that does the same. Made from `keys`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from wdtui.tui.keymap import key_of, title
from wdtui.tui.keys import GROUPS, Key, bindings
from wdtui.tui.widgets.lines import HeaderLine, KeyLine

_KEYS = (
    Key("up,down", "", "scroll", "", shown="↑↓"),
    Key("escape,question_mark,q", "back", "back", "", shown="esc"),
)
_FORM = (
    Key("up,down", "", "", "Another field.", shown="↑ ↓"),
    Key("left,right", "", "", "Another choice.", shown="← →"),
    Key("enter", "", "", "Train.", shown="⏎"),
    Key("escape", "", "", "To the runs.", shown="esc"),
)
_MOUSE = (
    Key("", "", "", "In a chart: put the cursor there, and make it the current chart.", shown="click"),
    Key("", "", "", "Over a chart: closer or farther, around the step that is pointed at.", shown="wheel"),
    Key("", "", "", "Over a chart: earlier or later steps; so does a wheel turned sideways.", shown="⇧wheel"),
    Key("", "", "", "In a sweep: take the cell; twice on a map: open its run.", shown="click"),
    Key("", "", "", "On a column's title: sort by it; again, the other way round.", shown="click"),
)
_GUIDE = """\
The form on the left says what to train; {launch} or Enter trains it. The charts show the run under the cursor of the \
table, and all marked runs beside it, each in a colour of its own. Everything is read from the store: runs that other \
terminals train appear here too, and can be paused, steered and stopped from here.

Watch for the delay between fit and generalisation, for the falling weight norm, and at ε 1e-5 for the blow-ups.\
"""


class Help(Screen[None]):
    """One page to scroll."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(key for key in _KEYS if key.action)

    def compose(self) -> ComposeResult:
        yield HeaderLine("help")
        with VerticalScroll(id="pages"):
            yield Static(guide(getattr(self.app, "keymap", {})), id="page", markup=False)
        yield KeyLine(_KEYS)

    def action_back(self) -> None:
        self.dismiss()


def guide(keymap: Mapping[str, str]) -> Group:
    """The guide and the tables of keys."""
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=7)
    table.add_column(ratio=3)
    table.add_column(ratio=2, style="dim")
    for group, keys in {**GROUPS, "In the form": _FORM, "The mouse": _MOUSE}.items():
        table.add_row()
        table.add_row(Text(group, "bold"))
        for key in keys:
            table.add_row(Text(f"  {title(key, keymap)}"), Text(key.help), Text(key.twin))
    return Group(Text(_GUIDE.format(launch=key_of("launch", keymap))), table)


def key_table() -> str:
    """All keys as a Markdown table, for the README."""
    lines = ["| key | what it does | command line |", "|---|---|---|"]
    for keys in GROUPS.values():
        lines += [f"| `{key.title}` | {key.help} | {f'`{key.twin}`' if key.twin else ''} |" for key in keys]
    return "\n".join(lines)
