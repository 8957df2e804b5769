"""Single lines about the current state. Pure functions of what the feed has read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from wdtui.runs.inspection import lost_points
from wdtui.schema.curves import Curves
from wdtui.schema.metric import Metric
from wdtui.store.records import RunRecord, Status, StoreError
from wdtui.studies.experiments import notes_of
from wdtui.studies.notes import reached
from wdtui.support.text import capital, clean, number
from wdtui.tui.feed import Shown

_NOTE_SECONDS = 10.0
"""How long a note is shown, at the run's present speed, before the current state is shown instead."""


def status_line(shown: Shown) -> str:
    """The most important fact about a run: why it ended, its experiment's newest note, or its progress."""
    run, curves = shown.run, shown.curves
    if curves.lost:
        return lost_points(run, curves.lost)
    if run.reason and (run.orphaned or run.status not in (Status.DONE, Status.QUEUED)):
        return clean(run.reason)
    if not len(curves):
        return (
            "Queued: waiting for other runs."
            if run.status == Status.QUEUED
            else f"Starting: training the first {run.schema.length[:-1]}."
        )
    return " ".join([*_coming(shown), _reached(shown)])


def _coming(shown: Shown) -> Iterator[str]:
    """The forecast of a live run."""
    if expected := shown.forecast:
        span = f"{number(expected.earliest)} to {number(expected.latest)}"
        yield f"A blow-up is expected near step {number(expected.step)} ({span})."


def _reached(shown: Shown) -> str:
    run, curves, seen = shown.run, shown.curves, shown.milestones
    if note := _note(shown):
        return note
    said = [
        f"{metric.label} is {_newest(curves, metric)}"
        for metric in map(run.schema.metrics.get, run.schema.headline)
        if metric
    ]
    result = f"; {said[-1]}." if said else "."
    if seen.blowup_steps:
        count = len(seen.blowup_steps)
        every = f", every {number(seen.blowup_period)} steps" if seen.blowup_period else ""
        return f"Blew up {'once' if count == 1 else f'{count} times'}{every}{result}"
    if seen.generalise_step is not None:
        later = f", {number(seen.delay)} steps after the fit" if seen.delay and seen.delay > 0 else ""
        return f"Generalised at step {number(seen.generalise_step)}{later}{result}"
    if seen.fit_step is not None:
        watch = " Now watch the weight norm." if run.live and "weight_norm" in curves else ""
        return f"Fit reached at step {number(seen.fit_step)}{result}{watch}"
    both = ", ".join([*said[:1], *(one.replace(" is ", " ") for one in said[1:])])
    return f"{capital(both.replace('train ', 'training ', 1))}." if both else ""


def _newest(curves: Curves, metric: Metric) -> str:
    _, values = curves.measured(metric.name)
    return metric.written(float(values[-1])) if len(values) else "unknown"


def _note(shown: Shown) -> str:
    """The newest note that the run has reached, with its step if the run is past it, for as long as it takes to read.

    For a run that has ended, only a note for its end.
    """
    run = shown.run
    try:
        notes = reached(notes_of(run.experiment, run.config, run.plan), run.config, shown.curves, shown.milestones)
    except StoreError:  # the config of another version, which cannot be read
        return ""
    if not notes:
        return ""
    step, says = notes[-1]
    since = run.step - step
    if since == 0:
        return says
    return f"Step {number(step)}: {says}" if run.live and since <= _NOTE_SECONDS * (run.speed or 0) else ""


def headline(runs: Sequence[RunRecord], device: str) -> str:
    """The device and the number of active runs, for the top right."""
    counts = Counter(run.status_text for run in runs)
    parts = [_device(runs, device)]
    for status in (Status.RUNNING, Status.PAUSED, Status.QUEUED):
        if counts[status]:
            parts.append(f"{counts[status]} {status.value}")
    return " · ".join(parts)


def _device(runs: Sequence[RunRecord], asked: str) -> str:
    """The device in use, or the requested one until the first run has reported its device."""
    known = next((run.device for run in runs if run.device and run.live), "")
    device = known or asked
    return f"{device} ×{os.cpu_count()}" if device == "cpu" else device
