"""The content of each chart on the screen: pure functions from curves to a Figure. No Textual, no drawing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from wdtui.analysis.decay import extremes
from wdtui.analysis.forecast import threshold
from wdtui.analysis.sweep_table import written
from wdtui.plots.terminal import RUN_COLORS, TONES, Level, Mark, Series
from wdtui.runs.labels import labels
from wdtui.schema.chart import Chart
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import format_value
from wdtui.schema.schema import Schema
from wdtui.store.records import FINISHED
from wdtui.support.text import number
from wdtui.tui.feed import Shown
from wdtui.tui.identity import Identity
from wdtui.tui.view import Span, View

_MOST_LAYERS = 12
"""Of more layers, those with the largest and with the smallest values have curves."""
_NOT_RECORDED = "Nothing to draw: no value of this was recorded."


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run in the charts, with its label and colour."""

    shown: Shown
    label: str
    identity: Identity


@dataclasses.dataclass(frozen=True)
class Figure:
    """One chart that can be drawn at any size."""

    title: str
    about: str
    values: tuple[Text, ...]
    """The newest values as texts, each shorter than the previous one. The first that fits is shown."""
    series: tuple[Series, ...] = ()
    x_range: Span | None = None
    x_ticks: tuple[tuple[float, str], ...] | None = None
    """Values and labels below the chart, if they are not steps."""
    y_range: Span | None = None
    x_log: bool = False
    y_log: bool = False
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    cursor: float | None = None
    note: str = ""
    """What is left out, for the lower border."""
    drawing: Callable[[int, int], Text] | None = None
    """Draws other content than curves, given the number of cells and lines."""


class _Line(NamedTuple):
    """A curve of one run in a chart."""

    label: str
    metric: str
    color: str


def _lines(chart: Chart, view: View, curves: Curves) -> tuple[_Line, ...]:
    """The curves of a run that is shown alone, the last on top."""
    if _is_per_layer(chart, view):
        layers, known = extremes(curves, chart.layers, view.layers, _MOST_LAYERS)
        labelled = layers if known <= _MOST_LAYERS else _ends(curves, layers)
        return tuple(
            _Line(name.partition("/")[2] if name in labelled else "", name, RUN_COLORS[i % 6])
            for i, name in enumerate(layers)
        )
    return tuple(_Line(trace.label, trace.metric, TONES[trace.tone]) for trace in chart.traces)


def _ends(curves: Curves, columns: Sequence[str]) -> set[str]:
    """The columns with the largest and the smallest newest value."""
    newest = {name: values[-1] for name in columns if len(values := curves.measured(name)[1])}
    return {which(newest, key=lambda name: newest[name]) for which in (min, max)} if newest else set()


def _left_out(chart: Chart, subjects: Sequence[Subject], view: View) -> str:
    """Which layers of a single run are drawn, if not all are."""
    if len(subjects) > 1 or not _is_per_layer(chart, view):
        return ""
    _, known = extremes(subjects[0].shown.curves, chart.layers, view.layers, _MOST_LAYERS)
    each = _MOST_LAYERS // 2
    return f"{each} largest, {each} smallest of {known:,}" if known > _MOST_LAYERS else ""


def _is_per_layer(chart: Chart, view: View) -> bool:
    return bool(chart.layers) and (view.per_layer or not chart.traces)


def title(chart: Chart, view: View) -> str:
    """The title of a chart in a view."""
    return (chart.layers_title if view.per_layer else "") or chart.title


def subjects(shown: Sequence[Shown], identity: Callable[[int], Identity]) -> list[Subject]:
    """The runs on the screen with labels and colours."""
    named = labels([item.run for item in shown])
    return [Subject(item, label, identity(item.run.id)) for item, label in zip(shown, named, strict=True)]


def whole_span(subjects: Sequence[Subject], log: bool = False) -> Span:
    """All steps of the runs, for a live one also the future ones; without zero for a logarithmic axis."""
    ends = [_end(subject, alone=len(subjects) == 1) for subject in subjects]
    firsts = [float(subject.shown.curves.steps[0]) for subject in subjects if len(subject.shown.curves)]
    return max(min(firsts, default=1.0), 1.0) if log else 0.0, max([1.0, *ends])


