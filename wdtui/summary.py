"""What a run came to, in numbers for machines and in sentences for people. Pure functions of its config and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from wdtui.config import RunConfig
from wdtui.metrics import Curves
from wdtui.milestones import FIT, GENERALISED, RECOVERED, Milestones, milestones
from wdtui.text import duration, number, percent


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can hold them: what is not a finite number becomes None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def summary(run_id: int, status: str, reason: str, curves: Curves) -> dict[str, Any]:
    """The last line of `--json`: how the run ended, its newest point, milestones and blow-ups."""
    seen = milestones(curves).to_json()
    speeds = curves["steps_per_second"]
    steps = int(curves.steps[-1]) if len(curves) else 0
    return {
        "event": "summary",
        "run_id": run_id,
        "status": status,
        "reason": reason,
        "steps": steps,
        "steps_per_second": mean_speed(curves) if len(speeds) else None,
        "final": finite(curves.last()),
        **seen,
    }


def mean_speed(curves: Curves) -> float:
    """Steps per second of training over all points: each point's speed counts as long as its steps took."""
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
    if not np.isfinite(curves["train_accuracy"]).all():
        yield "The numbers did not stay finite."
        return
    seen = milestones(curves)
    yield from _fit(curves)
    yield from _generalisation(curves, seen)
    norm = curves["weight_norm"][np.isfinite(curves["weight_norm"])]
    if len(norm):
        change = "fell" if norm[-1] < norm[0] else "rose"
        yield f"The weight norm {change} from {number(norm[0])} to {number(norm[-1])}."
    if seen.fit_step is not None:
        yield _blowups(seen)


def _fit(curves: Curves) -> Iterator[str]:
    train, test = curves["train_accuracy"], curves["test_accuracy"]
    passed = next((mark for mark in (FIT, RECOVERED) if max(train) > mark), None)
    if passed is None:
        yield f"The training pairs are not fitted: training accuracy came to {percent(max(train))} at most."
        return
    point = int((train > passed).argmax())
    at = f"at step {number(int(curves.steps[point]))}; test accuracy was {percent(test[point])} then"
    yield f"Training accuracy passed {percent(passed)} {at}."


def _generalisation(curves: Curves, seen: Milestones) -> Iterator[str]:
    mark, final = percent(GENERALISED), percent(curves["test_accuracy"][-1])
    if seen.generalise_step is None:
        best = percent(max(curves["test_accuracy"]))
        yield f"Test accuracy has not reached {mark}: it came to {best} at most and is {final} at the last point."
        return
    delay = f", {number(seen.delay)} steps after the fit" if seen.delay is not None and seen.delay > 0 else ""
    reached = f"Test accuracy reached {mark} at step {number(seen.generalise_step)}{delay}"
    yield f"{reached}, and is {final} at the last point."


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
