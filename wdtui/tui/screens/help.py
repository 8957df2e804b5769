"""Help: a short guide and every key, with the equivalent command line. Made from `keys`."""

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
    Key("up,down", "", "scroll", "", shown="↑↓", footer=2),
    Key("escape,question_mark,q", "back", "back", "", shown="esc", footer=1),
)
_FORM = (
    Key("up,down", "", "", "Select another field.", shown="↑ ↓"),
    Key("left,right", "", "", "Select another choice.", shown="← →"),
    Key("enter", "", "", "Train the run.", shown="⏎"),
    Key("escape", "", "", "Go to the runs.", shown="esc"),
)
_MOUSE = (
    Key("", "", "", "In a chart: move the cursor there and select the chart.", shown="click"),
    Key("", "", "", "Over a chart: zoom around the step under the pointer.", shown="wheel"),
    Key("", "", "", "Over a chart: move to earlier or later steps. A horizontal wheel does the same.", shown="⇧wheel"),
    Key("", "", "", "In a sweep: select the cell. A second click on a map opens its run.", shown="click"),
    Key("", "", "", "On a column's title: sort by it. A second click reverses the order.", shown="click"),
)
_GUIDE = """\
The form on the left describes the run to train. {launch} or Enter trains it. The charts show the selected run and all \
marked runs, each in its own colour. Runs that other terminals train appear here too, and you can pause, steer and \
stop them from here.

Watch the delay between fit and generalisation, the falling weight norm and, at ε 1e-5, the blow-ups.\
"""


class Help(Screen[None]):
    """A scrollable page."""

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
    """All keys as Markdown, one table for each group, for docs/keys.md."""
    lines: list[str] = []
    for group, keys in GROUPS.items():
        lines += ["", f"## {group}", "", "| key | what it does | command line |", "|---|---|---|"]
        lines += [f"| `{key.title}` | {key.help} | {f'`{key.twin}`' if key.twin else ''} |" for key in keys]
    return "\n".join(lines)