def _end(subject: Subject, alone: bool) -> float:
    shown = subject.shown
    reached = float(shown.curves.steps[-1]) if len(shown.curves) else 0.0
    return max(float(shown.run.steps), reached) if alone and shown.run.live else reached


def figure(chart: Chart, subjects: Sequence[Subject], view: View) -> Figure:
    """One chart of the runs in a view."""
    if not subjects:
        return Figure(chart.title, chart.about, ())
    schema = subjects[0].shown.run.schema
    named = title(chart, view)
    if not any(_measured(chart, subject) for subject in subjects):
        return Figure(named, chart.absent, ())
    if not any(_recorded(chart, subject, view) for subject in subjects):
        return Figure(named, _NOT_RECORDED, ())
    log = chart.log ^ (chart.name in view.other_scale)
    series = _compared(chart, subjects, view) if len(subjects) > 1 else _alone(chart, subjects, view)
    metric = schema.metric(chart.main)
    return Figure(
        title=named,
        about="",
        values=tuple(written_values(chart, subjects, view, with_names) for with_names in (True, False)),
        series=tuple(series),
        x_range=view.visible(whole_span(subjects, view.time_log)),
        y_range=(0, 1) if metric and metric.share and not log else None,
        x_log=view.time_log,
        y_log=log,
        marks=tuple(_marks(chart, schema, subjects)),
        levels=tuple(_levels(chart, subjects, view)),
        cursor=view.cursor,
        note=_left_out(chart, subjects, view),
    )


def _measured(chart: Chart, subject: Subject) -> bool:
    return not chart.absent or chart.main in subject.shown.curves


def _recorded(chart: Chart, subject: Subject, view: View) -> bool:
    """Whether there is a value to draw, or may be one later. Imported runs have only what was recorded."""
    shown = subject.shown
    ended = shown.run.status in FINISHED and len(shown.curves)
    lines = _lines(chart, view, shown.curves)
    return not ended or any(np.isfinite(shown.curves[line.metric]).any() for line in lines)


def _alone(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Series]:
    for subject in subjects:
        if chart.level and _steerings(subject, chart.level):
            yield _level_over_time(subject, chart.level)
        for line in _lines(chart, view, subject.shown.curves):
            yield Series(line.label, *visible(subject, line.metric, view), line.color)


def _compared(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Series]:
    """The main line of each run, in front of its dimmed other lines. The legend names them once for all charts."""
    *others, main = chart.several
    for subject in subjects:
        for metric in others:
            yield Series("", *visible(subject, metric, view), f"dim {subject.identity.color}")
    for subject in subjects:
        yield Series("", *visible(subject, main, view), subject.identity.color, subject.identity.marker)


def written_values(chart: Chart, subjects: Sequence[Subject], view: View, named: bool) -> Text:
    """The newest values, or those at the cursor, each in its curve's colour."""
    text = Text()
    if len(subjects) > 1:
        dimmed = {trace.metric: trace.label for trace in chart.traces}.get(chart.several[0], "")
        return Text(f"{dimmed} dimmed", style="dim") if len(chart.several) > 1 else text
    for subject in subjects:
        lines = _lines(chart, view, subject.shown.curves)
        if not len(subject.shown.curves) or len(lines) > 3:
            continue
        for label, metric, color in lines:
            text.append("  " if text else "").append(f"{label} " if label and named else "", "dim")
            text.append(written(subject.shown.run.schema, metric, value_at(subject, metric, view.cursor)), color)
    return text


def legend(subjects: Sequence[Subject]) -> Text:
    """The colour, marker and name of each of several runs, on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for subject in subjects:
        identity = subject.identity
        text.append("   " if text else "").append(f"─{identity.marker or '─'}─ ", identity.color)
        text.append(subject.label)
    return text


def visible(subject: Subject, metric: str, view: View) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and values in view and one more on either side, so that the value axis fits the visible curve."""
    steps, values = _drawn(subject, metric)
    if view.span is None:
        return steps, values
    first, last = np.searchsorted(steps, view.span)
    part = slice(max(int(first) - 1, 0), int(last) + 1)
    return steps[part], values[part]


