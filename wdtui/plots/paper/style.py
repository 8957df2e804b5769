"""The style of figures: sizes, fonts, colours, and labels beside lines instead of legends."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from wdtui.analysis.sweep_table import MILESTONES, label
from wdtui.plots.terminal import RUN_COLORS, scaled
from wdtui.plots.terminal.scale import Scale
from wdtui.schema.schema import Schema
from wdtui.support.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#222222", "#d6d6d6"
"""Colours of text and axes, and of backgrounds. A page replaces them to follow its theme."""
WIDTH = 6.4
"""Width of a figure in inches."""
TONE_STYLES: dict[str, Any] = {"train": "-", "validation": (0, (1, 1.2)), "test": (0, (5, 1.5))}
"""The line styles of a run's own curves, by data set."""
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MOST_LINES = len(RUN_COLORS) * len(LINE_STYLES)
"""The number of lines that differ in colour or style."""
SMALL = 8.0
"""Size of labels beside lines, in points."""
_MOST_TICKS = 5
"""The maximum on a logarithmic axis."""

_SETTINGS = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # part of matplotlib, and has λ and ε
    "font.size": 9.0,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "wdtui",
    "text.color": INK,
    "text.parse_math": False,  # names may contain $
    "xtick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": INK,
    "ytick.labelsize": SMALL,
}

_P = ParamSpec("_P")


def installed() -> bool:
    """Whether matplotlib is installed. Does not import it."""
    return importlib.util.find_spec("matplotlib") is not None


@contextlib.contextmanager
def styled(**more: object) -> Iterator[None]:
    """Figures are created and saved in this style inside the block."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS | more):  # type: ignore[arg-type]
        yield


def drawn(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Decorate a function so that it draws in this style."""

    @wraps(draw)
    def styled_draw(*arguments: _P.args, **options: _P.kwargs) -> Figure:
        with styled():
            return draw(*arguments, **options)

    return styled_draw


def stacked(heights: Sequence[float], *, width: float = WIDTH, shared: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with panels of these heights in inches, one below the other, with or without a common x axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=shared, squeeze=False, height_ratios=list(heights))
    return figure, list(panels[:, 0])


def titled(figure: Figure, title: str) -> None:
    """Add a title at the upper left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


def look(index: int) -> tuple[str, object]:
    """Colour and line style of the line with this index. The first MOST_LINES differ."""
    return RUN_COLORS[index % len(RUN_COLORS)], LINE_STYLES[index % len(LINE_STYLES)]


def wording(schema: Schema, name: str) -> str:
    """The label of a metric, also of one layer, or of a milestone, with its unit."""
    if name in MILESTONES:
        return label(schema, name)
    metric, _, layer = name.partition("/")
    declared = schema.metrics[metric]
    unit = f"({declared.unit})" if declared.unit else ""
    return " ".join(filter(None, [declared.label, unit, f"of {layer}" if layer else ""]))


def value_title(axes: Axes, title: str) -> str:
    """The label of a panel's value axis, wrapped to fit. Call it after `measure_axis`."""
    return textwrap.fill(scaled(title, log=axes.get_yscale() == "log"), 22)


def measure_axis(axes: Axes, schema: Schema, names: Sequence[str]) -> None:
    """Scale and label the value axis: shares 0 … 1, values over decades by logarithm. Call it after drawing."""
    metrics = [metric for name in names if (metric := schema.metric(name))]
    if metrics and all(metric.share for metric in metrics):
        axes.set_ylim(-0.02, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    elif metrics and all(metric.log for metric in metrics) and _spans_decades(axes):
        axes.set_yscale("log", nonpositive="mask")
        axes.minorticks_off()
        low, high = axes.get_ylim()
        values, labels = zip(*Scale(math.log10(low), math.log10(high), log=True).ticks(_MOST_TICKS), strict=True)
        axes.set_yticks(values, labels)
    else:
        axes.yaxis.set_major_formatter(lambda value, position: number(round(value, 12)))
        if not metrics:  # milestones are whole numbers
            axes.locator_params("y", integer=True)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _spans_decades(axes: Axes) -> bool:
    import numpy as np

    values = np.concatenate([np.ravel(np.asarray(line.get_ydata(), float)) for line in axes.lines] or [np.ones(1)])
    positive = values[np.isfinite(values) & (values > 0)]
    return len(positive) > 0 and float(positive.max()) > 10 * float(positive.min())


def name_lines(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names right of the panel, each near the end (a value) of its line and in its colour, without overlap."""
    axes.get_ylim()  # makes the axis fit its data
    figure = axes.get_figure(root=True)
    assert figure
    room = 0.8 * figure.get_figheight() / len(figure.axes) * 72
    gap = min(SMALL * 1.25 / room, 1 / max(len(ends), 1))
    inverse = axes.transAxes.inverted()
    heights = [float(inverse.transform(axes.transData.transform((0, value)))[1]) for value, _, _ in ends]
    order = sorted(range(len(ends)), key=lambda index: -heights[index])
    below = 1.0 + gap
    for index in order:
        below = heights[index] = min(heights[index], below - gap)
    above = 0.0 - gap
    for index in reversed(order):
        above = heights[index] = max(heights[index], above + gap)
    for index, (_, name, color) in enumerate(ends):
        axes.annotate(
            name, (1, heights[index]), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            va="center", ha="left", color=color, fontsize=SMALL, annotation_clip=False,
        )  # fmt: skip


def write_marks(axes: Axes, marks: Sequence[tuple[float, str]]) -> None:
    """Write labels above a panel at their positions on the x axis, in as many rows as needed."""
    low, high = axes.get_xlim()
    starts: list[float] = []
    for x, words in sorted(marks, reverse=True):
        wide = (len(words) + 2) * 0.0115 * (high - low)
        leftward = x + wide > high and x - wide > low
        left, right = (x - wide, x) if leftward else (x, x + wide)
        below = [row for row, start in enumerate(starts) if right > start]  # their stems would cross this label
        row = below[-1] + 1 if below else 0
        starts[row : row + 1] = [left]
        side = "right" if leftward else "left"
        stem = {"arrowstyle": "-", "linewidth": 0.6, "color": INK, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            words, (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 4 + 11 * row), textcoords="offset points",
            ha=side, va="bottom", fontsize=SMALL, annotation_clip=False,
            arrowprops=stem | {"relpos": (leftward, 0)}, bbox={"pad": 1.0, "facecolor": "none", "edgecolor": "none"},
        )  # fmt: skip
