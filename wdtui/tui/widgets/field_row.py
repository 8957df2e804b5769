"""One hyperparameter in a form: its name, its value as text or choice, and an error below it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from wdtui.schema.hyperparameters import Hyperparameter
from wdtui.support.text import clean
from wdtui.tui.widgets.choice import Choice


class FieldRow(Vertical):
    """Posts Changed while text is typed, Submitted on Enter."""

    DEFAULT_CSS = """
    FieldRow { height: auto; }
    FieldRow > Horizontal { height: 1; }
    FieldRow .label { width: 22; color: $muted; }
    FieldRow.-choice .label { width: 1fr; max-width: 22; }
    FieldRow Choice { width: auto; }
    FieldRow .error { display: none; color: $error; height: auto; padding: 0 0 0 2; }
    FieldRow.-wrong .error { display: block; }
    FieldRow:focus-within .label { color: $accent; }
    FieldRow Input { width: 1fr; background: $background; background-tint: transparent; }
    FieldRow Input:focus { background: $selection; background-tint: transparent; }
    """

    class Changed(Message):
        """The text of a field has changed."""

        def __init__(self, name: str, text: str) -> None:
            super().__init__()
            self.name, self.text = name, text

    class Submitted(Message):
        """Enter was pressed in a field."""

    def __init__(self, field: Hyperparameter, text: str) -> None:
        super().__init__(id=f"field-{field.name}")
        self.field = field
        self._text = text
        self.set_class(bool(options_of(field)), "-choice")

    def compose(self) -> ComposeResult:
        with Horizontal():
            short = len(self.field.symbol) < 3 and self.field.symbol not in ("", self.field.label)
            symbol = f"{self.field.symbol:2} " if short else ""
            yield Static(f"{symbol}{self.field.label}"[:21], classes="label", markup=False)
            if options := options_of(self.field):
                yield Choice(options, self._text)
            else:
                box = Input(self._text, compact=True, placeholder="none" if self.field.optional else "")
                box.cursor_blink = False
                yield box
        yield Static(classes="error", markup=False)

    def set_text(self, text: str) -> None:
        """Set by the program: no message is posted."""
        self._text = text
        if not self.is_mounted:
            return
        for box in self.query(Input):
            with box.prevent(Input.Changed):
                box.value = text
        for choice in self.query(Choice):
            choice.value = text

    def set_error(self, sentence: str) -> None:
        """Show an error of the value; an empty sentence removes it."""
        if self.has_class("-wrong") == bool(sentence) and not sentence:
            return
        self.set_class(bool(sentence), "-wrong")
        self.query_one(".error", Static).update(clean(sentence).removeprefix(f"{self.field.name}: "))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._text:
            self._text = event.value
            self.post_message(self.Changed(self.field.name, event.value))

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        self._text = event.choice.value
        self.post_message(self.Changed(self.field.name, self._text))

    @on(Input.Submitted)
    @on(Choice.Submitted)
    def _entered(self, event: Message) -> None:
        event.stop()
        self.post_message(self.Submitted())


def options_of(field: Hyperparameter) -> tuple[str, ...]:
    """The values of a field that has only a few."""
    return ("true", "false") if field.kind == "bool" else field.choices
