"""What is wrong with a store, found by reading all of it: the file, its rows, points and checkpoints. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from wdtui.store.records import UNREADABLE, RunRecord, StoreError
from wdtui.store.store import Store
from wdtui.support.text import number


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    what: str
    """file, store, run, points, events, commands, checkpoint or sweep."""
    text: str
    """A sentence that says what can be done about it."""
    run: int | None = None


def findings(store: Store) -> list[Finding]:
    """All that is wrong with a store; takes as long as reading all of it. Raises nothing but what is a defect here."""
    found = [Finding("file", text) for text in store.check_file()]
    found += _told("store", None, lambda: [store.missing()])
    runs: list[RunRecord] = []
    found += _told("store", None, lambda: runs.extend(store.runs()))
    for run in runs:
        found += _of_run(store, run)
    return found + _told("sweep", None, lambda: [sweep.damage for sweep in store.sweeps.all()])


def lost_points(run: RunRecord, lost: tuple[int, ...]) -> str:
    """What to say of points that are damaged or missing, and how they come back."""
    again = f"`wdtui resume {run.id}` trains"
    if len(lost) == 1:
        return f"Run {run.id} lacks the damaged point at step {number(lost[0])}: {again} it again."
    return f"Run {run.id} lacks {len(lost):,} damaged points from step {number(lost[0])} on: {again} them again."


def _of_run(store: Store, run: RunRecord) -> Iterator[Finding]:
    if run.damaged:
        yield Finding("run", run.reason, run.id)
        return
    yield from _told("points", run, lambda: [lost_points(run, lost) for lost in [store.curves(run.id).lost] if lost])
    yield from _told("events", run, lambda: _unreadable_events(store, run))
    yield from _told("commands", run, lambda: _unreadable_commands(store, run))
    yield from _told("checkpoint", run, lambda: list(_unusable_checkpoints(store, run)))


def _unusable_checkpoints(store: Store, run: RunRecord) -> Iterator[str]:
    checkpoints = store.checkpoints(run)
    for step in checkpoints.unsound():
        yield f"The checkpoint at step {number(step)} of run {run.id} is damaged: the previous one will be used."
    if run.checkpoint_step is not None and max(checkpoints.steps(), default=-1) < run.checkpoint_step:
        which = f"The checkpoint at step {number(run.checkpoint_step)} of run {run.id}"
        yield f"{which} is missing from {checkpoints.folder}: the remaining ones are used."


def _unreadable_events(store: Store, run: RunRecord) -> list[str]:
    return [f"Run {run.id}: {event.data['reason']}" for event in store.events(run.id) if event.kind == UNREADABLE]


def _unreadable_commands(store: Store, run: RunRecord) -> list[str]:
    unreadable = any(command.kind == UNREADABLE for command in store.commands(run.id))
    return [f"A command to run {run.id} is damaged and will be ignored: send it again."] if unreadable else []


def _told(what: str, run: RunRecord | None, ask: Callable[[], list[str] | None]) -> list[Finding]:
    """What an answer says is wrong, a refusal included."""
    try:
        texts = ask() or []
    except StoreError as error:
        texts = [str(error)]
    return [Finding(what, text, run.id if run else None) for text in texts if text]
