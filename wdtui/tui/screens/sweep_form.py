"""The sweep dialog: axes as text, validated while they are typed, and an estimate before anything starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from wdtui.runs.estimates import expected_seconds
from wdtui.runs.sweep_words import counted
from wdtui.runs.sweeps import Progress
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value
from wdtui.schema.schema import Schema
from wdtui.store.records import RunRecord, StoreError
from wdtui.studies.grid import Grid, read_axes
from wdtui.support.text import clean, duration, number
from wdtui.tui.keymap import key_of
from wdtui.tui.screens.dialogs import Dialog
from wdtui.tui.widgets.plain_text import PlainText
from wdtui.tui.widgets.text_row import TextRow

_ROWS = 3
_SETTLE_SECONDS = 0.15
_HINT = """\
a,b,c · linspace(a,b,n) · logspace(a,b,n) · range(a,b)
Enter trains them. All other fields are those of the form."""


class SweepForm(Dialog[Grid]):
    """Answers with the grid to train."""

    title_text = "sweep"

    def __init__(
        self,
        base: Config,
        axes: Mapping[str, Sequence[Any]],
        runs: Sequence[RunRecord],
        workers: int | None,
        device: str = "auto",
    ) -> None:
        """`axes` are the initial axes. `runs`, newest first, show how fast this machine is."""
        super().__init__()
        self._schema = base.schema()
        self._base, self._runs, self._workers, self._device = base, runs, workers, device
        given = [f"{name}={format_value(tuple(values))}" for name, values in (axes or self._suggestion).items()]
        self._texts = [*given, *[""] * _ROWS][: max(_ROWS, len(given))]
        self._grid: Grid | None = None
        self._settling: Timer | None = None

    @property
    def _suggestion(self) -> Mapping[str, Sequence[Any]]:
        """The initial axis if none was given: the first field with suggested values."""
        fields = ((name, field.suggested) for name, field in self._schema.sweepable.items() if field.suggested)
        return dict(itertools.islice(fields, 1))

    def body(self) -> ComposeResult:
        suggester = SuggestFromList([f"{name}=" for name in self._schema.sweepable], case_sensitive=False)
        for index, text in enumerate(self._texts):
            placeholder = "" if index else f"{next(iter(self._schema.sweepable), 'FIELD')}=0,logspace(0.01,1,5)"
            yield TextRow(f"axis {index + 1}", text, placeholder=placeholder, suggester=suggester, id=f"axis-{index}")
        yield TextRow("seeds", "", placeholder="1", id="seeds")
        yield PlainText(id="amount", classes="hint")
        yield PlainText(id="fields", classes="hint")
        yield Static(_HINT, classes="hint", markup=False)

    def on_mount(self) -> None:
        self._read()

    def on_descendant_focus(self) -> None:
        self._say_fields()

    def _say_fields(self) -> None:
        """Show the fields that match the focused row, or a description of its field."""
        row = next((row for row in self.query(TextRow) if row.has_focus_within), None)
        self.query_one("#fields", PlainText).set_text(
            _fields_for(self._schema, row.text) if row and row.id != "seeds" else ""
        )

    @on(TextRow.Changed)
    def _typed(self) -> None:
        """Read the rows once typing pauses: a thousand cells take a quarter of a second."""
        self._say_fields()
        self._grid = None
        if self._settling:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_SECONDS, self._read)

    def _read(self) -> None:
        """Read all rows; show the error of each below it, and the estimate or error of the grid at the bottom."""
        if self._settling:
            self._settling.stop()
        self._grid = self._settling = None
        wrong: dict[str, str] = {}
        axes: dict[str, tuple[Any, ...]] = {}
        for row in self.query(TextRow):
            try:
                if row.id == "seeds":
                    seeds = _count(row.text)
                elif row.text:
                    axes |= _new_axis(read_axes(self._schema, [row.text]), axes)
            except ConfigError as error:
                wrong[row.id or ""] = str(error)
        for row in self.query(TextRow):
            row.set_error(wrong.get(row.id or "", ""))
        text = "" if wrong else self._amount(axes, seeds)
        self.query_one("#amount", PlainText).set_text(text)

    def _amount(self, axes: dict[str, tuple[Any, ...]], seeds: int | None) -> str:
        """The size and duration of the grid, or why it is not valid."""
        if not axes and not seeds:
            return "Give an axis or several seeds."
        try:
            grid = Grid.of(self._base, axes, seeds)
            cells = grid.cells()
        except ConfigError as error:
            return str(error)
        self._grid = grid
        work = [(cell.config, cell.config.steps) for cell in cells]
        seconds = expected_seconds(work, self._runs, workers=self._workers, threads=None, device=self._device)
        about = f" · about {duration(seconds)}" if math.isfinite(seconds) else ""
        return f"{counted(len(cells))} · {number(sum(steps for _, steps in work))} steps{about}"

    @on(TextRow.Submitted)
    def _entered(self, event: TextRow.Submitted) -> None:
        event.stop()
        if self._settling:
            self._read()
        if self._grid:
            self.dismiss(self._grid)


class SweepList(Dialog[int]):
    """The sweeps of the store. Answers with the number of one."""

    title_text = "sweeps"

    def __init__(self, sweeps: Sequence[Progress]) -> None:
        super().__init__()
        self._sweeps = sweeps

    def body(self) -> ComposeResult:
        if not self._sweeps:
            yield Static(f"No sweeps yet: {key_of('sweep', getattr(self.app, 'keymap', {}))} makes one.", markup=False)
            return
        options = (Option(_line(progress), id=str(progress.sweep.id)) for progress in self._sweeps)
        yield OptionList(*options, compact=True)
        yield Static("Enter opens a sweep, Escape goes back.", classes="hint", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(int(event.option.id or 0))


def _line(progress: Progress) -> Text:
    sweep = progress.sweep
    done = f"{number(progress.finished)}/{number(len(progress.runs))} done"
    try:
        title = sweep.grid.title
    except StoreError as error:
        title = str(error)
    words = [f"{sweep.label:<4}{done:>12}", clean(sweep.name or sweep.experiment), title]
    return Text("  ".join(filter(None, words)), no_wrap=True, overflow="ellipsis")


def _fields_for(schema: Schema, text: str) -> str:
    """The fields that match the text of an axis so far."""
    typed, equals, _ = text.partition("=")
    typed = typed.strip().replace("-", "_").lower()
    exact = next(
        (field for name, field in schema.sweepable.items() if equals and typed in (name, field.symbol.lower())), None
    )
    if exact:
        return f"{exact.symbol} {exact.label}: {exact.allowed}.".strip()
    if equals:
        return ""
    near = [
        f"{field.symbol} {name}" if field.symbol else name
        for name, field in schema.sweepable.items()
        if _matches(typed, field)
    ]
    return (
        " · ".join(near) + ("   → completes" if typed else "")
        if near
        else f"No field that can be an axis starts with {typed}."
    )


def _matches(typed: str, field: Hyperparameter) -> bool:
    return field.name.startswith(typed) or field.symbol.lower().startswith(typed) or typed in field.label.lower()


def _count(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"{text} is not a number of seeds: give 1 or more.")
    return int(text)


def _new_axis(axis: dict[str, tuple[Any, ...]], axes: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    for name in axis.keys() & axes.keys():
        raise ConfigError(f"The axis {name} is given twice. Give all its values together.", name)
    return axis
