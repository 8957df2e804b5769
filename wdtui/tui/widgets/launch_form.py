"""The launch form: an experiment to start from, its hyperparameters, and the size and duration of the run.

It is built from the schema of the experiment's problem, so a new hyperparameter appears here automatically. All groups
but the first are folded. Their fields are created when they are unfolded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, format_value
from wdtui.schema.schema import Schema
from wdtui.store.records import RunRecord
from wdtui.studies import experiments
from wdtui.support.errors import WdtuiError
from wdtui.support.text import capital, clean
from wdtui.tui.estimates import arithmetic
from wdtui.tui.form_memory import FormMemory, Kept
from wdtui.tui.widgets.choice import Choice
from wdtui.tui.widgets.field_row import FieldRow
from wdtui.tui.widgets.group_heading import GroupHeading
from wdtui.tui.widgets.plain_text import PlainText

_DEMO = "demo"
_NONE = "none"
"""The name of the choice with the default problem's defaults."""
Texts = dict[str, str]


class Explanation(PlainText):
    """The help of the focused field, below all fields. It may grow after the form has scrolled to the field."""

    def __init__(self, when_resized: Callable[[], None], *, id: str) -> None:
        super().__init__(id=id)
        self._when_resized = when_resized

    def on_resize(self) -> None:
        self._when_resized()


