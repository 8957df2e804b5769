"""Runs as rows of the database: how the store's modules read and change them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from typing import Any

from wdtui.config import nearest
from wdtui.runs.observer import Observer
from wdtui.runs.records import Claim, OwnershipLostError, RunRecord, StoreError

COLUMNS = [*(field.removesuffix("_text") for field in RunRecord._fields[:-1]), "NULL"]
"""What makes a RunRecord; its last field is what the reader knows about the owner."""


def select_runs(connection: sqlite3.Connection, observer: Observer, condition: str, *values: Any) -> list[RunRecord]:
    """The runs that meet a condition, as they are to be shown now."""
    looked = time.monotonic()
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM runs {condition}", values)
    return observer.judged(map(RunRecord._make, rows), looked)


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: a shell hands over broken bytes as lone surrogates, which it cannot."""
    return text.encode("utf-8", "replace").decode()


def select_run(connection: sqlite3.Connection, observer: Observer, run_id: int) -> RunRecord:
    """The run of this number; raises StoreError where there is none."""
    runs = select_runs(connection, observer, "WHERE id = ?", run_id)
    if not runs:
        raise StoreError(no_run(run_id))
    return runs[0]


def check_claim(connection: sqlite3.Connection, claim: Claim) -> None:
    """Raise OwnershipLostError unless the claim is the run's latest; call it first in each transaction of an owner."""
    row = connection.execute("SELECT token, pid, host FROM runs WHERE id = ?", (claim.run_id,)).fetchone()
    if row is None:
        raise OwnershipLostError(no_run(claim.run_id))
    if row[0] != claim.token:
        by = f"process {row[1]} on host {row[2]}" if row[1] else "another process"
        raise OwnershipLostError(f"Run {claim.run_id} was taken over by {by}; this process leaves it alone.")


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
