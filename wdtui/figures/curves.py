"""Training curves over steps: the layout of the article's figure, of one run or of several laid over one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wdtui.charts import RUN_COLORS
from wdtui.figures.style import (
    FAINT,
    INK,
    SMALL,
    drawn,
    look,
    mark_places,
    measure_axis,
    name_lines,
    stacked,
    titled,
    wording,
    wrapped,
)
from wdtui.metrics import METRICS
from wdtui.milestones import Milestones, milestones
from wdtui.schema.curves import Curves
from wdtui.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 3000
_COLORS = {"train": RUN_COLORS[0], "validation": RUN_COLORS[2], "test": RUN_COLORS[1]}
_STYLES: dict[str, Any] = {"validation": (0, (1, 1.2)), "test": (0, (5, 1.5))}
_NAMES = {"train": "training", "validation": "validation", "test": "test", "bn_variance_median": "median channel"}
_NAMES["bn_variance_min"] = "smallest channel"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run as a figure needs it."""

    label: str
    curves: Curves
    epsilon: NDArray[np.float64] | None = None
    """The BatchNorm ε in force at each point, [points]; None where there is no BatchNorm."""
    changes: tuple[tuple[int, str], ...] = ()
    """Steps at which it was steered, and what was changed there, in words."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """What one panel shows of a run, and what of each where there are several: the last in full, others pale."""

    title: str
    metrics: tuple[str, ...]
    compared: tuple[str, ...]
    height: float = 1.6

    @classmethod
    def of(cls, metric: str) -> Panel:
        """A panel for one metric, or one of a layer's, `name/layer`."""
        return cls(wording(metric), (metric,), (metric,), 2.0)

    @property
    def variance(self) -> bool:
        """Whether it is with ε that its values are to be compared."""
        return all("_variance_" in metric for metric in self.metrics)


ARTICLE = (
    Panel(
        "accuracy",
        ("train_accuracy", "validation_accuracy", "test_accuracy"),
        ("train_accuracy", "test_accuracy"),
        height=2.6,
    ),
    Panel("weight norm", ("weight_norm",), ("weight_norm",)),
    Panel("BatchNorm variance", ("bn_variance_median", "bn_variance_min"), ("bn_variance_min",)),
)
"""The article's figure, and below it the variances that its section on BatchNorm is about."""


@drawn
def training_curves(subjects: Sequence[Subject], metrics: Sequence[str] = ()) -> Figure:
    """Draw runs over steps, in the panels of ARTICLE that they have, or with one panel for each of `metrics`.

    `metrics` are names of METRICS or name/layer; some run must have points. Of one run the milestones are written
    above, of several each run's are in the legend.
    """
    panels = [Panel.of(metric) for metric in metrics] or [
        panel for panel in ARTICLE if any(_has(subject.curves, panel) for subject in subjects)
    ]
    panels = panels or list(ARTICLE[:1])
    figure, axes = stacked([panel.height for panel in panels])
    axes[0].set_xlim(0, max((int(one.curves.steps[-1]) for one in subjects if len(one.curves)), default=1))
    for panel, place in zip(panels, axes, strict=True):
        _draw(place, panel, subjects)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter(lambda value, place: number(round(value, 9)))
    figure.align_ylabels(axes)
    if len(subjects) == 1:
        mark_places(axes[0], list(_mark(axes, subjects[0])))
        titled(figure, subjects[0].label)
    else:
        _legend(figure, axes[0], subjects)
    return figure


def story(subject: Subject) -> str:
    """A run's name and its milestones, on one line."""
    return "; ".join([subject.label, ", ".join(_seen(subject.curves))])


def _has(curves: Curves, panel: Panel) -> bool:
    return any(_known(curves, metric) for metric in panel.metrics)


def _known(curves: Curves, metric: str) -> bool:
    return bool(len(curves.measured(metric)[1]))


