"""The details of one run: its charts, also layer by layer, its summary, its config and its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll

from wdtui.analysis.summary import speeds, summary_sentences
from wdtui.runs.forks import begun_from
from wdtui.schema.hyperparameters import format_value
from wdtui.store.records import RunRecord, StoreError
from wdtui.support.text import clean, number
from wdtui.tui import keys
from wdtui.tui.feed import Shown, Snapshot
from wdtui.tui.figures import steering_text
from wdtui.tui.gauge import gauge
from wdtui.tui.screens.actions import RunScreen
from wdtui.tui.status_line import status_line
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.columns import progress, state
from wdtui.tui.widgets.lines import HeaderLine, KeyLine
from wdtui.tui.widgets.plain_text import PlainText

_RUN_KEYS = tuple(
    key for key in keys.RUNS if key.action in ("steer", "fork", "pause", "stop", "rename", "note", "delete")
)
_APP_KEYS = tuple(key for key in keys.APP if key.action.startswith("app."))
_BACK = keys.Key("escape,enter,backspace", "back", "back", "Return to the runs.", shown="esc", footer=True)
_MOST_EVENTS = 200
_CHARTS = 6
_CONFIG_COLUMNS = 33
"""The width of a label and its value, in the narrowest panel."""


class RunView(RunScreen):
    """One run, updated while it is live."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings((_BACK,), _RUN_KEYS, keys.CHARTS, _APP_KEYS)
    AUTO_FOCUS = None

    def __init__(self, run: RunRecord) -> None:
        super().__init__()
        self._run_id = run.id
        self._schema = run.schema
        self._lines = 0

    def compose(self) -> ComposeResult:
        yield HeaderLine(f"run {self._run_id}")
        with Horizontal():
            yield ChartGrid(
                self._schema,
                _CHARTS,
                self.workbench.identities.of,
                status_line,
                self.workbench.layouts,
                per_layer=True,
                id="grid",
            )
            with VerticalScroll(id="about"):
                yield PlainText(id="facts")
        yield KeyLine([key for key in (*_RUN_KEYS, *keys.CHARTS, _BACK, *_APP_KEYS) if key.footer])

    def on_mount(self) -> None:
        self.query_one("#about").border_title = "about this run"
        self.watch(self.app, "snapshot", self._take)

    def on_screen_resume(self) -> None:
        self.query_one("#about").focus()

    @property
    def selected_run(self) -> RunRecord | None:
        return self.snapshot.run(self._run_id)

    def _take(self, snapshot: Snapshot) -> None:
        shown = next((shown for shown in snapshot.shown if shown.run.id == self._run_id), None)
        if shown is None:
            return
        self.query_one(ChartGrid).show((shown,))
        self.query_one(HeaderLine).show(f"{state(shown.run)} · step {progress(shown.run)}")
        words = facts(shown)
        lines, self._lines = self._lines, words.plain.count("\n")
        self.query_one("#facts", PlainText).set_text(words, same_size=lines == self._lines)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < 100, "-narrow")
        self.query_one(ChartGrid).use_narrow(event.size.width < 100 or event.size.height < 30)

    def action_back(self) -> None:
        self.dismiss()

    def after_delete(self) -> None:
        self.dismiss()


def facts(shown: Shown) -> Text:
    """Everything about a run as text."""
    run, text = shown.run, Text()
    for title, lines in (
        ("", [clean(run.title), *([clean(run.note)] if run.note else [])]),
        ("changed while training", _changes(run)),
        ("summary", _summary(shown)),
        ("sharpness", gauge(shown.curves, shown.milestones)),
        ("config", list(_config(run))),
        ("events", _events(shown)),
        ("where", _where(shown)),
    ):
        if lines:
            text.append(f"{title}\n" if title else "", "bold")
            text.append("\n".join(lines) + "\n\n")
    return text


def _summary(shown: Shown) -> list[str]:
    sentences = list(summary_sentences(shown.curves, shown.run.schema))
    return [*sentences, *([clean(shown.run.reason)] if shown.run.reason else [])]


def _changes(run: RunRecord) -> list[str]:
    """The parent of a fork, and all steering with its steps, also that of the parent."""
    lines = [f"fork of run {run.parent} at step {number(run.parent_step)}"] if run.parent is not None else []
    for steering in run.plan:
        over = f" over {steering.epochs} {run.schema.length}" if steering.epochs else ""
        values = f"{format_value(steering.old)} → {format_value(steering.new)}"
        lines += [f"{run.schema.symbol(steering.field)} {values} from step {number(steering.step)}{over}"]
    return lines


def _config(run: RunRecord) -> Iterator[str]:
    """The fields, first those that differ from their defaults, marked with a dot. Steered ones show all values."""
    try:
        config = run.config
    except StoreError as error:
        yield str(error)
        return
    fields, steered = config.fields(), run.steered_fields
    unchanged = {name for name in fields if getattr(config, name) == fields[name].default and name not in steered}
    for name in sorted(fields, key=unchanged.__contains__):
        field, sign = fields[name], " " if name in unchanged else "•"
        value = run.written(name) if name in steered else format_value(getattr(config, name))
        label = f"{field.symbol} {field.label}" if field.symbol and len(field.symbol) < 3 else field.label
        yield f"{sign} {label}{value:>{_CONFIG_COLUMNS - len(label)}}"


def _events(shown: Shown) -> list[str]:
    lines = []
    for event in shown.events[-_MOST_EVENTS:]:
        what = _EVENT_TEXTS[event.kind](shown.run, event.data) if event.kind in _EVENT_TEXTS else event.kind
        reason = event.data.get("reason") or str(event.data.get("traceback", "")).strip().split("\n")[-1]
        lines.append(f"step {number(event.step)}  {what}{': ' + clean(str(reason)) if reason else ''}")
    blowups = shown.milestones.blowup_steps
    lines += [f"step {number(step)}  blow-up" for step in blowups]
    return lines


_EVENT_TEXTS: dict[str, Callable[[RunRecord, Mapping[str, Any]], str]] = {
    "steered": lambda run, data: steering_text(run.schema, data),
    "forked": lambda run, data: begun_from(data),
}


def _where(shown: Shown) -> list[str]:
    run = shown.run
    threads = f", {run.threads} thread{'s' if run.threads != 1 else ''}" if run.threads else ""
    lines = [f"{run.device}{threads} on {clean(run.host or '')}"] if run.device else []
    lines += [speed] if (speed := speeds(shown.curves, run.batched)) else []
    lines += [f"checkpoint at step {number(run.checkpoint_step)}"] if run.checkpoint_step else []
    lines += [", ".join(f"{name} {clean(version)}" for name, version in run.versions.items())] if run.versions else []
    return lines
