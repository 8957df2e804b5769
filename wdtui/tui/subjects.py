"""The runs in the charts, and their curves on the axis of a view. Pure functions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.axes import AXES
from wdtui.plots.terminal.scale import round_step
from wdtui.runs.labels import labels
from wdtui.store.records import Status
from wdtui.tui.feed import Shown
from wdtui.tui.identity import Identity
from wdtui.tui.view import Span, View

_BAND = 3
"""How many seeds a band has at least."""
_ROOM = 40
"""An axis of growing curves ends at the next of at least half as many round values."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A run in the charts, with its label and colour."""

    shown: Shown
    label: str
    identity: Identity


def subjects(shown: Sequence[Shown], identity: Callable[[int], Identity]) -> list[Subject]:
    """The runs on the screen with labels and colours."""
    named = labels([item.run for item in shown])
    return [Subject(item, label, identity(item.run.id)) for item, label in zip(shown, named, strict=True)]


def whole_span(subjects: Sequence[Subject], view: View) -> Span:
    """All of the runs on the view's axis, of a live run also what is ahead; without zero for a logarithmic axis.

    Where it is not known what is ahead, there is room for the next points, so that the curves do not move with each.
    """
    reached = [positions(subject, view) for subject in subjects]
    firsts = [float(values[0]) for values in reached if len(values)]
    ends = [
        _end(subject, values, view, alone=len(subjects) == 1) for subject, values in zip(subjects, reached, strict=True)
    ]
    end = max([0.0, *ends]) or 1.0
    low = max(min((first for first in firsts if first > 0), default=0.0), 1.0 if view.axis == "step" else 1e-4 * end)
    return (low if view.time_log else 0.0), end


def _end(subject: Subject, reached: NDArray[np.float64], view: View, alone: bool) -> float:
    run, last = subject.shown.run, float(reached[-1]) if len(reached) and np.isfinite(reached[-1]) else 0.0
    if alone and (run.live or run.status == Status.QUEUED) and AXES[view.axis].ahead:
        return max(position(subject, run.steps, view), last)
    if not (run.live and last):
        return last
    step = round_step(last, _ROOM)
    return max(math.ceil(last / step) * step, last)


def positions(subject: Subject, view: View) -> NDArray[np.float64]:
    """The points of a run on the view's axis, [points]; none if the run does not tell them."""
    curves = subject.shown.curves
    values = AXES[view.axis].of(curves, subject.shown.run.steps_per_epoch)
    return np.full(len(curves), np.nan) if values is None else values


def position(subject: Subject, step: float, view: View) -> float:
    """A step of a run on the view's axis."""
    return AXES[view.axis].at(step, subject.shown.curves, subject.shown.run.steps_per_epoch)


def axes_of(subjects: Sequence[Subject]) -> list[str]:
    """The axes that all of these runs can be drawn over."""
    runs = [(subject.shown.curves, subject.shown.run.steps_per_epoch) for subject in subjects]
    return [name for name, axis in AXES.items() if all(axis.of(*run) is not None for run in runs)]


def seed_groups(subjects: Sequence[Subject], view: View) -> list[list[Subject]]:
    """The runs that are drawn as a band: three and more that differ only in their seeds."""
    groups: dict[tuple[object, ...], list[Subject]] = {}
    for subject in subjects if view.bands else ():
        run = subject.shown.run
        if not run.damaged and len(subject.shown.curves):
            same = {name: value for name, value in run.in_force.items() if name not in run.schema.seeds}
            groups.setdefault((run.schema.problem, repr(sorted(same.items()))), []).append(subject)
    return [group for group in groups.values() if len(group) >= _BAND]


def visible(subject: Subject, metric: str, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve in view, on its axis, and one more point on either side, so that the range fits what is visible."""
    x, values = drawn(subject, metric, view)
    part = in_view(x, view)
    return x[part], values[part]


def in_view(x: NDArray[np.float64], view: View) -> slice:
    if view.span is None:
        return slice(None)
    first, last = np.searchsorted(x, view.span)
    return slice(max(int(first) - 1, 0), int(last) + 1)


def value_at(subject: Subject, metric: str, view: View) -> float | None:
    """The value nearest to the cursor, or without one the newest; None if there is none."""
    x, values = drawn(subject, metric, view)
    if not len(x):
        return None
    return float(values[-1 if view.cursor is None else int(np.abs(x - view.cursor).argmin())])


def drawn(subject: Subject, metric: str, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All points, where values that are not finite are gaps. Of rarely measured metrics only the measurements."""
    curves, declared = subject.shown.curves, subject.shown.run.schema.metric(metric)
    x, values = positions(subject, view), curves[metric]
    if declared and declared.every:
        measured = np.isfinite(values)
        return x[measured], values[measured]
    return x, values