class LaunchForm(VerticalScroll, can_focus=False):
    """Posts Submitted with a valid config. Shows errors while values are typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", show=False),
        Binding("down", "next", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Submitted(Message):
        """A run with this config was requested."""

        def __init__(self, config: Config, experiment: str) -> None:
            super().__init__()
            self.config, self.experiment = config, experiment

    class Left(Message):
        """Escape was pressed in the form."""

    def __init__(self, memory: FormMemory, *, problem: str = "", id: str | None = None) -> None:
        """`memory` reads and saves the state of the form; `problem` is a file offered before the experiments."""
        super().__init__(id=id)
        self._memory, self._problem = memory, problem
        self._texts: Texts = {}
        self.config: Config | None = None
        """The config in the form, or None while it is not valid."""
        self._runs: Sequence[RunRecord] = ()
        self._experiment: experiments.Experiment | None = None
        self._kind = registry.find(registry.DEFAULT).config
        self._shown = ""
        """The problem whose fields are on the screen."""

    def compose(self) -> ComposeResult:
        names = self._choices()
        first = self._problem or (_DEMO if _DEMO in names else names[0])
        kept = None if self._problem else self._memory.read()
        if kept and kept.experiment in names:
            first = kept.experiment
        self._take(first)
        if kept and kept.experiment == first:
            self._texts |= {name: text for name, text in kept.texts.items() if name in self._texts}
        yield Choice(names, first, written=_shown, id="experiment")
        yield PlainText(id="question")
        with Vertical(id="groups"):
            yield from self._groups()
        yield PlainText(id="arithmetic")
        yield PlainText(id="problem")
        yield Button("Run", id="run", compact=True)
        yield Explanation(self._scroll_to_focused, id="explanation")

    def on_mount(self) -> None:
        self.border_title = "experiment"
        self.query_one("#run", Button).active_effect_duration = 0
        self._check()

    def _choices(self) -> list[str]:
        """What can be begun with: the experiments, the defaults, and those of other problems than the default one."""
        others = [name for name in registry.names() if name != registry.DEFAULT]
        return [*([self._problem] if self._problem else []), *experiments.names(), _NONE, *others]

    @property
    def schema(self) -> Schema:
        """The declarations of the problem in the form."""
        return self._kind.schema()

    def _groups(self) -> Iterator[GroupHeading | Vertical]:
        """All fields of the problem, with the first group unfolded."""
        self._shown = self.schema.code
        for index, (group, title) in enumerate(self.schema.groups.items()):
            if index:
                yield GroupHeading(group, title.lower(), id=f"heading-{group}")
            yield Vertical(
                *(self._rows(group) if not index else ()),
                id=f"group-{group}",
                classes="group" if index else "group -first",
            )

    def _rows(self, group: str) -> list[FieldRow]:
        fields = self.schema.fields.values()
        return [FieldRow(field, self._texts[field.name]) for field in fields if field.group == group]

    # The content

    @property
    def experiment(self) -> experiments.Experiment | None:
        return self._experiment

    def use_experiment(self, name: str) -> None:
        """Fill in the config of an experiment, or the defaults if the name is not known."""
        name = name if name in self._choices() else _NONE
        self.query_one("#experiment", Choice).value = name
        self._take(name)
        self._fill()

    def _keep(self) -> None:
        """Save what the form contains, unless it was opened for a problem's file: the next form is as before that."""
        if self._problem:
            return
        original = texts_of(self._experiment.base() if self._experiment else self._kind())
        name = self._experiment.name if self._experiment else _NONE
        changed = {name: text for name, text in self._texts.items() if text != original.get(name)}
        self._memory.write(Kept(name, changed))

    def on_descendant_blur(self) -> None:
        self._keep()

    def on_unmount(self) -> None:
        self._keep()

    def use_config(self, config: Config) -> None:
        """Fill in a config."""
        self._kind, self._texts = type(config), texts_of(config)
        self._fill()

    def use_runs(self, runs: Sequence[RunRecord]) -> None:
        """Use these runs, newest first, to estimate how fast this machine is."""
        if runs is self._runs:
            return
        self._runs = runs
        self._calculate()

    def _take(self, name: str) -> None:
        try:
            self._experiment = None if name == _NONE else experiments.load(name)
            config = (self._experiment or experiments.load(registry.DEFAULT)).base()
        except WdtuiError as error:
            self._experiment, config = None, experiments.load(registry.DEFAULT).base()
            self.app.notify(str(error), severity="error", markup=False)
        self._kind, self._texts = type(config), texts_of(config)

    def _fill(self) -> None:
        if self._shown != self.schema.code:
            self.call_later(self._lay_out)
        else:
            for row in self.query(FieldRow):
                row.set_text(self._texts[row.field.name])
        self._check()

    async def _lay_out(self) -> None:
        """Show the fields of another problem."""
        groups = self.query_one("#groups", Vertical)
        await groups.remove_children()
        await groups.mount_all(self._groups())
        self._check()

    def _check(self) -> None:
        """Read all fields and show the error of each below it."""
        wrong: dict[str, str] = {}
        self.config = None
        try:
            values = parsed(self.schema, self._texts, wrong)
            if not wrong:
                self.config = config_of(self._kind, values)
        except ConfigError as error:
            wrong = {name: str(error) for name in error.fields[:1]} or {"": str(error)}
        rows = {row.field.name: row for row in self.query(FieldRow)}
        for name, row in rows.items():
            row.set_error(wrong.get(name, ""))
        hidden = [sentence for name, sentence in wrong.items() if name not in rows]
        problem = self.query_one("#problem", PlainText)
        problem.set_text(" ".join(hidden))
        problem.display = bool(hidden)
        for heading in self.query(GroupHeading):
            heading.show(_changed(self._kind, self._texts, heading.group))
        self._calculate()

    def _calculate(self) -> None:
        lines = arithmetic(self.config, self._runs, getattr(self.app, "device", "auto")) if self.config else []
        self.query_one("#question", PlainText).set_text(_asked(self._experiment))
        self.query_one("#arithmetic", PlainText).set_text("\n".join(lines))
        run = self.query_one("#run", Button)
        if run.disabled != (self.config is None):
            run.disabled = self.config is None

    # Actions

    def submit(self) -> None:
        if self.config is None:
            self.app.notify("The form has an error: correct it first.", severity="warning", markup=False)
            return
        known = self._experiment and self.config in (self._experiment.base(), *self._experiment.cells())
        name = self._experiment.name if self._experiment and known else ""
        self.post_message(self.Submitted(self.config, name))

    def action_previous(self) -> None:
        self.screen.focus_previous("LaunchForm *")

    def action_next(self) -> None:
        self.screen.focus_next("LaunchForm *")

    def action_leave(self) -> None:
        self.post_message(self.Left())

    @on(FieldRow.Changed)
    def _field_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        if event.name not in self._texts:  # a field of the previous problem
            return
        self._texts[event.name] = event.text
        for name, other in self.schema.derived.items():
            if other == event.name:  # a derived value, such as λ_norm, would override the new one
                self._clear(name)
        self._check()

    def _clear(self, name: str) -> None:
        self._texts[name] = ""
        for row in self.query(f"#field-{name}").results(FieldRow):
            row.set_text("")

    @on(Choice.Changed, "#experiment")
    def _experiment_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self._take(event.choice.value)
        self._fill()

    @on(FieldRow.Submitted)
    @on(Choice.Submitted)
    @on(Button.Pressed)
    def _entered(self, event: Message) -> None:
        event.stop()
        self.submit()

    @on(GroupHeading.Toggled)
    async def _unfold(self, event: GroupHeading.Toggled) -> None:
        event.stop()
        group = self.query_one(f"#group-{event.group}", Vertical)
        if event.unfolded and not group.children:
            await group.mount_all(self._rows(event.group))
        group.display = event.unfolded
        self._check()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        row = next((widget for widget in event.widget.ancestors_with_self if isinstance(widget, FieldRow)), None)
        explanation = self.query_one("#explanation", PlainText)
        explanation.set_text(_explained(row) if row else "")
        explanation.display = row is not None
        if row:
            self._scroll_to_focused()

    def _scroll_to_focused(self) -> None:
        """Scroll the focused field from beneath the explanation."""
        if self.screen.focused and self in self.screen.focused.ancestors:
            self.call_after_refresh(self.screen.focused.scroll_visible)


