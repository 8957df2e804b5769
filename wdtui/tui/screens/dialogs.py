"""Small dialogs over a screen: a line of text, a choice, changes of a run, and what to do with live runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from wdtui.runs.forks import forked, in_force
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value
from wdtui.schema.steering import read_change
from wdtui.store.records import RunRecord, Status
from wdtui.support.text import clean
from wdtui.tui.widgets.field_row import FieldRow

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None]):
    """A titled box in the middle. Escape answers None; up and down move the focus."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "answer_nothing", "cancel"),
        ("down", "app.focus_next", "next"),
        ("up", "app.focus_previous", "previous"),
    ]
    title_text = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog") as box:
            box.border_title = clean(self.title_text)
            yield from self.body()

    def body(self) -> ComposeResult:
        yield from ()

    def action_answer_nothing(self) -> None:
        self.dismiss(None)


class Question(Dialog[str]):
    """A choice between a few answers, each a button and a key, its first letter."""

    def __init__(self, title: str, text: str, answers: dict[str, str]) -> None:
        """`answers` are the ids and texts of the buttons. Enter presses the first."""
        super().__init__()
        self.title_text = title
        self._text = text
        self._answers = answers

    def body(self) -> ComposeResult:
        yield Static(clean(self._text), markup=False)
        with Vertical(classes="answers"):
            for name, words in self._answers.items():
                yield Button(words, id=name, compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    def on_key(self, event: events.Key) -> None:
        for name, words in self._answers.items():
            if event.character and words[0].lower() == event.character.lower():
                event.stop()
                self.dismiss(name)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id)


class LineDialog(Dialog[str]):
    """One line of text."""

    def __init__(self, title: str, text: str, hint: str) -> None:
        super().__init__()
        self.title_text = title
        self._text, self._hint = text, hint

    def body(self) -> ComposeResult:
        box = Input(clean(self._text), compact=True, max_length=500)
        box.cursor_blink = False
        yield box
        yield Static(self._hint, classes="hint", markup=False)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)


class ChangesDialog(Dialog[dict[str, Any]]):
    """New values for some fields of a run. Answers with the typed ones, even if they equal the old ones."""

    hint = ""

    def __init__(self, title: str, fields: Sequence[Hyperparameter], values: dict[str, Any], unit: str) -> None:
        """`values` are those in force now, `unit` is what the run counts in."""
        super().__init__()
        self.title_text = title
        self._unit = unit
        self._fields = fields
        self._values = values
        self._typed: dict[str, str] = {}

    def body(self) -> ComposeResult:
        for field in self._fields:
            yield FieldRow(field, format_value(self._values[field.name]))
        yield Static(self.hint, classes="hint", markup=False)

    @on(FieldRow.Changed)
    def _changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        self._typed[event.name] = event.text
        self._read()

    def _read(self) -> dict[str, Any] | None:
        """The typed values, or None if one is not valid."""
        values, sound = {}, True
        for row in self.query(FieldRow):
            sentence, name = "", row.field.name
            try:
                if name in self._typed:
                    values[name] = read_change(self._typed[name], row.field, self._unit)
            except ConfigError as error:
                sentence, sound = str(error), False
            row.set_error(sentence)
        return values if sound else None

    @on(FieldRow.Submitted)
    def _entered(self, event: FieldRow.Submitted) -> None:
        event.stop()
        if (values := self._read()) is not None:
            self.dismiss(values)


class SteerDialog(ChangesDialog):
    """New values for the fields that can be changed while a run is live."""

    def __init__(self, run: RunRecord, values: dict[str, Any]) -> None:
        """`values` are those at the run's next point."""
        unit = run.schema.length
        super().__init__(f"steer run {run.id}", run.schema.live_fields, values, unit)
        self.hint = f"{_how(unit)} Enter applies it from the next {unit[:-1]}."
        if run.status == Status.PAUSED:
            self.hint += f"\nThe run is paused: changes take effect when it resumes.{_pending(run, values)}"


