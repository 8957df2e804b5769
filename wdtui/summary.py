"""What a run came to, in numbers for machines and in sentences for people. Pure functions of its config and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wdtui.config import RunConfig
from wdtui.milestones import FIT, GENERALISED, RECOVERED, Milestones, milestones
from wdtui.schema.curves import Curves
from wdtui.text import duration, number, percent


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them: what is not a finite number becomes None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def summary(run_id: int, status: str, reason: str, curves: Curves) -> dict[str, Any]:
    """The last line of `--json`: how the run ended, its newest point, milestones and blow-ups."""
    seen = milestones(curves).to_json()
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
    """Steps per second of training over all points, each point's speed counting as long as its steps took.

    NaN where no speed was recorded.
    """
    steps = [float(step) for step in curves.steps]
    gaps = [after - before for before, after in zip([0.0, *steps], steps, strict=False)]
    seconds = sum(
        gap / speed for gap, speed in zip(gaps, curves["steps_per_second"].tolist(), strict=True) if speed > 0
    )
    return steps[-1] / seconds if seconds else math.nan


def story(curves: Curves) -> Iterator[str]:
    """What was seen, a sentence at a time."""
    if not len(curves):
        yield "Nothing has been measured yet."
        return
    if _lost(curves):
        yield "The numbers did not stay finite."
        return
    seen = milestones(curves)
    yield _fit(curves)
    yield _generalisation(curves, seen)
    _, norm = curves.measured("weight_norm")
    if len(norm):
        change = "fell" if norm[-1] < norm[0] else "rose"
        yield f"The weight norm {change} from {number(norm[0])} to {number(norm[-1])}."
    if seen.fit_step is not None:
        yield _blowups(seen)


def _lost(curves: Curves) -> bool:
    """Whether some point has no finite number at all; of a run that was taken in, each has what was recorded there."""
    told = [
        place
        for place, name in enumerate(curves.names)
        if name.endswith(("_loss", "_accuracy")) or name == "weight_norm"
    ]
    return not np.isfinite(curves.values[:, told]).any(axis=1).all()


def _fit(curves: Curves) -> str:
    steps, train = curves.measured("train_accuracy")
    if not len(train):
        return "Training accuracy was not recorded."
    passed = next((mark for mark in (FIT, RECOVERED) if max(train) > mark), None)
    if passed is None:
        return f"The training pairs are not fitted: training accuracy came to {percent(max(train))} at most."
    step = int(steps[(train > passed).argmax()])
    at = f"Training accuracy passed {percent(passed)} at step {number(step)}"
    steps, test = curves.measured("test_accuracy")
    then = f"; test accuracy was {percent(test[np.abs(steps - step).argmin()])} then" if len(test) else ""
    return f"{at}{then}."


def _generalisation(curves: Curves, seen: Milestones) -> str:
    _, test = curves.measured("test_accuracy")
    if not len(test):
        return "Test accuracy was not recorded."
    mark, final = percent(GENERALISED), percent(test[-1])
    if seen.generalise_step is None:
        best = percent(max(test))
        return f"Test accuracy has not reached {mark}: it came to {best} at most and is {final} at the last point."
    delay = f", {number(seen.delay)} steps after the fit" if seen.delay is not None and seen.delay > 0 else ""
    reached = f"Test accuracy reached {mark} at step {number(seen.generalise_step)}{delay}"
    return f"{reached}, and is {final} at the last point."


def _blowups(seen: Milestones) -> str:
    count = len(seen.blowup_steps)
    if count == 0:
        return "Training has not blown up after the fit."
    first = f"the first at step {number(seen.blowup_steps[0])}"
    if seen.blowup_period is None:
        return f"Training blew up once, {first.removeprefix('the first ')}."
    return f"Training blew up {count} times, {first}, then every {number(seen.blowup_period)} steps (median)."


def time_left(config: RunConfig, step: int, speed: float | None) -> str:
    """How long the rest of a run will take at `speed` steps/s, in words."""
    return duration((config.steps - step) / speed if speed else None)
