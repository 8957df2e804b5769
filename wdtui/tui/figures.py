"""What each chart shows of the runs on the screen: pure functions from curves to a Figure. No Textual, no drawing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from wdtui.charts import RUN_COLORS, Level, Mark, Series
from wdtui.config import FIELDS
from wdtui.forecast import threshold
from wdtui.hyperparameters import format_value
from wdtui.metrics import METRICS
from wdtui.runs.labels import labels
from wdtui.runs.records import FINISHED
from wdtui.schema.curves import Curves
from wdtui.text import number, percent
from wdtui.tui.feed import Shown
from wdtui.tui.identity import Identity
from wdtui.tui.view import Span, View

TRAIN, VALIDATION, TEST = RUN_COLORS[0], RUN_COLORS[2], RUN_COLORS[1]
Lines = tuple[tuple[str, str, str], ...]
"""Label, metric and colour of the curves that one run has in a chart, the last on top."""
_NO_BATCH_NORM = "Nothing to draw: this network has no BatchNorm."
_NOT_RECORDED = "Nothing to draw: no value of this was recorded."


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run in the charts, as it is named and coloured there."""

    shown: Shown
    label: str
    identity: Identity


@dataclasses.dataclass(frozen=True)
class Figure:
    """One chart, ready to be drawn at any size."""

    title: str
    about: str
    values: tuple[Text, ...]
    """The newest values in words, each shorter than the one before; the first that fits is shown."""
    series: tuple[Series, ...] = ()
    x_range: Span | None = None
    x_ticks: tuple[tuple[float, str], ...] | None = None
    """Places and labels below the chart, where they are not steps."""
    y_range: Span | None = None
    x_log: bool = False
    y_log: bool = False
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    cursor: float | None = None
    drawing: Callable[[int, int], Text] | None = None
    """What is drawn into so many cells and lines in place of curves over steps."""


@dataclasses.dataclass(frozen=True)
class Chart:
    """A kind of chart: what it is called, what it draws, and how its values are written."""

    name: str
    title: str
    lines: Callable[[View, Curves], Lines]
    compared: Callable[[View, Curves], Lines]
    """What is drawn of each run when there are several: fewer lines, the main one last."""
    log: bool = False
    y_range: Span | None = None
    written: Callable[[float | None], str] = number
    about: str = ""
    """What there will be to see, for a screen without runs."""
    absent: str = ""
    """Why there is nothing to see, for networks of which it is not measured."""
    labelled: bool = False
    """Whether the marks are named here."""
    epsilon: bool = False


def _fixed(*lines: tuple[str, str, str]) -> Callable[[View, Curves], Lines]:
    return lambda view, curves: lines


def _per_layer(metric: str, view: View, curves: Curves) -> Lines:
    layers = [name for name in curves.names if name.startswith(f"{metric}/")]
    return tuple((name.split("/")[1], name, RUN_COLORS[i % 6]) for i, name in enumerate(layers))


def _variances(view: View, curves: Curves) -> Lines:
    if view.per_layer:
        return _per_layer("bn_variance_min", view, curves)
    return ("median", "bn_variance_median", TRAIN), ("smallest", "bn_variance_min", TEST)


def _layers_of(metric: str) -> Callable[[View, Curves], Lines]:
    return lambda view, curves: _per_layer(metric, view, curves)


ACCURACY = Chart(
    "accuracy",
    "accuracy",
    _fixed(
        ("train", "train_accuracy", TRAIN),
        ("validation", "validation_accuracy", VALIDATION),
        ("test", "test_accuracy", TEST),
    ),
    _fixed(("train", "train_accuracy", TRAIN), ("test", "test_accuracy", TEST)),
    y_range=(0, 1),
    written=percent,
    about="The share of sums with every bit right: on the training pairs, and on numbers that training never shows.",
    labelled=True,
)
_NORM = _fixed(("", "weight_norm", TEST))
NORM = Chart(
    "norm",
    "weight norm",
    _NORM,
    _NORM,
    about="How large the weights are. It goes on falling when nothing more is to be gained on the training pairs.",
)
VARIANCE = Chart(
    "variance",
    "BatchNorm variance",
    _variances,
    _fixed(("smallest", "bn_variance_min", TEST)),
    log=True,
    epsilon=True,
    labelled=True,
    about="How much the inputs of BatchNorm vary, against the ε that is added to it before the division.",
    absent=_NO_BATCH_NORM,
)
LOSS = Chart(
    "loss",
    "loss",
    _fixed(("train", "train_loss", TRAIN), ("validation", "validation_loss", VALIDATION), ("test", "test_loss", TEST)),
    _fixed(("train", "train_loss", TRAIN), ("test", "test_loss", TEST)),
    log=True,
    about="What training minimises, on a logarithmic scale. It leaps where training blows up.",
)
RATE = Chart(
    "rate",
    "effective lr, per layer",
    _layers_of("effective_learning_rate"),
    _fixed(("", "effective_learning_rate", TEST)),
    log=True,
    absent=_NO_BATCH_NORM,
)
LAYER_VARIANCE = Chart(
    "layer_variance",
    "smallest variance, per layer",
    _layers_of("bn_variance_min"),
    _fixed(("", "bn_variance_min", TEST)),
    log=True,
    epsilon=True,
    absent=_NO_BATCH_NORM,
)
LAYER_NORM = Chart(
    "layer_norm",
    "weight norm, per layer",
    _layers_of("weight_norm"),
    _fixed(("", "weight_norm", TEST)),
    log=True,
)
SHARPNESS = Chart(
    "sharpness",
    "sharpness",
    _fixed(("", "sharpness", TEST)),
    _fixed(("", "sharpness", TEST)),
    about="How near the curvature of the loss is to throwing the weights out. It climbs to a blow-up and falls in it.",
)
CHARTS = ACCURACY, NORM, VARIANCE, LOSS
RUN_CHARTS = ACCURACY, NORM, LAYER_VARIANCE, LOSS, LAYER_NORM, RATE
SHARPNESS_CHARTS = ACCURACY, SHARPNESS, LAYER_VARIANCE, RATE, LAYER_NORM, LOSS
"""For a run of which the sharpness is measured: beside one another what might foretell a blow-up."""


