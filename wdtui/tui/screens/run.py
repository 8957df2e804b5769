"""The details of one run: its charts, also layer by layer, its summary, its config and its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer

from wdtui.analysis.decay import gauged
from wdtui.analysis.summary import speeds, summary_sentences
from wdtui.runs.decay import decay_of
from wdtui.runs.forks import begun_from
from wdtui.runs.row_texts import progress, state
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
from wdtui.tui.widgets.decay_panel import DecayPanel
from wdtui.tui.widgets.lines import HeaderLine, KeyLine
from wdtui.tui.widgets.plain_text import PlainText

_RUN_KEYS = tuple(
    key for key in keys.RUNS if key.action in ("steer", "fork", "pause", "stop", "rename", "note", "delete")
)
_APP_KEYS = tuple(key for key in keys.APP if key.action.startswith("app."))
_BACK = keys.Key("escape,enter,backspace", "back", "back", "Return to the runs.", shown="esc", footer=1)
_MOST_EVENTS = 200
_TEXT_SECONDS = 1.0
"""How often the texts of a live run change, so that they can be read."""
_SETTLE_SECONDS = 0.2
"""How long nothing must be typed into the search for layers before the charts are drawn."""
_CHARTS, _FEWER_CHARTS = 6, 4
"""The number of charts, also where the layers take part of a screen with fewer than so many lines."""
_TALL = 50
_LAYERS_SHARE = 0.45
"""The largest share of the height that the layers take."""
_CONFIG_COLUMNS = 33
"""The width of a label and its value, in the narrowest panel."""


_FOOTER = [key for key in (*_RUN_KEYS, *keys.CHARTS, *keys.DECAY, _BACK, *_APP_KEYS) if key.footer]


class RunView(RunScreen):
    """One run, updated while it is live."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings((_BACK,), _RUN_KEYS, keys.CHARTS, keys.DECAY, _APP_KEYS)
    AUTO_FOCUS = None

    def __init__(self, run: RunRecord) -> None:
        super().__init__()
        self._run_id = run.id
        self._schema = run.schema
        self._lines = 0
        self._wants_layers: bool | None = None
        """Whether the layers are to be shown; None where the room decides."""
        self._shown: Shown | None = None
        self._resting: Timer | None = None
        """Runs until the texts may change again."""
        self._settling: Timer | None = None

    def compose(self) -> ComposeResult:
        yield HeaderLine(f"run {self._run_id}")
        with Horizontal():
            with Vertical(id="left"):
                yield ChartGrid(
                    self._schema,
                    _CHARTS,
                    self.workbench.identities.of,
                    status_line,
                    self.workbench.layouts,
                    per_layer=True,
                    id="grid",
                )
                yield DecayPanel()
            with VerticalScroll(id="about"):
                yield PlainText(id="facts")
        yield KeyLine(_FOOTER)

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
        self._shown = shown
        if not (self._resting and shown.run.live):
            self._show_texts()
        self.query_one(ChartGrid).show((shown,))
        self.query_one(HeaderLine).show(f"{state(shown.run)} · step {progress(shown.run)}")

    def _show_texts(self) -> None:
        """Show what is known of the run in words, and its layers."""
        shown = self._shown
        assert shown is not None
        panel = self.query_one(DecayPanel)
        panel.display = gauged(shown.curves)
        if panel.display:
            panel.show(decay_of(shown.run, shown.curves), shown.curves, live=shown.run.live)
        self._arrange()
        words = facts(shown)
        lines, self._lines = self._lines, words.plain.count("\n")
        self.query_one("#facts", PlainText).set_text(words, same_size=lines == self._lines)
        if self._resting:
            self._resting.stop()
        self._resting = self.set_timer(_TEXT_SECONDS, partial(self._rested, shown))

    def _rested(self, before: Shown) -> None:
        self._resting = None
        if self._shown is not before:
            self._show_texts()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < 100, "-narrow")
        self.query_one(ChartGrid).use_narrow(self._tight)
        self._arrange()

    @property
    def _tight(self) -> bool:
        """Whether there is room for one chart only, or the layers in its place."""
        return self.size.width < 100 or self.size.height < 30

    def _arrange(self) -> None:
        """Divide the room between charts and layers."""
        panel, grid = self.query_one(DecayPanel), self.query_one(ChartGrid)
        wanted = not self._tight if self._wants_layers is None else self._wants_layers
        panel.open(wanted)
        opened = panel.display and wanted
        grid.display = not (opened and self._tight)
        grid.use_at_most(_FEWER_CHARTS if opened and self.size.height < _TALL else _CHARTS)
        room = int(self.query_one("#left").size.height * _LAYERS_SHARE)
        height: int | str = ("1fr" if self._tight else min(panel.needed, room)) if opened else 1
        if panel.styles.height is None or str(panel.styles.height) != str(height):
            panel.styles.height = height

    def action_gauges(self) -> None:
        """Show the layers, or one line for all of them."""
        self._show_layers(not self.query_one(DecayPanel).is_open)

    def _show_layers(self, wanted: bool) -> bool:
        """Open or close the table of layers. Returns whether the run has recorded any gauges."""
        panel = self.query_one(DecayPanel)
        if not panel.display:
            self.notify("This run has recorded no decay gauges.", markup=False)
        elif wanted != panel.is_open:
            self._wants_layers = wanted
            self._arrange()
            (panel.focus_table if wanted else self.query_one("#about").focus)()
        return panel.display

    def action_find_layer(self) -> None:
        if self._show_layers(True):
            self.query_one(DecayPanel).search()
            self._arrange()

    def action_order_layers(self) -> None:
        if self._show_layers(True):
            self.query_one(DecayPanel).order_by_next()

    @on(DecayPanel.Selected)
    def _select_layers(self, event: DecayPanel.Selected) -> None:
        event.stop()
        if self._settling:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_SECONDS, partial(self._draw_layers, event.pattern))

    def _draw_layers(self, pattern: str) -> None:
        self._settling = None
        self.query_one(ChartGrid).select_layers(pattern)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(KeyLine).show(keys.FIND if event.widget.id == "layer" else _FOOTER)

    def action_back(self) -> None:
        panel = self.query_one(DecayPanel)
        if panel.searching:
            panel.end_search()
            self._arrange()
        else:
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
    if not gauged(shown.curves):  # else they are beside the layers
        sentences += decay_of(shown.run, shown.curves).sentences
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
