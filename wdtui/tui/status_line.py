"""Single lines that tell how things stand. Pure functions of what the feed has read."""

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
"""How long a note stays, at the run's present speed, before what holds now is told instead."""


def status_line(shown: Shown) -> str:
    """What is to be known of one run now: why it ended, its experiment's newest note, or how far its story has come."""
    run, curves = shown.run, shown.curves
    if curves.lost:
        return lost_points(run, curves.lost)
    if run.reason and (run.orphaned or run.status not in (Status.DONE, Status.QUEUED)):
        return clean(run.reason)
    if not len(curves):
        return (
            "Queued: waiting for other runs." if run.status == Status.QUEUED else "Starting: training the first epoch."
        )
    return " ".join([*_coming(shown), _reached(shown)])


def _coming(shown: Shown) -> Iterator[str]:
    """What is to be expected of a live run."""
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
    """The newest note that the run has got to, with its step once the run has gone on, as long as it takes to read.

    Of a run that has ended, only what is to be said at its end.
    """
    run = shown.run
    try:
        notes = reached(notes_of(run.experiment, run.config, run.plan), run.config, shown.curves, shown.milestones)
    except StoreError:  # another version's config, of which nothing is known
        return ""
    if not notes:
        return ""
    step, says = notes[-1]
    since = run.step - step
    if since == 0:
        return says
    return f"Step {number(step)}: {says}" if run.live and since <= _NOTE_SECONDS * (run.speed or 0) else ""


def headline(runs: Sequence[RunRecord], device: str) -> str:
    """The device and how many runs are at work, on the top right."""
    counts = Counter(run.status for run in runs)
    parts = [_device(runs, device)]
    for status in (Status.RUNNING, Status.PAUSED, Status.QUEUED):
        if counts[status]:
            parts.append(f"{counts[status]} {status.value}")
    return " · ".join(parts)


def _device(runs: Sequence[RunRecord], asked: str) -> str:
    """The device in use; until the first run says which, the one that was asked for."""
    known = next((run.device for run in runs if run.device and run.live), "")
    device = known or asked
    return f"{device} ×{os.cpu_count()}" if device == "cpu" else device
