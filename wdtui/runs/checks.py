"""A stored run held to its own config and plan: does all that the store says of it fit together?

Nothing is trained for that. `wdtui replay` trains a run once more, and shows whether the values are the same too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from wdtui.analysis.milestones import milestones
from wdtui.runs.forks import before
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Steering, from_json
from wdtui.store.records import UNREADABLE, Event, RunRecord, Status
from wdtui.store.store import Store
from wdtui.support.text import number

_SHOWN = 3
"""So many steps at most are named in a finding."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, in one sentence; `agrees` is None where there was nothing to compare."""

    check: str
    agrees: bool | None
    says: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Evidence:
    """All that the store holds of a run."""

    store: Store
    run: RunRecord
    curves: Curves
    events: Sequence[Event]

    @property
    def imported(self) -> bool:
        """Whether another program trained it, which has intervals of its own."""
        return any(event.kind == "imported" for event in self.events)


def check_run(store: Store, run_id: int) -> list[Finding]:
    """Hold a run to its config and plan; one finding for each of CHECKS, or one alone where its row is damaged.

    Raises StoreError. A run that is being trained may be read between two of its writes; check it once it has ended.
    """
    run = store.run(run_id)
    if run.damaged:
        return [Finding("row", False, run.reason)]
    evidence = _Evidence(store, run, store.curves(run_id), store.events(run_id))
    return [Finding(name, *check(evidence)) for name, check in CHECKS.items()]


def _checksums(evidence: _Evidence) -> tuple[bool | None, str]:
    """No point and no event is damaged or missing, as far as their checksums tell."""
    lost, damaged = evidence.curves.lost, [event for event in evidence.events if event.kind == UNREADABLE]
    if lost:
        return False, f"{number(len(lost))} points are damaged or missing, the first at step {number(lost[0])}."
    if damaged:
        return False, str(damaged[0].data["reason"])
    return True, f"None of {number(len(evidence.curves))} points and {number(len(evidence.events))} events is damaged."


def _points(evidence: _Evidence) -> tuple[bool | None, str]:
    """Every logged epoch has its point, the first to the last, and there are no others."""
    run, curves = evidence.run, evidence.curves
    if evidence.imported:
        return None, "The run was imported, so the interval of its points is not known."
    if run.schema.watched:
        return None, "A script trained the run, and chose where its points are."
    config, reached = run.config, int(curves.epochs[-1]) if len(curves) else 0
    inherited = (run.parent_step or 0) // config.steps_per_epoch  # the parent may have logged at another interval
    due = {*range(config.log_every, reached + 1, config.log_every), *({config.epochs} & {reached})}
    due |= {reached} if run.status == Status.DIVERGED and reached else set()  # measured where it diverged
    found = curves.epochs.tolist()
    due = {epoch for epoch in due if epoch > inherited} | {epoch for epoch in found if epoch <= inherited}
    missing, odd = sorted(due.difference(found)), sorted({*found} - due)
    if missing or odd or len(found) != len(set(found)):
        few = "; ".join([*_some("missing at epochs", missing), *_some("unexpected at epochs", odd)])
        return False, f"{number(len(found))} points where {number(len(due))} are due: {few or 'some are doubled'}."
    if (wrong := curves.steps != curves.epochs * config.steps_per_epoch).any():
        return (
            False,
            f"The step of the point of epoch {number(int(curves.epochs[wrong][0]))} is not the end of that epoch.",
        )
    if run.status == Status.DONE and reached != config.epochs:
        return False, f"The run is done, and its last point is of epoch {number(reached)} of {number(config.epochs)}."
    return True, f"{number(len(found))} points, one every {number(config.log_every)} epochs, none missing."


def _row(evidence: _Evidence) -> tuple[bool | None, str]:
    """What lists show is what the newest point and all points together say."""
    run, curves = evidence.run, evidence.curves
    last = (int(curves.steps[-1]), int(curves.epochs[-1])) if len(curves) else (0, 0)
    if (run.step, run.epoch) != last:
        return False, f"The run's row says step {number(run.step)}, and the newest point is at step {number(last[0])}."
    sparse = {name for name, metric in run.schema.metrics.items() if metric.every}
    latest = {name: value for name, value in curves.last().items() if name in run.latest and name not in sparse}
    if not np.array_equal([*latest.values()], [run.latest[name] for name in latest], equal_nan=True):
        return False, "The newest values in the run's row are not those of its newest point."
    if run.milestones and run.milestones != milestones(curves, run.schema.judged).to_json():
        return False, "The milestones in the run's row are not those of its points."
    return True, "The run's row has the values of its newest point, and the milestones of all of them."


def _plan(evidence: _Evidence) -> tuple[bool | None, str]:
    """What the plan says up to the newest point took effect, once each, and nothing else did."""
    run = evidence.run
    steerings = [event for event in evidence.events if event.kind == "steered"]
    if not run.plan and not steerings:
        return None, "Nothing was steered."
    planned = [one for one in run.plan if one.step < run.step]
    happened: list[Steering] = []
    for event in steerings:
        try:
            happened += from_json(run.schema, [{"step": event.step, "epochs": 0} | event.data])
        except (KeyError, TypeError, ConfigError):
            return False, f"What was steered at step {number(event.step)} cannot be read."
        one = happened[-1]
        if event.step != one.step or one not in run.plan:
            return False, f"At step {number(event.step)} {one.field} was steered, but the plan does not contain it."
    for one in planned:
        if happened.count(one) != 1:
            times = f"{happened.count(one)} times" if one in happened else "no"
            return False, f"The plan steers {one.field} at step {number(one.step)}, and {times} event says it happened."
    ahead = len(run.plan) - len(planned)
    rest = f", and {ahead} of later steps" if ahead else ""
    return True, f"{len(planned)} planned changes took effect once each{rest}."


def _checkpoints(evidence: _Evidence) -> tuple[bool | None, str]:
    """Each is whole, of no later step than the run has reached, and of the plan's past."""
    run, kept = evidence.run, evidence.store.checkpoints(evidence.run)
    steps = kept.steps()
    if not steps:
        return None, "There are none."
    next_point = run.step + run.config.log_every * run.config.steps_per_epoch
    for step in steps:
        checkpoint = kept.newest(step)
        if checkpoint is None or checkpoint.step != step:
            return False, f"The checkpoint at step {number(step)} is damaged."
        if step >= next_point:
            return False, f"The checkpoint at step {number(step)} is beyond the newest point, at {number(run.step)}."
        if before(from_json(run.schema, checkpoint.position["plan"]), step) != before(run.plan, step):
            return False, f"The checkpoint at step {number(step)} was steered differently from the plan."
    return True, f"{len(steps)} checkpoints, all undamaged: {', '.join(map(number, steps))}."


CHECKS: dict[str, Callable[[_Evidence], tuple[bool | None, str]]] = {
    "checksums": _checksums,
    "points": _points,
    "row": _row,
    "plan": _plan,
    "checkpoints": _checkpoints,
}
"""By the word that stands before each finding."""


def _some(what: str, numbers: list[int]) -> Iterator[str]:
    if numbers:
        more = ", …" if len(numbers) > _SHOWN else ""
        yield f"{what} {', '.join(map(number, numbers[:_SHOWN]))}{more}"