def subjects(shown: Sequence[Shown], identity: Callable[[int], Identity]) -> list[Subject]:
    """Name and colour the runs on the screen."""
    named = labels([one.run for one in shown])
    return [Subject(one, label, identity(one.run.id)) for one, label in zip(shown, named, strict=True)]


def whole_span(subjects: Sequence[Subject], log: bool = False) -> Span:
    """All steps of the runs, of a live one also those to come; without zero for a logarithmic axis."""
    ends = [_end(subject, alone=len(subjects) == 1) for subject in subjects]
    firsts = [float(subject.shown.curves.steps[0]) for subject in subjects if len(subject.shown.curves)]
    return max(min(firsts, default=1.0), 1.0) if log else 0.0, max([1.0, *ends])


def _end(subject: Subject, alone: bool) -> float:
    shown = subject.shown
    reached = float(shown.curves.steps[-1]) if len(shown.curves) else 0.0
    return max(float(shown.run.steps), reached) if alone and shown.run.live else reached


def figure(chart: Chart, subjects: Sequence[Subject], view: View) -> Figure:
    """One chart of the runs, looked at in one way."""
    if subjects and not any(_measured(chart, subject, view) for subject in subjects):
        return Figure(chart.title, chart.absent, ())
    if subjects and not any(_recorded(chart, subject, view) for subject in subjects):
        return Figure(chart.title, _NOT_RECORDED, ())
    log = chart.log ^ (chart.name in view.other_scale)
    series = _compared(chart, subjects, view) if len(subjects) > 1 else _alone(chart, subjects, view)
    y_range = None if log and chart.y_range else chart.y_range
    return Figure(
        title=chart.title,
        about="" if subjects else chart.about,
        values=tuple(written_values(chart, subjects, view, named) for named in (True, False)),
        series=tuple(series),
        x_range=view.visible(whole_span(subjects, view.time_log)) if subjects else None,
        y_range=y_range,
        x_log=view.time_log,
        y_log=log,
        marks=tuple(_marks(chart, subjects)),
        levels=tuple(_levels(chart, subjects, view)),
        cursor=view.cursor,
    )


def _measured(chart: Chart, subject: Subject, view: View) -> bool:
    curves = subject.shown.curves
    return not chart.absent or chart.compared(view, curves)[-1][1] in curves


def _recorded(chart: Chart, subject: Subject, view: View) -> bool:
    """Whether there is a value to draw, or may be one yet; a run that was taken in lacks what nobody recorded."""
    shown = subject.shown
    lines = chart.lines(view, shown.curves)
    ended = shown.run.status in FINISHED and len(shown.curves)
    return not ended or any(np.isfinite(shown.curves[metric]).any() for _, metric, _ in lines)


def _alone(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Series]:
    for subject in subjects:
        curves = subject.shown.curves
        if chart.epsilon and _steerings(subject):
            yield _epsilon_over_time(subject)
        for label, metric, color in chart.lines(view, curves):
            yield Series(label, *visible(curves, metric, view), color)


def _compared(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Series]:
    """One main line for each run; its others behind, dimmed and without a sign. The legend names them, once for all."""
    drawn = [(subject, chart.compared(view, subject.shown.curves)) for subject in subjects]
    for subject, lines in drawn:
        for _, metric, _ in lines[:-1]:
            yield Series("", *visible(subject.shown.curves, metric, view), f"dim {subject.identity.color}")
    for subject, lines in drawn:
        main, identity = lines[-1][1], subject.identity
        yield Series("", *visible(subject.shown.curves, main, view), identity.color, identity.marker)


