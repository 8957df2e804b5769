"""The launch form: an experiment to begin with, its hyperparameters to change, and what such a run will amount to.

Built from `config.FIELDS`; a hyperparameter that is declared there appears here. Groups other than the first are
folded, and their fields are made only when they are unfolded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Button

from wdtui import experiments
from wdtui.config import FIELDS, GROUPS, ConfigError, RunConfig
from wdtui.errors import WdtuiError
from wdtui.hyperparameters import format_value
from wdtui.runs.records import RunRecord
from wdtui.tui.estimates import arithmetic
from wdtui.tui.form_memory import FormMemory, Kept
from wdtui.tui.widgets.choice import Choice
from wdtui.tui.widgets.field_row import FieldRow
from wdtui.tui.widgets.group_heading import GroupHeading
from wdtui.tui.widgets.words import Words

_FIRST = next(iter(GROUPS))
_DEMO = "demo"
_NONE = "none"
Texts = dict[str, str]


class LaunchForm(VerticalScroll, can_focus=False):
    """Posts Submitted with a valid config; shows why there is none as it is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", show=False),
        Binding("down", "next", show=False),
        Binding("escape", "leave", show=False),
    ]

    class Submitted(Message):
        """Please train this."""

        def __init__(self, config: RunConfig, experiment: str) -> None:
            super().__init__()
            self.config, self.experiment = config, experiment

    class Left(Message):
        """Escape was pressed in the form."""

    def __init__(self, memory: FormMemory, *, id: str | None = None) -> None:
        """`memory` knows how the form was left, and is told."""
        super().__init__(id=id)
        self._memory = memory
        self._texts: Texts = {}
        self.config: RunConfig | None = None
        """What the form says, None while it says nothing possible."""
        self._runs: Sequence[RunRecord] = ()
        self._experiment: experiments.Experiment | None = None

    def compose(self) -> ComposeResult:
        names = experiments.names()
        first = _DEMO if _DEMO in names else names[0] if names else _NONE
        kept = self._memory.read()
        if kept and kept.experiment in (*names, _NONE):
            first = kept.experiment
        self._take(first)
        self._texts |= kept.texts if kept and kept.experiment == first else {}
        yield Choice([*names, _NONE], first, id="experiment")
        yield Words(id="question")
        for group, title in GROUPS.items():
            if group != _FIRST:
                yield GroupHeading(group, title.lower(), id=f"heading-{group}")
            with Vertical(id=f"group-{group}", classes="group"):
                if group == _FIRST:
                    yield from self._rows(group)
        yield Words(id="arithmetic")
        yield Words(id="problem")
        yield Button("Run", id="run", compact=True)
        yield Words(id="explanation")

    def on_mount(self) -> None:
        self.border_title = "experiment"
        self.query_one("#run", Button).active_effect_duration = 0
        self._check()

    def _rows(self, group: str) -> list[FieldRow]:
        return [FieldRow(field, self._texts[field.name]) for field in FIELDS.values() if field.group == group]

    # What the form says

    @property
    def experiment(self) -> experiments.Experiment | None:
        return self._experiment

    def use_experiment(self, name: str) -> None:
        """Fill in the config of an experiment; with a name that is none of them, the defaults."""
        name = name if name in experiments.names() else _NONE
        self.query_one("#experiment", Choice).value = name
        self._take(name)
        self._fill()

    def _keep(self) -> None:
        """Have the memory know what the form says."""
        asked = texts_of(self._experiment.base() if self._experiment else RunConfig())
        name = self._experiment.name if self._experiment else _NONE
        self._memory.write(Kept(name, {name: text for name, text in self._texts.items() if text != asked[name]}))

    def on_descendant_blur(self) -> None:
        self._keep()

    def on_unmount(self) -> None:
        self._keep()

    def use_config(self, config: RunConfig) -> None:
        """Fill in a config as it is."""
        self._texts = texts_of(config)
        self._fill()

    def use_runs(self, runs: Sequence[RunRecord]) -> None:
        """Take these runs, newest first, as the measure of how fast this machine is."""
        if runs is self._runs:
            return
        self._runs = runs
        self._calculate()

    def _take(self, name: str) -> None:
        try:
            self._experiment = None if name == _NONE else experiments.load(name)
            config = self._experiment.base() if self._experiment else RunConfig()
        except WdtuiError as error:
            self._experiment, config = None, RunConfig()
            self.app.notify(str(error), severity="error", markup=False)
        self._texts = texts_of(config)

    def _fill(self) -> None:
        for row in self.query(FieldRow):
            row.set_text(self._texts[row.field.name])
        self._check()

    def _check(self) -> None:
        """Read all fields; say under each what is wrong with it."""
        wrong: dict[str, str] = {}
        self.config = None
        try:
            values = parsed(self._texts, wrong)
            if not wrong:
                self.config = config_of(values)
        except ConfigError as error:
            wrong = {name: str(error) for name in error.fields[:1]} or {"": str(error)}
        rows = {row.field.name: row for row in self.query(FieldRow)}
        for name, row in rows.items():
            row.set_error(wrong.get(name, ""))
        hidden = [sentence for name, sentence in wrong.items() if name not in rows]
        problem = self.query_one("#problem", Words)
        problem.say(" ".join(hidden))
        problem.display = bool(hidden)
        for heading in self.query(GroupHeading):
            heading.tell(_changed(self._texts, heading.group))
        self._calculate()

    def _calculate(self) -> None:
        lines = arithmetic(self.config, self._runs, getattr(self.app, "device", "auto")) if self.config else []
        self.query_one("#question", Words).say(_asked(self._experiment))
        self.query_one("#arithmetic", Words).say("\n".join(lines))
        run = self.query_one("#run", Button)
        if run.disabled != (self.config is None):
            run.disabled = self.config is None

    # What is done in it

    def submit(self) -> None:
        if self.config is None:
            self.app.notify("The form has an error; correct it first.", severity="warning", markup=False)
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
        self._texts[event.name] = event.text
        if event.name == "weight_decay":  # which λ_norm would set
            self._clear("normalized_weight_decay")
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
        row = next((one for one in event.widget.ancestors_with_self if isinstance(one, FieldRow)), None)
        explanation = self.query_one("#explanation", Words)
        explanation.say(_explained(row) if row else "")
        explanation.display = row is not None
        if row:
            self.call_after_refresh(row.scroll_visible, animate=False)  # lest the explanation covers it


