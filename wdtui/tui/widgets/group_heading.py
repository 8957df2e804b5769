"""The heading of a group of fields, which unfolds it and lists differences from the defaults."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from wdtui.support.table import cut


class GroupHeading(Widget, can_focus=True):
    """Posts Toggled when it is folded or unfolded."""

    DEFAULT_CSS = """
    GroupHeading { height: 1; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
    GroupHeading:focus { color: $accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "unfold", show=False)]

    class Toggled(Message):
        """The group was unfolded or folded."""

        def __init__(self, group: str, unfolded: bool) -> None:
            super().__init__()
            self.group, self.unfolded = group, unfolded

    def __init__(self, group: str, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.group = group
        self._title = title
        self._text = ""
        self.unfolded = False

    def show(self, text: str) -> None:
        """Set the text beside the title of a folded group."""
        if text != self._text:
            self._text = text
            self.refresh()

    def render(self) -> Text:
        title = f"{'▾' if self.unfolded else '▸'} {self._title}  "
        text = "" if self.unfolded else cut(self._text, self.size.width - cell_len(title), ", ")
        return Text(title, no_wrap=True, overflow="ellipsis").append(text, "not bold")

    def action_unfold(self) -> None:
        self.unfolded = not self.unfolded
        self.refresh()
        self.post_message(self.Toggled(self.group, self.unfolded))

    def on_click(self) -> None:
        self.action_unfold()
