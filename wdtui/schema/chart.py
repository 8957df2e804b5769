"""What a chart shows of a run: which metrics, and how they are looked at. Plain Python; terminal and paper draw it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from wdtui.schema.metric import Metric

Tone = Literal["", "train", "validation", "test"]
"""What a curve is of, which decides its colour: what is trained on, what is held out, what counts in the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """One curve of a chart."""

    metric: str
    label: str = ""
    tone: Tone = "test"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A kind of chart, as a problem declares it; the last trace is the main one and lies on top."""

    name: str
    title: str
    traces: tuple[Trace, ...] = ()
    compared: tuple[str, ...] = ()
    """The metrics drawn of each of several runs, the main one last; empty for the main one alone."""
    layers: str = ""
    """The metric of which each layer has a curve, in place of the traces, or where a person asks for it."""
    layers_title: str = ""
    """What it is called where each layer has a curve in place of the traces."""
    log: bool = False
    level: str = ""
    """The hyperparameter with which the values are to be compared: a line, or a curve where it was steered."""
    forecast: bool = False
    """Whether it shows where blow-ups expected near."""
    about: str = ""
    """What there will be to see, for a screen without runs."""
    absent: str = ""
    """Why there is nothing to see, for runs of which it is not measured."""
    x: str = ""
    """The metric on the horizontal axis; empty for the steps."""
    instead: str = ""
    """The chart in whose place it is shown for runs of which it is measured; empty for one with its own place."""

    @property
    def main(self) -> str:
        """The metric that stands for the chart."""
        return self.traces[-1].metric if self.traces else self.layers

    @property
    def several(self) -> tuple[str, ...]:
        """The metrics drawn of each of several runs."""
        return self.compared or (self.main,)


def plain_charts(metrics: Mapping[str, Metric]) -> tuple[Chart, ...]:
    """A chart for each metric, for a problem that declares none; what only tells the machine's speed comes last."""
    named = sorted((metric for metric in metrics.values() if metric.pooled), key=lambda metric: metric.timing)
    return tuple(
        Chart(name=metric.name, title=metric.label, traces=(Trace(metric.name),), log=metric.log, about=metric.help)
        for metric in named
    )