def texts_of(config: Config) -> Texts:
    """The texts of a form's fields for a config. An optional value that is not set is empty."""
    values = {name: getattr(config, name) for name in config.fields()}
    return {name: "" if value is None else format_value(value) for name, value in values.items()}


def parsed(schema: Schema, texts: Texts, wrong: Texts) -> dict[str, Any]:
    """Parse all fields; errors are added to `wrong`."""
    values = {}
    for name, text in texts.items():
        try:
            values[name] = schema.field(name).parse(text)
        except ConfigError as error:
            wrong[name] = str(error)
    return values


def config_of(kind: type[Config], values: dict[str, Any]) -> Config:
    """The config with these values. Optional values that are set override others."""
    optional = {name: value for name, value in values.items() if kind.fields()[name].optional}
    given = {name: value for name, value in optional.items() if value is not None}
    return kind.from_mapping({name: values[name] for name in values.keys() - optional.keys()}, given)


def _changed(kind: type[Config], texts: Texts, group: str) -> str:
    """The differences from the defaults in a folded group."""
    defaults = texts_of(kind())
    fields = [
        field for field in kind.fields().values() if field.group == group and texts[field.name] != defaults[field.name]
    ]
    return ", ".join(f"{field.symbol or field.label} {texts[field.name]}" for field in fields)


def _asked(experiment: experiments.Experiment | None) -> str:
    """The question of an experiment, and how many runs it has."""
    if experiment is None:
        return "A run with your own values."
    axes = [
        f"{experiment.schema.symbol(field)} {', '.join(map(format_value, values))}"
        for field, values in experiment.axes.items()
    ]
    return experiment.question + (f"\nR runs all {len(experiment.cells())}: {'; '.join(axes)}" if axes else "")


def _explained(row: FieldRow) -> str:
    field = row.field
    unit = f" ({field.unit})" if field.unit else ""
    allowed = capital(field.allowed)
    return f"{field.help}\n{allowed}{unit}; default {format_value(field.default)}."


def _shown(name: str) -> str:
    """An experiment's name, or that of a problem's file without its folder."""
    return clean(Path(name).name)
