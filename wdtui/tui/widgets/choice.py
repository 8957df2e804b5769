"""A choice between a few values on one line, changed by the arrow keys or a click, without a drop-down list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget


class Choice(Widget, can_focus=True):
    """Shows one of its options. Posts Changed when another is chosen, Submitted on Enter."""

    DEFAULT_CSS = """
    Choice { height: 1; color: $foreground; }
    Choice:focus { color: $accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", show=False),
        Binding("right,space", "turn(1)", show=False),
        Binding("enter", "submit", show=False),
    ]

    class Changed(Message):
        """Another option was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            return self.choice

    class Submitted(Message):
        """Enter was pressed on it."""

    def __init__(
        self, options: Sequence[str], value: str, *, written: Callable[[str], str] = str, id: str | None = None
    ) -> None:
        """`written` gives the text that is shown for an option."""
        super().__init__(id=id)
        self._written = written
        self.options = list(options)
        self._value = value

    @property
    def value(self) -> str:
        return self._value

    @value.setter
    def value(self, value: str) -> None:
        """Set by the program: no message is posted."""
        self._value = value
        self.refresh(layout=True)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self.render().cell_len

    def render(self) -> Text:
        arrow = "bold" if self.has_focus else "dim"
        return Text.assemble(("‹ ", arrow), self._written(self._value), (" ›", arrow), no_wrap=True)

    def action_turn(self, by: int) -> None:
        index = self.options.index(self._value) if self._value in self.options else -by
        self.value = self.options[(index + by) % len(self.options)]
        self.post_message(self.Changed(self))

    def action_submit(self) -> None:
        self.post_message(self.Submitted())

    def on_click(self) -> None:
        self.action_turn(1)