def _how(unit: str) -> str:
    """How a change is typed; `unit` is what a run is counted in, as epochs."""
    return f"VALUE at once, or VALUE:{unit.upper()} over {unit.upper()} {unit}."


def _pending(run: RunRecord, values: dict[str, Any]) -> str:
    """The changes that take effect when a paused run resumes, as text."""
    now = in_force(run.config, run.plan, max(run.step - 1, 0))  # in the last step that was trained
    changes = [
        f"{run.schema.symbol(field.name)} {format_value(now[field.name])} → {format_value(values[field.name])}"
        for field in run.schema.live_fields
        if values[field.name] != now[field.name]
    ]
    return f"\nPending: {', '.join(changes)}." if changes else ""


class ForkDialog(ChangesDialog):
    """The step and the changes of a fork. Answers with `step` among the changes.

    Fields that were not typed show the values at that step.
    """

    def __init__(self, run: RunRecord, step: int) -> None:
        """Raises StoreError for a run of another version."""
        self._run, self._step = run, step
        self.hint = f"{_how(run.schema.length)} Enter trains the fork as a new run."
        field = Hyperparameter(name="step", kind="int", label="fork at step", ge=0, le=run.step)
        fields = [field, *run.schema.live_fields, run.schema.field(run.schema.length)]
        values = in_force(run.config, run.plan, step) | {"step": step}
        super().__init__(f"fork run {run.id}", fields, values, run.schema.length)

    def _read(self) -> dict[str, Any] | None:
        """Also show the values in force at the step, and why the fork is not possible."""
        values = super()._read()
        if values is None:
            return None
        step, config, plan = values.pop("step", self._step), self._run.config, self._run.plan
        at_step = in_force(config, plan, step)
        for row in self.query(FieldRow):
            if row.field.name in at_step and row.field.name not in self._typed:
                row.set_text(format_value(at_step[row.field.name]))
        try:
            forked(config, plan, step - step % config.steps_per_epoch, values)
        except ConfigError as error:  # there are too few epochs
            self.query_one(f"#field-{self._run.schema.length}", FieldRow).set_error(str(error))
            return None
        return values | {"step": step}


class Waiting(ModalScreen[None]):
    """Shows a message and blocks input."""

    CSS_PATH = "dialogs.tcss"

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with Horizontal(id="dialog"):
            yield Static(self._text, markup=False)


def delete_question(runs: list[RunRecord]) -> Question:
    """Ask whether to delete these runs."""
    one = f"run {runs[0].id} ({runs[0].title}) and its"
    what = one if len(runs) == 1 else f"the {len(runs)} marked runs and all their"
    return Question("delete", f"Delete {what} points and checkpoints?", {"no": "Keep", "yes": "Yes, delete"})


def quit_question(live: int, queued: int, queueing: bool) -> Question:
    """Ask what to do with the runs that this app trains; with `queueing` there will be more in a moment."""
    runs = [_count(live, "training", "run")] if live else []
    runs += [_count(queued, "waiting", "" if live else "run")] if queued else []
    runs += ["more are being queued" if runs else "Runs are being queued"] if queueing else []
    answers = {
        "stop": "Stop them with a checkpoint",
        "detach": "Let them continue in the background",
        "cancel": "Cancel",
    }
    return Question("quit", f"{' and '.join(runs)}.", answers)


def _count(number: int, doing: str, noun: str) -> str:
    plural = f"{noun}s " if noun else ""
    return f"{number} {plural}are {doing}" if number > 1 else f"1 {noun + ' ' if noun else ''}is {doing}"


def slots_dialog(slots: int | None) -> LineDialog:
    """Ask how many runs may train at once."""
    hint = "Enter saves; empty means the default of this machine."
    return LineDialog("runs at once", "" if slots is None else str(slots), hint)
