"""Training curves over steps in the layout of the article's figure, for one run or several in one figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import Milestones, milestones
from wdtui.plots.paper.style import (
    FAINT,
    INK,
    SMALL,
    TONE_STYLES,
    drawn,
    look,
    measure_axis,
    name_lines,
    stacked,
    titled,
    value_title,
    wording,
    write_marks,
)
from wdtui.plots.terminal import TONES
from wdtui.schema.chart import Chart, Trace
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Schema
from wdtui.support.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 3000
_MOST_PANELS = 3
_HEIGHTS = (2.6, 1.6)
"""Heights of the first panel and of those below it, in inches."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run with everything that a figure shows of it."""

    label: str
    schema: Schema
    curves: Curves
    fields: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    """The values in force at each point, [points], of the fields that panels compare with."""
    changes: tuple[tuple[int, str], ...] = ()
    """Steps at which it was steered, and a description of each change."""


@drawn
def training_curves(subjects: Sequence[Subject], metrics: Sequence[str] = ()) -> Figure:
    """Draw runs over steps, in their first charts, or with one panel for each of `metrics`.

    `metrics` are names of the first run's metrics, or name/layer. At least one run must have points. The milestones of
    a single run are written above the figure. With several runs they are in the legend.
    """
    schema = subjects[0].schema
    charts = [_of_metric(schema, metric) for metric in metrics] or [
        chart
        for chart in schema.charts_of(subjects[0].curves.names)[:_MOST_PANELS]
        if any(_has(subject.curves, chart) for subject in subjects)
    ]
    charts = charts or list(schema.charts_of(())[:1])
    heights = [2.0] * len(charts) if metrics else [_HEIGHTS[min(index, 1)] for index in range(len(charts))]
    figure, axes = stacked(heights)
    axes[0].set_xlim(0, max((int(subject.curves.steps[-1]) for subject in subjects if len(subject.curves)), default=1))
    for chart, panel in zip(charts, axes, strict=True):
        _draw(panel, chart, subjects)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter(lambda value, position: number(round(value, 9)))
    figure.align_ylabels(axes)
    if len(subjects) == 1:
        write_marks(axes[0], list(_mark(axes, subjects[0])))
        titled(figure, subjects[0].label)
    else:
        _legend(figure, axes[0], subjects)
    return figure


def _of_metric(schema: Schema, metric: str) -> Chart:
    """A chart for one metric, or for one layer of it."""
    levels = (chart.level for chart in schema.charts if chart.level and metric.partition("/")[0] in _metrics(chart))
    return Chart(name=metric, title=wording(schema, metric), traces=(Trace(metric),), level=next(levels, ""))


def _metrics(chart: Chart) -> list[str]:
    return [trace.metric for trace in chart.traces] or [chart.layers]


def curve_label(subject: Subject) -> str:
    """A run's name and its milestones, on one line."""
    return "; ".join(filter(None, [subject.label, ", ".join(_seen(subject))]))


def _has(curves: Curves, chart: Chart) -> bool:
    return any(_known(curves, metric) for metric in _metrics(chart))


def _known(curves: Curves, metric: str) -> bool:
    return bool(len(curves.measured(metric)[1]))


def _draw(axes: Axes, chart: Chart, subjects: Sequence[Subject]) -> None:
    several, schema = len(subjects) > 1, subjects[0].schema
    traces = {trace.metric: trace for trace in chart.traces}
    shown = chart.several if several else _metrics(chart)
    ends = []
    for index, subject in enumerate(subjects):
        for metric in shown:
            steps, values = _points(subject, metric)
            tone = traces[metric].tone if metric in traces else "test"
            color, style = look(index) if several or len(shown) == 1 else (TONES[tone], TONE_STYLES[tone])
            pale = several and metric != shown[-1]
            axes.plot(
                steps, values, color=color, linestyle=style, alpha=0.35 if pale else 1,
                linewidth=0.8 if pale else None, label=f"{subject.label}: {wording(schema, metric)}",
            )  # fmt: skip
            if not several and len(shown) > 1 and len(values):
                ends.append((float(values[-1]), traces[metric].label, color))
    if chart.level:
        ends += _levels(axes, chart.level, [subject for subject in subjects if _has(subject.curves, chart)])
    measure_axis(axes, schema, shown)
    pale_name = traces[shown[0]].label if several and len(shown) > 1 else ""
    title = f"{wording(schema, shown[-1])} ({pale_name} pale)" if pale_name else chart.title
    axes.set_ylabel(value_title(axes, title))
    name_lines(axes, ends)