def texts_of(config: RunConfig) -> Texts:
    """What the fields of a form say about a config; an optional value that is not given is empty."""
    values = {name: getattr(config, name) for name in FIELDS}
    return {name: "" if value is None else format_value(value) for name, value in values.items()}


def parsed(texts: Texts, wrong: Texts) -> dict[str, Any]:
    """Read all fields; what is wrong with one is added to `wrong`."""
    values = {}
    for name, text in texts.items():
        try:
            values[name] = FIELDS[name].parse(text)
        except ConfigError as error:
            wrong[name] = str(error)
    return values


def config_of(values: dict[str, Any]) -> RunConfig:
    """The config that the values make: what is optional and given goes over what stands there anyway."""
    optional = {name: value for name, value in values.items() if FIELDS[name].optional}
    given = {name: value for name, value in optional.items() if value is not None}
    return RunConfig.from_mapping({name: values[name] for name in values.keys() - optional.keys()}, given)


def _changed(texts: Texts, group: str) -> str:
    """What differs from the defaults in a folded group."""
    defaults = texts_of(RunConfig())
    fields = [field for field in FIELDS.values() if field.group == group and texts[field.name] != defaults[field.name]]
    return ", ".join(f"{field.symbol or field.label} {texts[field.name]}" for field in fields)


def _asked(experiment: experiments.Experiment | None) -> str:
    """What an experiment asks, and what of it this form alone does not run."""
    if experiment is None:
        return "A run of your own."
    axes = [
        f"{FIELDS[field].symbol or FIELDS[field].label} {', '.join(map(format_value, values))}"
        for field, values in experiment.axes.items()
    ]
    return experiment.question + (f"\nR runs all {len(experiment.cells())}: {'; '.join(axes)}" if axes else "")


def _explained(row: FieldRow) -> str:
    field = row.field
    unit = f" ({field.unit})" if field.unit else ""
    allowed = field.allowed[:1].upper() + field.allowed[1:]
    return f"{field.help}\n{allowed}{unit}; usually {format_value(field.default)}."
