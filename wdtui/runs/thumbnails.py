"""The picture of an experiment, from the runs in a store. No torch."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wdtui.plots.terminal import decimate
from wdtui.runs.evidence import Evidence
from wdtui.schema.chart import Chart, Tone, Trace
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Schema
from wdtui.store.store import Store
from wdtui.studies.branches import Case, value_in
from wdtui.studies.experiments import Experiment
from wdtui.studies.pictures import Curve, Picture, Thumbnail

_COLUMNS = 60
"""In how many parts a curve over the steps is divided, of each of which its smallest and largest value are kept."""


def thumbnail(store: Store, evidence: Evidence, experiment: Experiment) -> Thumbnail | None:
    """The picture of this variant of an experiment; None unless all runs that it shows have finished.

    `evidence` is that of the store: reading it takes long where there are many runs.
    """
    picture = experiment.picture
    runs = {case: run for case in picture.cases if (run := evidence.run(case))}
    if not runs or len(runs) < len(picture.cases):
        return None
    first = next(iter(runs.values()))
    curves = {case: store.curves(run.id) for case, run in runs.items()}
    chart = _chart(first.schema, picture, curves[picture.cases[0]].names)
    metric = first.schema.metric(chart.main)
    return Thumbnail(
        of=experiment.drawn,
        title=chart.title,
        share=bool(metric and metric.share),
        log=bool(metric and metric.log),
        seed=int(first.values[first.schema.seeds[-1]]),
        speed=_rounded(statistics.median(run.speed or 0 for run in runs.values())),
        curves=tuple(
            _curve(picture, line, trace, {case: curves[case] for case in cases}, alone=len(chart.traces) == 1)
            for line, cases in picture.lines.items()
            for trace in chart.traces
        ),
    )


def _chart(schema: Schema, picture: Picture, recorded: Sequence[str]) -> Chart:
    """The chart whose traces each line of the picture has."""
    usual = schema.charts_of(recorded)[0]
    if not picture.metrics:
        return usual if len(picture.lines) == 1 else schema.chart([usual.main])
    chart = schema.chart(picture.metrics)
    found = [one for metric in picture.metrics if (one := schema.trace(metric))]
    if len(found) == len(picture.metrics) > 1 and len({of.name for of, _ in found}) == 1:
        return dataclasses.replace(chart, title=found[0][0].title, traces=tuple(trace for _, trace in found))
    return chart


def _curve(picture: Picture, line: str, trace: Trace, curves: Mapping[Case, Curves], *, alone: bool) -> Curve:
    if picture.along:
        points = sorted((value_in(case, picture.along), of_run[trace.metric][-1]) for case, of_run in curves.items())
    else:
        (of_run,) = curves.values()
        points = _thinned(*of_run.measured(trace.metric), picture.log)
    label = " ".join(filter(None, (line, "" if alone else trace.label)))
    tone: Tone = trace.tone if len(picture.lines) == 1 and not alone else ""
    x, y = zip(*points, strict=True) if points else ((), ())
    return Curve(label=label, tone=tone, x=tuple(x), y=tuple(map(_rounded, y)))


def _thinned(steps: NDArray[np.int64], values: NDArray[np.float64], log: bool) -> list[tuple[int, float]]:
    """The points without which a small chart would look different."""
    if len(steps) < 2:
        return [*zip(steps.tolist(), values.tolist(), strict=True)]
    x, y = decimate(steps.astype(np.float64), values, _COLUMNS, (float(steps[0]), float(steps[-1])), log)
    if x[-1] < steps[-1]:  # a curve is as long as its run
        x, y = np.append(x, steps[-1]), np.append(y, values[-1])
    y = np.array([*map(_rounded, y)])
    needed = np.ones(len(y), np.bool_)
    needed[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    return [*zip(x[needed].astype(int).tolist(), y[needed].tolist(), strict=True)]


def _rounded(value: float) -> float:
    """To three significant digits, which a small chart cannot tell from the value."""
    return float(f"{value:.3g}")
