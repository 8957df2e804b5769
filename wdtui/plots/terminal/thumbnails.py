"""The recorded picture of an experiment as a small chart. A pure function."""

from __future__ import annotations

from wdtui.plots.terminal import TONES, Drawing, Series, draw, look
from wdtui.plots.terminal.sweeps import axis_positions
from wdtui.studies.experiments import Experiment
from wdtui.studies.pictures import Thumbnail


def thumbnail(recorded: Thumbnail, experiment: Experiment, *, width: int, height: int, ascii: bool = False) -> Drawing:
    """The curves of this variant's picture as exactly `height` lines of `width` cells.

    Their names are above, or beside the curves if they do not fit on a line.
    """
    series: list[Series] = []
    ticks: dict[float, str] = {}
    along = experiment.picture.along
    for index, curve in enumerate(recorded.curves):
        color, marker = look(index)
        x = axis_positions(experiment.schema, along, curve.x) if along else curve.x
        series.append(Series(curve.label, x, curve.y, TONES[curve.tone] if curve.tone else color, marker))
        if along:
            ticks |= {at: experiment.schema.field(along).written(value) for at, value in zip(x, curve.x, strict=True)}
    return draw(
        series,
        width=width,
        height=height,
        y_range=(0, 1) if recorded.share else None,
        x_log=experiment.picture.log,
        y_log=recorded.log,
        legend=sum(len(curve.label) + 6 for curve in recorded.curves) <= width + 2,
        ascii=ascii,
        x_ticks=[*ticks.items()] if along else None,
    )