def _points(subject: Subject, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All measurements, or a visually equal selection if there are very many."""
    curves, declared = subject.curves, subject.schema.metric(metric)
    if len(curves) <= _MOST_POINTS or (declared and declared.every):
        return curves.measured(metric)
    kept = curves.downsample(len(curves) // 500, [metric])
    steps, values = curves.steps[kept], curves[metric][kept]
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _levels(axes: Axes, field: str, subjects: Sequence[Subject]) -> list[tuple[float, str, str]]:
    """Draw each distinct course of a field once, as a line that steps where it was steered; return its labels."""
    ends = {}
    for subject in subjects:
        values = subject.fields.get(field, np.empty(0))
        if not len(values):
            continue
        first, last = float(values[0]), float(values[-1])
        if (first, last) in ends:
            continue
        steps = [0, *subject.curves.steps]
        symbol = subject.schema.symbol(field)
        axes.plot(steps, [first, *values], color=INK, linestyle=(0, (2, 2)), linewidth=0.9, label=symbol)
        ends[first, last] = (last, f"{symbol} {number(last)}", INK)
    return list(ends.values())


def _mark(axes: Sequence[Axes], subject: Subject) -> Iterator[tuple[float, str]]:
    """Draw a run's milestones and changes as lines through all panels; yield the labels for the top."""
    seen = milestones(subject.curves, subject.schema.judged)
    labels = [(step, f"{kind} {number(step)}") for kind, step in seen.reached.items()]
    labels += subject.changes
    for panel in axes:
        for step, _ in labels:
            panel.axvline(step, color=INK, linewidth=0.6, zorder=0.5)
        for step in seen.blowup_steps:
            panel.axvline(step, color=FAINT, linewidth=2.4, zorder=0.4)
    yield from labels
    if seen.blowup_steps:
        yield seen.blowup_steps[0], _blowups(seen)


def _blowups(seen: Milestones) -> str:
    count = len(seen.blowup_steps)
    if count == 1:
        return f"blow-up {number(seen.blowup_steps[0])}"
    return f"{count} blow-ups (grey), every {number(seen.blowup_period)} steps"


def _seen(subject: Subject) -> Iterator[str]:
    curves, judged = subject.curves, subject.schema.judged
    seen = milestones(curves, judged)
    for step, reached, missed, metric in (
        (seen.fit_step, "fit", "not fitted", judged.fit),
        (seen.generalise_step, "generalised", "not generalised", judged.generalise),
    ):
        if not metric:
            continue
        unknown = f"{wording(subject.schema, metric)} not recorded"
        yield f"{reached} {number(step)}" if step is not None else missed if _known(curves, metric) else unknown
    if count := len(seen.blowup_steps):
        yield f"{count} blow-up{'s' * (count > 1)} from {number(seen.blowup_steps[0])}"


def _legend(figure: Figure, axes: Axes, subjects: Sequence[Subject]) -> None:
    """Name the runs above the panels with their milestones. Symbols at the top mark the steps."""
    from matplotlib.lines import Line2D

    handles = []
    for index, subject in enumerate(subjects):
        color, style = look(index)
        handles.append(Line2D([], [], color=color, linestyle=style, label=curve_label(subject)))  # type: ignore[arg-type]
        seen = milestones(subject.curves, subject.schema.judged)
        signs = [("^", seen.fit_step), ("s", seen.generalise_step), *(("v", step) for step in seen.blowup_steps)]
        for sign, step in signs:
            if step is not None:
                axes.plot(
                    step, 1.03, sign, transform=axes.get_xaxis_transform(), color=color, markersize=3.5, clip_on=False
                )
    figure.legend(
        handles=handles,
        loc="outside upper left",
        frameon=False,
        fontsize=SMALL,
        alignment="left",
        title="▲ fit   ■ generalised   ▼ blow-up" if any(any(one.schema.judged) for one in subjects) else None,
        title_fontsize=SMALL,
        handlelength=3,
    )