def _draw(axes: Axes, panel: Panel, subjects: Sequence[Subject]) -> None:
    several = len(subjects) > 1
    shown = panel.compared if several else panel.metrics
    ends = []
    for place, subject in enumerate(subjects):
        for metric in shown:
            steps, values = _points(subject.curves, metric)
            kind = metric.partition("_")[0] if len(shown) > 1 else ""
            color, style = look(place) if several else (_COLORS.get(kind, look(place)[0]), _STYLES.get(kind, "-"))
            if metric == "bn_variance_median":
                color, style = RUN_COLORS[2], _STYLES["validation"]
            pale = several and metric != shown[-1]
            axes.plot(
                steps, values, color=color, linestyle=style, alpha=0.35 if pale else 1,
                linewidth=0.8 if pale else None, label=f"{subject.label}: {wording(metric)}",
            )  # fmt: skip
            if not several and len(shown) > 1 and len(values):
                ends.append((float(values[-1]), _NAMES.get(kind) or _NAMES[metric], color))
    if panel.variance:
        ends += _epsilons(axes, [subject for subject in subjects if _has(subject.curves, panel)])
    measure_axis(axes, shown)
    title = f"{wording(shown[-1])} (training pale)" if several and len(shown) > 1 else panel.title
    axes.set_ylabel(wrapped(title))
    name_lines(axes, ends)


def _points(curves: Curves, metric: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All measurements, or of very many those that can be seen."""
    if len(curves) <= _MOST_POINTS or METRICS[metric.partition("/")[0]].every:
        return curves.measured(metric)
    kept = curves.telling(len(curves) // 500)
    steps, values = curves.steps[kept], curves[metric][kept]
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _epsilons(axes: Axes, subjects: Sequence[Subject]) -> list[tuple[float, str, str]]:
    """Draw each ε once, as a line that steps where it was steered; return the names to write beside them."""
    ends = {}
    for subject in subjects:
        if subject.epsilon is None or not len(subject.epsilon):
            continue
        first, last = float(subject.epsilon[0]), float(subject.epsilon[-1])
        if (first, last) in ends:
            continue
        steps = [0, *subject.curves.steps]
        axes.plot(steps, [first, *subject.epsilon], color=INK, linestyle=(0, (2, 2)), linewidth=0.9, label="ε")
        ends[first, last] = (last, f"ε {number(last)}", INK)
    return list(ends.values())


def _mark(axes: Sequence[Axes], subject: Subject) -> Iterator[tuple[float, str]]:
    """Draw a run's milestones and changes as lines through all panels; yield the words that belong above them."""
    seen = milestones(subject.curves)
    told: list[tuple[int, str]] = []
    if seen.fit_step is not None:
        told.append((seen.fit_step, f"fit {number(seen.fit_step)}"))
    if seen.generalise_step is not None:
        told.append((seen.generalise_step, f"generalised {number(seen.generalise_step)}"))
    told += subject.changes
    for panel in axes:
        for step, _ in told:
            panel.axvline(step, color=INK, linewidth=0.6, zorder=0.5)
        for step in seen.blowup_steps:
            panel.axvline(step, color=FAINT, linewidth=2.4, zorder=0.4)
    yield from told
    if seen.blowup_steps:
        yield seen.blowup_steps[0], _blowups(seen)


def _blowups(seen: Milestones) -> str:
    count = len(seen.blowup_steps)
    if count == 1:
        return f"blow-up {number(seen.blowup_steps[0])}"
    return f"{count} blow-ups (grey), every {number(seen.blowup_period)} steps"


def _seen(curves: Curves) -> Iterator[str]:
    seen = milestones(curves)
    for step, reached, missed, metric in (
        (seen.fit_step, "fit", "not fitted", "train_accuracy"),
        (seen.generalise_step, "generalised", "not generalised", "test_accuracy"),
    ):
        unknown = f"{wording(metric)} not recorded"
        yield f"{reached} {number(step)}" if step is not None else missed if _known(curves, metric) else unknown
    if count := len(seen.blowup_steps):
        yield f"{count} blow-up{'s' * (count > 1)} from {number(seen.blowup_steps[0])}"


def _legend(figure: Figure, axes: Axes, subjects: Sequence[Subject]) -> None:
    """Name the runs above the panels, with what was seen of each; signs at the top say where."""
    from matplotlib.lines import Line2D

    handles = []
    for place, subject in enumerate(subjects):
        color, style = look(place)
        handles.append(Line2D([], [], color=color, linestyle=style, label=story(subject)))  # type: ignore[arg-type]
        seen = milestones(subject.curves)
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
        title="▲ fit   ■ generalised   ▼ blow-up",
        title_fontsize=SMALL,
        handlelength=3,
    )
