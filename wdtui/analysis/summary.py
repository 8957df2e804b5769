"""The results of a run, as JSON and as sentences. Pure functions of its config and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wdtui.analysis.milestones import FIT, GENERALISED, RECOVERED, Milestones, milestones
from wdtui.analysis.sweep_table import columns
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged, Schema
from wdtui.support.text import capital, duration, number, percent


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them: values that are not finite become None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def summary(run_id: int, status: str, reason: str, curves: Curves, judged: Judged) -> dict[str, Any]:
    """The last line of `--json`: the status of the run, its newest point, milestones and blow-ups."""
    seen = milestones(curves, judged).to_json()
    steps = int(curves.steps[-1]) if len(curves) else 0
    speed = mean_speed(curves)
    return {
        "event": "summary",
        "run_id": run_id,
        "status": status,
        "reason": reason,
        "steps": steps,
        "steps_per_second": speed if math.isfinite(speed) else None,
        "final": finite(curves.last()),
        **seen,
    }


def mean_speed(curves: Curves) -> float:
    """Steps per second of training over all points, weighted by the steps of each point.

    NaN if no speed was recorded.
    """
    steps = [float(step) for step in curves.steps]
    gaps = [after - before for before, after in zip([0.0, *steps], steps, strict=False)]
    seconds = sum(
        gap / speed for gap, speed in zip(gaps, curves["steps_per_second"].tolist(), strict=True) if speed > 0
    )
    return steps[-1] / seconds if seconds else math.nan


def speeds(curves: Curves, batched: int | None) -> str:
    """The speed of a run, on average and at its newest point, and the size of its batch; "" if not recorded.

    `batched` is how many runs shared a batch, including this one.
    """
    mean, last = mean_speed(curves), curves.last().get("steps_per_second", math.nan)
    if not math.isfinite(mean):
        return ""
    text = f"{number(round(mean))} steps/s"
    if math.isfinite(last) and round(last) != round(mean):
        text += f" on average, {number(round(last))} at the last point"
    return text + (f", in a batch of {batched} runs" if batched and batched > 1 else "")


def summary_sentences(curves: Curves, schema: Schema) -> Iterator[str]:
    """The results, one sentence at a time."""
    if not len(curves):
        yield "Nothing has been measured yet."
        return
    if _lost(curves, schema):
        yield "The loss or the parameters were no longer finite."
        return
    seen = milestones(curves, schema.judged)
    if schema.judged.fit:
        yield _fit(curves, schema)
    if schema.judged.generalise:
        yield _generalisation(curves, schema, seen)
    for name in (name for name in columns(schema) if name in schema.metrics and name not in schema.judged):
        _, values = curves.measured(name)
        if len(values):
            change = "fell" if values[-1] < values[0] else "rose"
            first, last = (schema.metrics[name].written(float(value)) for value in (values[0], values[-1]))
            if first == last:
                yield f"The {schema.metrics[name].label} is {last}, as at first."
            else:
                yield f"The {schema.metrics[name].label} {change} from {first} to {last}."
    if seen.fit_step is not None:
        yield _blowups(seen)


def _lost(curves: Curves, schema: Schema) -> bool:
    """Whether some point has no finite number at all. In imported runs only the recorded metrics count."""
    recorded = [
        index
        for index, name in enumerate(curves.names)
        if name in schema.metrics and not schema.metrics[name].timing and not schema.metrics[name].every
    ]
    return bool(recorded) and not np.isfinite(curves.values[:, recorded]).any(axis=1).all()


def _fit(curves: Curves, schema: Schema) -> str:
    label = capital(schema.metrics[schema.judged.fit].label)
    steps, train = curves.measured(schema.judged.fit)
    if not len(train):
        return f"{label} was not recorded."
    passed = next((mark for mark in (FIT, RECOVERED) if max(train) > mark), None)
    if passed is None:
        return f"{label} reached at most {percent(max(train))}: the training data are not fitted."
    step = int(steps[(train > passed).argmax()])
    at = f"{label} passed {percent(passed)} at step {number(step)}"
    steps, test = curves.measured(schema.judged.generalise)
    if not len(test):
        return f"{at}."
    then = percent(test[np.abs(steps - step).argmin()])
    return f"{at}; {schema.metrics[schema.judged.generalise].label} was {then} then."


def _generalisation(curves: Curves, schema: Schema, seen: Milestones) -> str:
    label = capital(schema.metrics[schema.judged.generalise].label)
    _, test = curves.measured(schema.judged.generalise)
    if not len(test):
        return f"{label} was not recorded."
    mark, final = percent(GENERALISED), percent(test[-1])
    if seen.generalise_step is None:
        best = percent(max(test))
        return f"{label} has not reached {mark}: its maximum is {best}, and it is {final} at the last point."
    delay = f", {number(seen.delay)} steps after the fit" if seen.delay is not None and seen.delay > 0 else ""
    reached = f"{label} reached {mark} at step {number(seen.generalise_step)}{delay}"
    return f"{reached}, and is {final} at the last point."


def _blowups(seen: Milestones) -> str:
    count = len(seen.blowup_steps)
    if count == 0:
        return "Training did not blow up after the fit."
    first = f"the first at step {number(seen.blowup_steps[0])}"
    if seen.blowup_period is None:
        return f"Training blew up once, {first.removeprefix('the first ')}."
    return f"Training blew up {count} times, {first}, then every {number(seen.blowup_period)} steps (median)."


def time_left(config: Config, step: int, speed: float | None) -> str:
    """The time for the rest of a run at `speed` steps/s, as text."""
    return duration((config.steps - step) / speed if speed else None)
