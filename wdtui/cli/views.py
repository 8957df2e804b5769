"""Views of a headless run: a progress bar, plain lines without a terminal, or JSON lines."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from wdtui.analysis.milestones import milestones
from wdtui.analysis.summary import finite, speeds, summary, summary_sentences, time_left
from wdtui.runs.decay import decay_of
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Schema
from wdtui.store.store import RunRecord
from wdtui.studies.experiments import notes_of
from wdtui.studies.notes import reached
from wdtui.support.text import number

if TYPE_CHECKING:
    from wdtui.plots.terminal import Mark, Series
    from wdtui.schema.chart import Chart

_PLAIN_SECONDS = 5.0


class View(Protocol):
    """Protocol of a run's view: `start`, then `points` with each batch of new points, then `finish` with all."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: Any) -> None: ...
    def start(self, run: RunRecord) -> None: ...
    def points(self, newer: Curves) -> None: ...
    def finish(self, run: RunRecord, curves: Curves) -> None: ...


def choose_view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    return ProgressView() if sys.stderr.isatty() else PlainView()


class Unframed:
    """A view that needs no setup or cleanup."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


class JsonView(Unframed):
    """One JSON object per line: the points, then the summary."""

    def start(self, run: RunRecord) -> None:
        self.run_id = run.id
        self._has_epochs = run.schema.length == "epochs"

    def points(self, newer: Curves) -> None:
        for step, epoch, values in zip(newer.steps.tolist(), newer.epochs.tolist(), newer.values.tolist(), strict=True):
            counts = {"step": step} | ({"epoch": epoch} if self._has_epochs else {})
            metrics = finite(dict(zip(newer.names, values, strict=True)))
            self._write({"event": "point", "run_id": self.run_id, **counts, **metrics})
        sys.stdout.flush()

    def finish(self, run: RunRecord, curves: Curves) -> None:
        self._write(summary(run.id, run.status, run.reason, curves, run.schema.judged))
        sys.stdout.flush()

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event, ensure_ascii=False, allow_nan=False))


class PlainView(Unframed):
    """A line on stderr every few seconds. Chart and summary on stdout."""

    def start(self, run: RunRecord) -> None:
        self.config = run.config
        self._written = time.monotonic()
        print(f"Run {run.id}: {run.title}, {number(self.config.steps)} steps.", file=sys.stderr, flush=True)

    def points(self, newer: Curves) -> None:
        now = time.monotonic()
        if now - self._written < _PLAIN_SECONDS:
            return
        self._written = now
        print(progress_line(self.config, newer), file=sys.stderr, flush=True)

    def finish(self, run: RunRecord, curves: Curves) -> None:
        print_result(run, curves)


class Bar:
    """A progress bar on stderr while it is entered: description, bar, state."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()


class ProgressView(Bar):
    """A progress bar. Chart and summary on stdout."""

    def start(self, run: RunRecord) -> None:
        self.config = run.config
        title = f"run {run.id}  {run.title}"
        self._task = self._progress.add_task(title, total=self.config.steps, state="starting PyTorch")

    def points(self, newer: Curves) -> None:
        state = progress_line(self.config, newer)
        self._progress.update(self._task, completed=int(newer.steps[-1]), state=state)

    def finish(self, run: RunRecord, curves: Curves) -> None:
        print_result(run, curves)


def progress_line(config: Config, newer: Curves) -> str:
    """The progress of a run at its newest point."""
    step, last = int(newer.steps[-1]), newer.last()
    schema = config.schema()
    metrics = headline_metrics(schema.recording(newer.names) if schema.source else schema, last)
    speed = last["steps_per_second"]
    left = time_left(config, step, speed)
    return f"step {number(step)}/{number(config.steps)}  {metrics}  {number(round(speed))} steps/s  {left} left"


def headline_metrics(schema: Schema, values: Mapping[str, float]) -> str:
    """The headline metrics in a short form."""
    metrics = (schema.metrics[name] for name in schema.headline)
    return "  ".join(f"{metric.short} {metric.written(values.get(metric.name))}" for metric in metrics)


def first_chart(schema: Schema, curves: Curves, console: Console) -> Text:
    """The metrics that the first chart of the run's problem compares, over the steps."""
    from wdtui.plots.terminal import TONES, Series

    chart = schema.charts_of(curves.names)[0]
    tones = {trace.metric: TONES[trace.tone] for trace in chart.traces}
    series = [
        Series(schema.metrics[metric].label, curves.steps, curves[metric], tones[metric])
        for metric in reversed(chart.several)
    ]
    return _drawn(schema, chart, series, console, _marks(schema, curves))


def comparison_chart(schema: Schema, named: Sequence[tuple[str, Curves]], console: Console) -> Text:
    """The main metric of the first chart for several runs over their steps, below its label."""
    from wdtui.plots.terminal import Series, look

    chart = schema.charts_of(named[0][1].names)[0]
    series = [
        Series(label, curves.steps, curves[chart.main], *look(index)) for index, (label, curves) in enumerate(named)
    ]
    drawn = _drawn(schema, chart, series, console, (), legend=True)
    return Text(f"{schema.metrics[chart.main].label}\n").append_text(drawn)


def _marks(schema: Schema, curves: Curves) -> list[Mark]:
    from wdtui.plots.terminal import EVENTS, Mark

    seen = milestones(curves, schema.judged)
    marks = [Mark(step, "blow-up", glyph=EVENTS["blow-up"][0]) for step in seen.blowup_steps]
    marks += [Mark(step, f"{kind} {number(step)}", glyph=EVENTS[kind][0]) for kind, step in seen.reached.items()]
    return marks


def _drawn(
    schema: Schema,
    chart: Chart,
    series: Sequence[Series],
    console: Console,
    marks: Sequence[Mark],
    legend: bool = False,
) -> Text:
    from wdtui.plots.terminal import draw

    width, plain = min(console.width, 100), codecs.lookup(console.encoding).name != "utf-8"
    y_range = (0, 1) if schema.metrics[chart.main].share else None
    return draw(
        series, width=width, height=16, y_range=y_range, y_log=chart.log, marks=marks, legend=legend, ascii=plain
    )


def print_result(run: RunRecord, curves: Curves) -> None:
    """Print a run's chart and a summary."""
    console = Console(highlight=False)
    if len(curves):
        console.print(first_chart(run.schema, curves, console), "")
    for sentence in (*summary_sentences(curves, run.schema), *decay_of(run, curves).sentences):
        console.print(sentence, markup=False)
    if len(curves):
        notes, seen = notes_of(run.experiment, run.config, run.plan), milestones(curves, run.schema.judged)
        for step, note in reached(notes, run.config, curves, seen):
            console.print(f"  step {number(step)}: {note}", markup=False)
    measured = f"Run {run.id} is {run.status}: measured up to step {number(run.step)}"
    speed = speeds(curves, run.batched)
    console.print(f"{measured} at {speed}." if speed else f"{measured}.")
