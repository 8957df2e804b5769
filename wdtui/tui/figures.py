"""The content of each chart on the screen: pure functions from curves to a Figure. No Textual, no drawing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from rich.text import Text

from wdtui.analysis.axes import AXES, smoothed
from wdtui.analysis.decay import extremes
from wdtui.analysis.forecast import threshold
from wdtui.analysis.sweep_table import written
from wdtui.plots.terminal import EVENTS, RUN_COLORS, RUN_MARKERS, TONES, Level, Mark, Series
from wdtui.schema.chart import Chart
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import format_value
from wdtui.schema.schema import Schema
from wdtui.store.records import FINISHED
from wdtui.support.text import number
from wdtui.tui.feed import Shown
from wdtui.tui.subjects import Subject, drawn, in_view, position, seed_groups, value_at, visible, whole_span
from wdtui.tui.view import Span, View

_MOST_LAYERS = 12
"""Of more layers, those with the largest and with the smallest values have curves."""
_NOT_RECORDED = "Nothing to draw: no value of this was recorded."


@dataclasses.dataclass(frozen=True)
class Figure:
    """One chart that can be drawn at any size."""

    title: str
    about: str
    values: tuple[Text, ...]
    """The newest values as texts, each shorter than the previous one. The first that fits is shown."""
    series: tuple[Series, ...] = ()
    x_range: Span | None = None
    y_range: Span | None = None
    x_log: bool = False
    y_log: bool = False
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    cursor: float | None = None
    note: str = ""
    """What is left out, for the lower border."""
    events: tuple[Text, ...] = ()
    """The glyph and the name of each kind of event that is marked, for the lower border."""
    outliers: bool = True
    """Whether all curves decide the range of values, also one that flattens the others."""
    x_name: str = ""
    """What the horizontal axis is, if it is not the steps."""
    drawing: Callable[[int, int], Text] | None = None
    """Draws other content than curves, given the number of cells and lines."""


class _Line(NamedTuple):
    """A curve of one run in a chart."""

    label: str
    metric: str
    color: str
    marker: str = ""


def _lines(chart: Chart, view: View, curves: Curves) -> tuple[_Line, ...]:
    """The curves of a run that is shown alone, the last on top."""
    if _is_per_layer(chart, view):
        layers, known = extremes(curves, chart.layers, view.layers, _MOST_LAYERS)
        labelled = layers if known <= _MOST_LAYERS else _ends(curves, layers)
        return tuple(
            _Line(name.partition("/")[2] if name in labelled else "", name, RUN_COLORS[i % 6], RUN_MARKERS[i % 7])
            for i, name in enumerate(layers)
        )
    alone = len(chart.traces) == 1
    return tuple(
        _Line(
            "" if alone else trace.label,
            trace.metric,
            "" if alone else TONES[trace.tone] if trace.tone else RUN_COLORS[index % 6],
            RUN_MARKERS[index % 7],
        )
        for index, trace in enumerate(chart.traces)
    )


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
    metric = schema.metric(chart.main)
    y_range = (0.0, 1.0) if metric and metric.share and not log else None
    if chart.x:
        return _against(chart, subjects, log, y_range)
    series = tuple(_compared(chart, subjects, view, log) if len(subjects) > 1 else _alone(chart, subjects, view, log))
    if chart.name in view.value_zoom:
        y_range = _closer(chart, subjects, view, log, y_range, series)
    return Figure(
        title=named,
        about="",
        values=tuple(written_values(chart, subjects, view, before) for before in ("label", "marker", "")),
        series=series,
        x_range=view.visible(whole_span(subjects, view)),
        y_range=y_range,
        x_log=view.time_log,
        y_log=log,
        x_name="" if view.axis == "step" else AXES[view.axis].label,
        marks=tuple(_marks(chart, schema, subjects, view)),
        events=tuple(_events(chart, schema, subjects)),
        levels=tuple(_levels(chart, subjects, view)),
        cursor=view.cursor,
        note=_left_out(chart, subjects, view),
        outliers=len(subjects) == 1,
    )


def _measured(chart: Chart, subject: Subject) -> bool:
    return not chart.absent or chart.main in subject.shown.curves


def _recorded(chart: Chart, subject: Subject, view: View) -> bool:
    """Whether there is a value to draw, or may be one later. Imported runs have only what was recorded."""
    shown = subject.shown
    ended = shown.run.status in FINISHED and len(shown.curves)
    lines = _lines(chart, view, shown.curves)
    return not ended or any(np.isfinite(shown.curves[line.metric]).any() for line in lines)


def _alone(chart: Chart, subjects: Sequence[Subject], view: View, log: bool) -> Iterator[Series]:
    for subject in subjects:
        if chart.level and _steerings(subject, chart.level):
            yield _level_over_time(subject, chart.level, view)
        for line in _lines(chart, view, subject.shown.curves):
            yield from _smooth(
                Series(line.label, *visible(subject, line.metric, view), line.color, line.marker),
                subject,
                line.metric,
                view,
                log,
            )


def _compared(chart: Chart, subjects: Sequence[Subject], view: View, log: bool) -> Iterator[Series]:
    """The main line of each run, in front of its dimmed other lines. The legend names them once for all charts."""
    *others, main = chart.several
    banded = {id(subject): group for group in seed_groups(subjects, view) for subject in group}
    alone = [subject for subject in subjects if id(subject) not in banded]
    for subject in alone:
        for metric in others:
            yield Series("", *visible(subject, metric, view), f"dim {subject.identity.color}")
    for group in {id(group): group for group in banded.values()}.values():
        yield from _band(group, main, view)
    for subject in alone:
        line = Series("", *visible(subject, main, view), subject.identity.color, subject.identity.marker)
        yield from _smooth(line, subject, main, view, log)


def _band(group: Sequence[Subject], metric: str, view: View) -> Iterator[Series]:
    """The median of runs in front of their dimmed minimum and maximum, as far as all of them have come."""
    curves = [drawn(subject, metric, view) for subject in group]
    x = max((one for one, _ in curves), key=len)
    x = x[x <= min((one[-1] for one, _ in curves if len(one)), default=-1)]
    values = np.array([np.interp(x, one, y) if len(one) else np.full(len(x), np.nan) for one, y in curves])
    part, color = in_view(x, view), group[0].identity.color
    for edge in (values.min(axis=0), values.max(axis=0)):
        yield Series("", x[part], edge[part], f"dim {color}")
    yield Series("", x[part], np.median(values, axis=0)[part], color, group[0].identity.marker)


def _smooth(line: Series, subject: Subject, metric: str, view: View, log: bool) -> Iterator[Series]:
    """A curve; if the view smooths, its moving average in front of the dimmed curve."""
    if not view.smoothing:
        yield line
        return
    yield Series("", line.x, line.y, f"dim {line.color}".strip())
    x, values = drawn(subject, metric, view)
    part = in_view(x, view)
    yield dataclasses.replace(line, x=x[part], y=smoothed(values, view.smoothing, log=log)[part])


def _against(chart: Chart, subjects: Sequence[Subject], log: bool, y_range: Span | None) -> Figure:
    """Metrics over another metric: the path of each run, whose newest point is named."""
    schema = subjects[0].shown.run.schema
    metric = schema.metric(chart.x)
    paths = [
        Series(
            "" if len(chart.traces) == len(subjects) == 1 else trace.label if len(subjects) == 1 else subject.label,
            subject.shown.curves[chart.x],
            subject.shown.curves[trace.metric],
            subject.identity.color if len(subjects) > 1 else RUN_COLORS[index % 6] if len(chart.traces) > 1 else "",
            path=True,
        )
        for subject in subjects
        for index, trace in enumerate(chart.traces)
    ]
    return Figure(
        title=chart.title,
        about="",
        values=(),
        series=tuple(paths),
        x_log=bool(metric and metric.log),
        y_range=y_range,
        y_log=log,
        outliers=len(subjects) == 1,
        x_name=schema.written_column(chart.x),
    )


def _closer(
    chart: Chart, subjects: Sequence[Subject], view: View, log: bool, whole: Span | None, series: Sequence[Series]
) -> Span | None:
    """A part of the range of values, around the value at the cursor, or else the newest one."""
    middle = value_at(subjects[0], chart.several[-1], view)
    values = np.concatenate([np.asarray(line.y, dtype=np.float64) for line in series] or [np.empty(0)])
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if middle is None or not np.isfinite(middle) or not len(values) or (log and middle <= 0):
        return whole
    low, high = whole or (float(values.min()), float(values.max()))
    if log:
        low, high, middle = math.log10(low), math.log10(high), math.log10(middle)
    size = (high - low) * view.value_zoom[chart.name]
    low = min(max(middle - size / 2, low), high - size)
    return (10**low, 10 ** (low + size)) if log else (low, low + size)


def written_values(
    chart: Chart, subjects: Sequence[Subject], view: View, before: Literal["label", "marker", ""]
) -> Text:
    """The newest values, or those at the cursor, each in its curve's colour, with its label or marker before it."""
    text = Text()
    if len(subjects) > 1:
        dimmed = {trace.metric: trace.label for trace in chart.traces}.get(chart.several[0], "")
        return Text(f"{dimmed} dimmed", style="dim") if len(chart.several) > 1 else text
    for subject in subjects:
        lines = _lines(chart, view, subject.shown.curves)
        if not len(subject.shown.curves) or len(lines) > 3:
            continue
        for label, metric, color, marker in lines:
            value = written(subject.shown.run.schema, metric, value_at(subject, metric, view))
            sign = marker if before == "marker" else ""
            text.append((" " if sign else "  ") if text else "")
            text.append(f"{label} " if label and before == "label" else "", "dim").append(sign + value, color)
    return text


