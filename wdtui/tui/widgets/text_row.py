"""A text box in a dialog, with its name and an error below it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from wdtui.tui.widgets.plain_text import PlainText


class TextRow(Vertical):
    """Posts Changed while text is typed, Submitted on Enter."""

    DEFAULT_CSS = """
    TextRow { height: auto; }
    TextRow > Horizontal { height: 1; }
    TextRow .label { width: 12; color: $muted; }
    TextRow .error { display: none; color: $error; height: auto; padding: 0 0 0 12; }
    TextRow:focus-within .label { color: $accent; }
    TextRow Input { width: 1fr; }
    """

    class Changed(Message):
        """The text has changed."""

    class Submitted(Message):
        """Enter was pressed."""

    def __init__(
        self,
        label: str,
        text: str,
        *,
        placeholder: str = "",
        suggester: Suggester | None = None,
        id: str | None = None,
    ) -> None:
        """`suggester` proposes completions, which → accepts."""
        super().__init__(id=id)
        self.text = text.strip()
        """The text without surrounding spaces."""
        self._label, self._placeholder, self._suggester = label, placeholder, suggester

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(self._label, classes="label", markup=False)
            box = Input(self.text, compact=True, placeholder=self._placeholder, suggester=self._suggester)
            box.cursor_blink = False
            yield box
        yield PlainText(classes="error")

    def set_error(self, sentence: str) -> None:
        """Show an error; an empty sentence removes it."""
        error = self.query_one(".error", PlainText)
        error.set_text(sentence)
        error.display = bool(sentence)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.text = event.value.strip()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Submitted())
