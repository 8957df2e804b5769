"""Events and commands as rows of the database. A damaged row is returned with the kind UNREADABLE."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from wdtui.store.records import UNREADABLE, Command, Event, RunRecord
from wdtui.store.rows import select
from wdtui.store.seals import fits, listed


def read_events(connection: sqlite3.Connection, run: RunRecord) -> list[Event]:
    """The events of a run, by step. Damaged or missing events are replaced by one of the kind UNREADABLE."""
    rows = select(connection, f"{listed('events')} FROM events WHERE run_id = ? ORDER BY step, id", (run.id,))
    [(count,)] = select(connection, "events FROM runs WHERE id = ?", (run.id,))
    events = [_event(row, run) for row in rows]
    if not run.damaged and (missing := count - len(events)):
        some = "1 event of this run is missing" if missing == 1 else f"{missing} events of this run are missing"
        events.append(_unreadable(0, run, run.step, f"{some} in the store"))
    return events


def read_commands(connection: sqlite3.Connection, run_ids: Sequence[int]) -> dict[int, list[Command]]:
    """The pending commands of runs, by run, in the order they were sent."""
    columns = ", ".join(f"commands.{column}" for column in listed("commands").split(", "))
    which = "json_each(?) JOIN commands ON run_id = value WHERE taken IS NULL ORDER BY commands.id"
    commands: dict[int, list[Command]] = {}
    for run_id, *row in select(connection, f"value, {columns} FROM {which}", (json.dumps([*run_ids]),)):
        commands.setdefault(run_id, []).append(_command(tuple(row), run_id))
    return commands


def _event(row: tuple[Any, ...], run: RunRecord) -> Event:
    number, _, step, at, kind, data, _ = row
    if (parsed := _data(row, data)) is not None:
        return Event(number, run.id, step, at, kind, parsed)
    where = step if isinstance(step, int) else run.step
    return _unreadable(number, run, where, "An event of this run is damaged in the store")


def _command(row: tuple[Any, ...], run_id: int) -> Command:
    number, _, sent, kind, data, *_ = row
    parsed = _data(row, data)
    return Command(number, run_id, sent, UNREADABLE if parsed is None else kind, parsed or {})


def _unreadable(number: int, run: RunRecord, step: int, what: str) -> Event:
    return Event(number, run.id, step, run.created, UNREADABLE, {"reason": f"{what}."})


def _data(row: tuple[Any, ...], text: Any) -> dict[str, Any] | None:
    """The JSON of a row, or None if the row is damaged."""
    try:
        return dict(json.loads(text)) if fits(row) else None
    except (TypeError, ValueError):
        return None
