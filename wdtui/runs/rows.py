"""Runs as rows of the database: how the store's modules read and change them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from wdtui.config import nearest
from wdtui.runs.records import RunRecord, StoreError
from wdtui.text import too_long

COLUMNS = [field.removesuffix("_text") for field in RunRecord._fields]


def select_runs(connection: sqlite3.Connection, condition: str, *values: Any) -> list[RunRecord]:
    """The runs that meet a condition, as they are to be shown now."""
    now = time.time()
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM runs {condition}", values)
    return [run.as_shown(now) for run in map(RunRecord._make, rows)]


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: a shell hands over broken bytes as lone surrogates, which it cannot."""
    return text.encode("utf-8", "replace").decode()


def given(text: str) -> str:
    """A name or a note, storable; raises StoreError for one of many pages."""
    if why := too_long(text):
        raise StoreError(f"The name or note {why}.")
    return storable(text)


def select_run(connection: sqlite3.Connection, run_id: int) -> RunRecord:
    """The run of this number; raises StoreError where there is none."""
    runs = select_runs(connection, "WHERE id = ?", run_id)
    if not runs:
        raise StoreError(no_run(run_id))
    return runs[0]


def columns_of(connection: sqlite3.Connection, run_id: int) -> tuple[str, ...]:
    """What the values of the run's points are, as it was when the run was made."""
    row = connection.execute("SELECT columns FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise StoreError(no_run(run_id))
    return tuple(json.loads(row[0]))


def change(connection: sqlite3.Connection, run_id: int, **values: Any) -> None:
    """Set columns of a run's row, under the next revision."""
    next_revision(connection)
    assignments = "".join(f"{column} = ?, " for column in values)
    cursor = connection.execute(
        f"UPDATE runs SET {assignments}revision = (SELECT revision FROM counter) WHERE id = ?",
        (*values.values(), run_id),
    )
    if not cursor.rowcount:
        raise StoreError(no_run(run_id))


def next_revision(connection: sqlite3.Connection) -> None:
    """Count a change of the runs."""
    connection.execute("UPDATE counter SET revision = revision + 1")


def no_run(text: int | str, names: Iterable[str] = ()) -> str:
    """What to say to a person who names a run that is not there."""
    if text == "last":
        return "There are no runs yet."
    return f"There is no run {text}{nearest(str(text), names)} `wdtui runs list` shows what there is."
