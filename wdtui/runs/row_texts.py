"""What the tables say of a run, as texts and as values to sort by."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

from wdtui.analysis.sweep_table import quantity
from wdtui.store.records import RunRecord, Status
from wdtui.support.text import NOTHING, clean, duration, number, scientific

SYMBOLS = {
    Status.QUEUED: "○",
    Status.RUNNING: "●",
    Status.PAUSED: "‖",
    Status.DONE: "✓",
    Status.FAILED: "✗",
    Status.DIVERGED: "∞",
    Status.INTERRUPTED: "◐",
    Status.STOPPED: "■",
    Status.DAMAGED: "!",
}
TONES = {
    Status.RUNNING: "running",
    Status.PAUSED: "running",
    Status.FAILED: "error",
    Status.DIVERGED: "error",
    Status.DAMAGED: "error",
    Status.QUEUED: "muted",
    Status.INTERRUPTED: "muted",
    Status.STOPPED: "muted",
}
_MOST_STEERED = 5
"""The number of cells for a steered value in the columns of λ and ε."""


def state(run: RunRecord) -> str:
    return f"{SYMBOLS[run.status]} {run.state}"


def progress(run: RunRecord) -> str:
    """18,330/30,030 for an unfinished run, else only the last step."""
    return number(run.step) if run.step >= run.steps else f"{number(run.step)}/{number(run.steps)}"


def what_happened(run: RunRecord) -> str:
    """The state of a run, then what was steered, from its first value to the current one, then its tags."""
    symbol = run.schema.symbol
    steered = [f"{symbol(name)} {run.written(name)}" for name in run.steered_fields]
    standing = _standing(run)
    return " · ".join(filter(None, [standing or clean(run.note), *steered, " ".join(run.tags) if standing else ""]))


def _standing(run: RunRecord) -> str:
    """The time left of a live run, else its blow-ups, its generalisation, or why it failed."""
    if run.status == Status.RUNNING and run.speed:
        return f"{number(round(run.speed))} steps/s · {time_left(run)} left"
    count, period = blow_ups(run), quantity(run, "blowup_period")
    if count:
        every = f", every ~{number(round(period))}" if period else ""
        return f"{count} blow-up{'s' if count > 1 else ''}{every}"
    if run.status in (Status.FAILED, Status.DIVERGED, Status.DAMAGED):
        return clean(run.reason)
    reached = quantity(run, "generalise_step")
    return f"generalised at {number(reached)}" if reached else ""


def time_left(run: RunRecord) -> str:
    return duration((run.steps - run.step) / run.speed) if run.speed else NOTHING


def happened_shortly(run: RunRecord) -> str:
    """What happened with fewer numbers, for little room."""
    if run.status == Status.RUNNING and run.speed:
        return f"{time_left(run)} left"
    return re.sub(r", every ~[\d,]+", "", what_happened(run))


def blow_ups(run: RunRecord) -> int:
    return int(quantity(run, "blowups") or 0)


def given(field: str) -> Callable[[RunRecord], Any]:
    return lambda run: run.in_force.get(field)


def written(field: str) -> Callable[[RunRecord], str]:
    """The value in force, after an arrow if it was steered, shortened to fit."""

    def written(run: RunRecord) -> str:
        if run.damaged or field not in run.values:
            return NOTHING
        value = run.in_force[field]
        if field not in run.steered_fields:
            return run.schema.field(field).written(value)
        shorter = (number, lambda value: number(float(f"{value:.2g}")), lambda value: scientific(value, 1), scientific)
        texts = [f"→{write(value)}" for write in shorter]
        return next((text for text in texts if len(text) <= _MOST_STEERED), texts[-1])

    return written


def name(run: RunRecord) -> str:
    return clean(run.name or run.experiment) or NOTHING


def name_and_parent(run: RunRecord) -> str:
    return " · ".join(filter(None, [clean(run.name or run.experiment), run.fork_of])) or NOTHING


def short_name_and_parent(run: RunRecord) -> str:
    if run.parent is None:
        return name(run)
    own = clean(run.name or run.experiment)
    return f"↳{run.parent} {own}" if own else f"↳{run.parent} at {number(run.parent_step)}"


def date(seconds: float | None) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else NOTHING


def seconds(run: RunRecord) -> float | None:
    """How long a run has been training since its owner took it."""
    until = run.heartbeat if run.live else run.ended
    return until - run.started if until and run.started else None