def value_at(subject: Subject, metric: str, step: float | None) -> float | None:
    """The newest value, or the nearest to a step; None if there is none."""
    steps, values = _drawn(subject, metric)
    if not len(steps):
        return None
    return float(values[-1 if step is None else int(np.abs(steps - step).argmin())])


def _drawn(subject: Subject, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All points, where values that are not finite are gaps. Of rarely measured metrics only the measurements."""
    curves, declared = subject.shown.curves, subject.shown.run.schema.metric(metric)
    return curves.measured(metric) if declared and declared.every else (curves.steps, curves[metric])


def _marks(chart: Chart, schema: Schema, subjects: Sequence[Subject]) -> Iterator[Mark]:
    several = len(subjects) > 1
    labelled = not several and (bool(chart.level) or chart.main in schema.judged)
    for subject in subjects:
        color = subject.identity.color if several else None
        for step, label in milestones_of(subject.shown):
            yield Mark(step, label if labelled else "", color)
        if (expected := subject.shown.forecast) and not several:
            yield Mark(expected.step, "blow-up expected" if labelled else "", "dim")


def milestones_of(shown: Shown) -> Iterator[tuple[int, str]]:
    """The steps to mark, with labels."""
    seen = shown.milestones
    if seen.fit_step is not None:
        yield seen.fit_step, f"fit {number(seen.fit_step)}"
    if seen.generalise_step is not None:
        yield seen.generalise_step, f"generalised {number(seen.generalise_step)}"
    yield from ((step, "blow-up") for step in seen.blowup_steps)
    if shown.run.parent_step:
        yield shown.run.parent_step, f"leaves run {shown.run.parent}"
    for event in shown.events:
        if event.kind == "steered":
            yield event.step, steering_text(shown.run.schema, event.data)


def steering_text(schema: Schema, data: Mapping[str, object]) -> str:
    """The effect of a steering, e.g. 'ε → 1e-5'."""
    name = schema.symbol(str(data.get("field")))
    over = f" over {data['epochs']} {schema.length}" if data.get("epochs") else ""
    return f"{name} → {format_value(data.get('new'))}{over}"


def _steerings(subject: Subject, field: str) -> list[tuple[int, float, float, int]]:
    """Step, old and new value of a field, and the step at which the new value is reached."""
    steps = subject.shown.run.steps_per_epoch
    return [
        (
            event.step,
            float(event.data["old"]),
            float(event.data["new"]),
            event.step + event.data.get("epochs", 0) * steps,
        )
        for event in subject.shown.events
        if event.kind == "steered" and event.data.get("field") == field
    ]


def _levels(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Level]:
    if chart.level:
        yield from _field_levels(chart.level, [subject for subject in subjects if _recorded(chart, subject, view)])
    if chart.forecast and len(subjects) == 1:
        value = threshold(subjects[0].shown.curves, subjects[0].shown.milestones)
        yield Level(value, f"blow-ups happen near {number(value)}")


def _field_levels(field: str, subjects: Sequence[Subject]) -> Iterator[Level]:
    """A field as a line. A steered field is shown as a curve instead."""
    for value, symbol in sorted(
        {
            (subject.shown.run.values[field], subject.shown.run.schema.symbol(field))
            for subject in subjects
            if field in subject.shown.run.values  # runs of other problems may not have it
            and (len(subjects) > 1 or not _steerings(subject, field))
        }
    ):
        yield Level(value, f"{symbol} {number(value)}")


def _level_over_time(subject: Subject, field: str) -> Series:
    """A steered field as a curve. A gradual change is a straight line on the logarithmic scale."""
    run = subject.shown.run
    steps, values = [0.0], [float(run.values[field])]
    for i, (step, old, new, arrived) in enumerate(_steerings(subject, field)):
        if i == 0:
            values = [old]
        while steps[-1] > step:  # steered again during a gradual change
            steps.pop(), values.pop()
        steps += [step, arrived]
        values += [old, new]
    reached = whole_span([subject])[1]
    symbol = run.schema.symbol(field)
    return Series(symbol, [*steps, max(reached, steps[-1])], [*values, values[-1]], RUN_COLORS[-1])