def written_values(chart: Chart, subjects: Sequence[Subject], view: View, named: bool) -> Text:
    """The newest values, or those under the cursor, each in its curve's colour."""
    text = Text()
    if len(subjects) > 1:
        return Text("train dimmed", style="dim") if len(chart.compared(view, subjects[0].shown.curves)) > 1 else text
    for subject in subjects:
        curves = subject.shown.curves
        lines = chart.lines(view, curves)
        if not len(curves) or len(lines) > 3:
            continue
        for label, metric, color in lines:
            text.append("  " if text else "").append(f"{label} " if label and named else "", "dim")
            text.append(chart.written(value_at(curves, metric, view.cursor)), color)
    return text


def legend(subjects: Sequence[Subject]) -> Text:
    """The colour, the sign and the name of each of several runs, on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for subject in subjects:
        identity = subject.identity
        text.append("   " if text else "").append(f"─{identity.marker or '─'}─ ", identity.color)
        text.append(subject.label)
    return text


def visible(curves: Curves, metric: str, view: View) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps and values in view and one more on either side, so that the value axis fits what is seen."""
    steps, values = _drawn(curves, metric)
    if view.span is None:
        return steps, values
    first, last = np.searchsorted(steps, view.span)
    part = slice(max(int(first) - 1, 0), int(last) + 1)
    return steps[part], values[part]


def value_at(curves: Curves, metric: str, step: float | None) -> float | None:
    """The newest value, or the nearest to a step; None where there is none."""
    steps, values = _drawn(curves, metric)
    if not len(steps):
        return None
    return float(values[-1 if step is None else int(np.abs(steps - step).argmin())])


def _drawn(curves: Curves, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All points, a value that is not finite being a gap; of what is measured now and then only the measurements."""
    now_and_then = METRICS[metric.partition("/")[0]].every
    return curves.measured(metric) if now_and_then else (curves.steps, curves[metric])


def _marks(chart: Chart, subjects: Sequence[Subject]) -> Iterator[Mark]:
    several = len(subjects) > 1
    for subject in subjects:
        color = subject.identity.color if several else None
        for step, label in milestones_of(subject.shown):
            yield Mark(step, label if chart.labelled and not several else "", color)
        if (expected := subject.shown.forecast) and not several:
            yield Mark(expected.step, "blow-up expected" if chart.labelled else "", "dim")


def milestones_of(shown: Shown) -> Iterator[tuple[int, str]]:
    """The steps worth a mark, and what happened there."""
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
            yield event.step, steering_text(event.data)


def steering_text(data: Mapping[str, object]) -> str:
    """What a steering did, e.g. 'ε → 1e-5'."""
    field = FIELDS.get(str(data.get("field")))
    name = (field.symbol or field.label) if field else str(data.get("field"))
    over = f" over {data['epochs']} epochs" if data.get("epochs") else ""
    return f"{name} → {format_value(data.get('new'))}{over}"


def _steerings(subject: Subject) -> list[tuple[int, float, float, int]]:
    """Step, old and new value of ε, and at which step it has come to the new one."""
    steps = subject.shown.run.steps_per_epoch
    return [
        (
            event.step,
            float(event.data["old"]),
            float(event.data["new"]),
            event.step + event.data.get("epochs", 0) * steps,
        )
        for event in subject.shown.events
        if event.kind == "steered" and event.data.get("field") == "bn_epsilon"
    ]


def _levels(chart: Chart, subjects: Sequence[Subject], view: View) -> Iterator[Level]:
    if chart.epsilon:
        yield from _epsilons([one for one in subjects if _recorded(chart, one, view)])
    if chart is SHARPNESS and len(subjects) == 1:
        value = threshold(subjects[0].shown.curves, subjects[0].shown.milestones)
        yield Level(value, f"blow-ups come near {number(value)}")


def _epsilons(subjects: Sequence[Subject]) -> Iterator[Level]:
    """ε as a line; where it was steered, a curve of its own shows it instead."""
    steady = {
        subject.shown.run.values["bn_epsilon"] for subject in subjects if len(subjects) > 1 or not _steerings(subject)
    }
    for value in sorted(steady):
        yield Level(value, f"ε {number(value)}")


def _epsilon_over_time(subject: Subject) -> Series:
    """ε as it was steered; on the way to a new value it is a straight line on the logarithmic scale."""
    steps, values = [0.0], [float(subject.shown.run.values["bn_epsilon"])]
    for i, (step, old, new, arrived) in enumerate(_steerings(subject)):
        if i == 0:
            values = [old]
        while steps[-1] > step:  # steered anew on the way
            steps.pop(), values.pop()
        steps += [step, arrived]
        values += [old, new]
    reached = whole_span([subject])[1]
    return Series("ε", [*steps, max(reached, steps[-1])], [*values, values[-1]], RUN_COLORS[-1])
