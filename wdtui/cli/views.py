"""How a headless run is shown: a progress bar, plain lines where there is no terminal, or JSON lines."""

from __future__ import annotations

import codecs
import json
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from wdtui.config import RunConfig
from wdtui.experiments import notes_of
from wdtui.milestones import milestones
from wdtui.notes import reached
from wdtui.runs.store import RunRecord
from wdtui.schema.curves import Curves
from wdtui.summary import finite, mean_speed, story, summary, time_left
from wdtui.text import number, percent

if TYPE_CHECKING:
    from wdtui.charts import Mark, Series

_PLAIN_SECONDS = 5.0


class View(Protocol):
    """What follows a run: `start`, then `points` with the new ones as they come, then `finish` with all of them."""

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
    """A view that leaves nothing on the screen to clean up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass


class JsonView(Unframed):
    """One JSON object a line: the points, then the summary."""

    def start(self, run: RunRecord) -> None:
        self.run_id = run.id

    def points(self, newer: Curves) -> None:
        for step, epoch, values in zip(newer.steps.tolist(), newer.epochs.tolist(), newer.values.tolist(), strict=True):
            metrics = finite(dict(zip(newer.names, values, strict=True)))
            self._write({"event": "point", "run_id": self.run_id, "step": step, "epoch": epoch, **metrics})
        sys.stdout.flush()

    def finish(self, run: RunRecord, curves: Curves) -> None:
        self._write(summary(run.id, run.status, run.reason, curves))
        sys.stdout.flush()

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event, ensure_ascii=False, allow_nan=False))


class PlainView(Unframed):
    """A line on stderr every few seconds; chart and summary on stdout."""

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
    """A progress bar on stderr, as long as it is entered: what is done, the bar, the state."""

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
    """The bar of a run; chart and summary on stdout."""

    def start(self, run: RunRecord) -> None:
        self.config = run.config
        title = f"run {run.id}  {run.title}"
        self._task = self._progress.add_task(title, total=self.config.steps, state="starting PyTorch")

    def points(self, newer: Curves) -> None:
        state = progress_line(self.config, newer)
        self._progress.update(self._task, completed=int(newer.steps[-1]), state=state)

    def finish(self, run: RunRecord, curves: Curves) -> None:
        print_result(run, curves)


def progress_line(config: RunConfig, newer: Curves) -> str:
    """Where a run stands at its newest point."""
    step, last = int(newer.steps[-1]), newer.last()
    accuracies = f"train {percent(last['train_accuracy'])}  test {percent(last['test_accuracy'])}"
    speed = last["steps_per_second"]
    left = time_left(config, step, speed)
    return f"step {number(step)}/{number(config.steps)}  {accuracies}  {number(round(speed))} steps/s  {left} left"


def accuracy_chart(curves: Curves, console: Console) -> Text:
    """Training and test accuracy over the steps."""
    from wdtui.charts import RUN_COLORS, Series

    shown = ("test accuracy", "test_accuracy", RUN_COLORS[1]), ("training accuracy", "train_accuracy", RUN_COLORS[0])
    series = [Series(label, curves.steps, curves[metric], color) for label, metric, color in shown]
    return _drawn(series, console, _marks(curves))


def comparison_chart(named: Sequence[tuple[str, Curves]], console: Console) -> Text:
    """Test accuracy of several runs over their steps."""
    from wdtui.charts import Series, look

    series = [
        Series(label, curves.steps, curves["test_accuracy"], *look(place))
        for place, (label, curves) in enumerate(named)
    ]
    return _drawn(series, console, (), legend=True)


def _marks(curves: Curves) -> list[Mark]:
    from wdtui.charts import Mark

    seen = milestones(curves)
    marks = [Mark(step, "blow-up") for step in seen.blowup_steps]
    if seen.fit_step is not None:
        marks.append(Mark(seen.fit_step, f"fit {number(seen.fit_step)}"))
    if seen.generalise_step is not None:
        marks.append(Mark(seen.generalise_step, f"generalised {number(seen.generalise_step)}"))
    return marks


def _drawn(series: Sequence[Series], console: Console, marks: Sequence[Mark], legend: bool = False) -> Text:
    from wdtui.charts import draw

    width, plain = min(console.width, 100), codecs.lookup(console.encoding).name != "utf-8"
    return draw(series, width=width, height=16, y_range=(0, 1), marks=marks, legend=legend, ascii=plain)


def print_result(run: RunRecord, curves: Curves) -> None:
    """Print a run's chart and what was seen."""
    console = Console(highlight=False)
    if len(curves):
        console.print(accuracy_chart(curves, console), "")
    for sentence in story(curves):
        console.print(sentence, markup=False)
    if len(curves):
        for step, note in reached(notes_of(run.experiment), run.config, curves, milestones(curves)):
            console.print(f"  step {number(step)}: {note}", markup=False)
    measured = f"Run {run.id} is {run.status}: measured up to step {number(run.step)}"
    speed = mean_speed(curves)
    console.print(f"{measured} at {number(round(speed))} steps/s." if math.isfinite(speed) else f"{measured}.")