def _marks(chart: Chart, schema: Schema, subjects: Sequence[Subject], view: View) -> Iterator[Mark]:
    several = len(subjects) > 1
    labelled = not several and _explains(chart, schema)
    for subject in subjects:
        for step, label, kind in _marked(subject, several):
            glyph, color = EVENTS[kind]
            color = subject.identity.color if several else color
            yield Mark(position(subject, step, view), label if labelled else "", color, line=not several, glyph=glyph)


def _explains(chart: Chart, schema: Schema) -> bool:
    """Whether a chart says what its marks are."""
    return bool(chart.level) or chart.main in schema.judged


def _marked(subject: Subject, several: bool) -> Iterator[tuple[int, str, str]]:
    """The steps to mark, with labels and kinds: also of the expected event of a run that is shown alone."""
    yield from milestones_of(subject.shown)
    if (expected := subject.shown.forecast) and not several:
        yield expected.step, "blow-up expected", "expected"


def _events(chart: Chart, schema: Schema, subjects: Sequence[Subject]) -> Iterator[Text]:
    """What the glyphs of the marks are, in the chart whose metric decides them."""
    if chart.main in schema.judged:
        several = len(subjects) > 1
        shown = {kind for subject in subjects for _, _, kind in _marked(subject, several)}
        for kind, (glyph, color) in EVENTS.items():
            if kind in shown:
                yield Text.assemble((glyph, "" if several else color), f" {kind}")


def milestones_of(shown: Shown) -> Iterator[tuple[int, str, str]]:
    """The steps to mark, with labels and kinds."""
    seen = shown.milestones
    yield from ((step, f"{kind} {number(step)}", kind) for kind, step in seen.reached.items())
    yield from ((step, "blow-up", "blow-up") for step in seen.blowup_steps)
    if shown.run.parent_step:
        yield shown.run.parent_step, f"leaves run {shown.run.parent}", "fork"
    for event in shown.events:
        if event.kind == "steered":
            yield event.step, steering_text(shown.run.schema, event.data), "steered"


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


def _level_over_time(subject: Subject, field: str, view: View) -> Series:
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
    places = [position(subject, step, view) for step in steps]
    end = max(whole_span([subject], view)[1], places[-1])
    return Series(run.schema.symbol(field), [*places, end], [*values, values[-1]], RUN_COLORS[-1])
