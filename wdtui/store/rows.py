"""Runs as rows of the database: reading, changing and sealing them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from wdtui.problems import registry
from wdtui.schema.hyperparameters import nearest
from wdtui.schema.schema import Schema
from wdtui.schema.steering import to_json
from wdtui.store.observer import Observer
from wdtui.store.processes import Owner, this_process
from wdtui.store.records import Claim, NewRun, OwnershipLostError, RunRecord, Status, StoreError
from wdtui.store.seals import SEALED, fits, keys, listed, seal
from wdtui.support.text import too_long

COLUMNS = [*(field.removesuffix("_text") for field in RunRecord._fields[:-1]), "NULL"]
"""The columns of a RunRecord. Its last field, the life of the owner, is not stored."""
_READ = [*COLUMNS, "columns_seal", "events", "seal"]
_SCHEMA = COLUMNS.index("schema")
_sealed = itemgetter(*map(_READ.index, SEALED["runs"]))


def select_runs(connection: sqlite3.Connection, observer: Observer, condition: str, *values: Any) -> list[RunRecord]:
    """The runs that meet a condition, with the status to show now. A damaged row becomes a damaged run."""
    looked = time.monotonic()
    return observer.judged(_records(connection, condition, values), looked)


def _records(connection: sqlite3.Connection, condition: str, values: Sequence[Any] = ()) -> list[RunRecord]:
    rows = select(connection, f"{', '.join(_READ)} FROM runs {condition}", values)
    schemas = _schemas(connection, {row[_SCHEMA] for row in rows}) if rows else {}
    return [_record(row, schemas) for row in rows]


def _schemas(connection: sqlite3.Connection, numbers: Iterable[Any]) -> dict[int | None, Schema]:
    """The sound ones of these schemas by number. Runs of 0.1 have none and belong to the only problem of 0.1."""
    which = json.dumps([number for number in numbers if isinstance(number, int)])  # a damaged row may have anything
    what = f"{listed('schemas')} FROM schemas WHERE id IN (SELECT value FROM json_each(?))"
    return {
        None: registry.find(registry.DEFAULT).config.schema(),
        **{row[0]: Schema.from_json(row[1]) for row in select(connection, what, (which,)) if fits(row)},
    }


def schema_id(connection: sqlite3.Connection, schema: Schema) -> int:
    """The number of a schema, which is added if the store does not have it."""
    text = schema.to_json()
    connection.execute("INSERT INTO schemas (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
    return int(connection.execute("SELECT id FROM schemas WHERE text = ?", (text,)).fetchone()[0])


def _record(row: tuple[Any, ...], schemas: Mapping[int | None, Schema]) -> RunRecord:
    schema = schemas.get(row[_SCHEMA])
    if schema is None:
        return RunRecord.of_damaged_row(row[0])
    run = RunRecord._make((*row[:_SCHEMA], schema, *row[_SCHEMA + 1 : len(COLUMNS)]))
    sound = seal(*_sealed(row)) == row[-1] if row[-1] is not None else run.readable
    return run if sound else RunRecord.of_damaged_row(run.id)


def select(connection: sqlite3.Connection, what: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of a SELECT. Text that is not UTF-8 is returned with surrogates, so that the other rows can be read."""
    try:
        return connection.execute(f"SELECT {what}", values).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    connection.text_factory = _surrogates
    try:
        return connection.execute(f"SELECT {what}", values).fetchall()
    finally:
        connection.text_factory = str


def seal_rows(connection: sqlite3.Connection) -> None:
    """Add a checksum to each readable row without one."""
    bare = "seal IS NULL"
    for run_id, columns in select(connection, f"id, columns FROM runs WHERE {bare}"):
        connection.execute("UPDATE runs SET columns_seal = ? WHERE id = ?", (seal(columns), run_id))
    readable = {run.id for run in _records(connection, f"WHERE {bare}") if not run.damaged}
    for table, columns in SEALED.items():
        rows = select(connection, f"{', '.join(columns)} FROM {table} WHERE {bare}")
        where = " AND ".join(f"{key} = ?" for key in keys(table))
        sealed = [(seal(*row), *row[: len(keys(table))]) for row in rows if table != "runs" or row[0] in readable]
        connection.executemany(f"UPDATE {table} SET seal = ? WHERE {where}", sealed)


def _surrogates(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def storable(text: str) -> str:
    """Text that UTF-8 can encode: a shell passes invalid bytes as lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def given(text: str) -> str:
    """A name or a note, made storable. Raises StoreError if it is too long."""
    if why := too_long(text):
        raise StoreError(f"The name or note {why}.")
    return storable(text)


def select_run(connection: sqlite3.Connection, observer: Observer, run_id: int) -> RunRecord:
    """The run with this number. Raises StoreError if there is none."""
    return select_these(connection, observer, [run_id])[0]


def select_these(connection: sqlite3.Connection, observer: Observer, run_ids: Sequence[int]) -> list[RunRecord]:
    """The runs with these numbers, in their order. Raises StoreError for the first that there is none of."""
    which = "WHERE id IN (SELECT value FROM json_each(?))"
    found = {run.id: run for run in select_runs(connection, observer, which, json.dumps([*run_ids]))}
    for run_id in run_ids:
        if run_id not in found:
            raise StoreError(no_run(run_id))
    return [found[run_id] for run_id in run_ids]


def add_run(connection: sqlite3.Connection, run: NewRun) -> int:
    """Queue a run of this process and return its number."""
    config = run.config
    parent_run, parent_step = run.parent or (None, None)
    cursor = connection.execute(
        "INSERT INTO runs (name, experiment, config, epoch_steps, schema, plan, columns, status, created,"
        " parent, parent_step) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            given(run.name),
            storable(run.experiment),
            json.dumps(config.to_mapping()),
            config.steps_per_epoch,
            schema_id(connection, config.schema()),
            json.dumps(to_json(run.plan)),
            json.dumps(config.columns),
            Status.QUEUED,
            time.time(),
            parent_run,
            parent_step,
        ),
    )
    run_id = cursor.lastrowid
    assert run_id is not None
    change(connection, run_id, **owner_columns(this_process()))
    return run_id


def owner_columns(owner: Owner) -> dict[str, Any]:
    """What the row of a run says of its owner."""
    return {"host": owner.host, "domain": owner.domain, "pid": owner.pid, "process_start": owner.start}


def check_claim(connection: sqlite3.Connection, claim: Claim) -> None:
    """Raise OwnershipLostError unless the claim is the run's latest. Every transaction of an owner starts with it."""
    if lost := lost_claims(connection, [claim]):
        raise lost[claim.run_id]


def lost_claims(connection: sqlite3.Connection, claims: Sequence[Claim]) -> dict[int, OwnershipLostError]:
    """Why each claim that was lost is no longer valid, by the number of its run."""
    which = "SELECT id, token, pid, host FROM runs WHERE id IN (SELECT value FROM json_each(?))"
    found = {row[0]: row[1:] for row in connection.execute(which, (json.dumps([claim.run_id for claim in claims]),))}
    lost = {}
    for run_id, token in claims:
        if run_id not in found:
            lost[run_id] = OwnershipLostError(no_run(run_id))
        elif found[run_id][0] != token:
            _, pid, host = found[run_id]
            by = f"process {pid} on host {host}" if pid else "another process"
            lost[run_id] = OwnershipLostError(f"Run {run_id} was taken over by {by}; this process stops writing to it.")
    return lost


def columns_of(connection: sqlite3.Connection, run_id: int) -> tuple[str, ...]:
    """The names of the values in the run's points, stored when the run was created."""
    return columns_of_all(connection, [run_id])[run_id]


def columns_of_all(connection: sqlite3.Connection, run_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The same for several runs, by their numbers."""
    which = "id, columns, columns_seal FROM runs WHERE id IN (SELECT value FROM json_each(?))"
    rows = {row[0]: row[1:] for row in select(connection, which, (json.dumps([*run_ids]),))}
    read: dict[tuple[Any, Any], tuple[str, ...]] = {}  # the runs of a batch measure the same
    for run_id in run_ids:
        if run_id not in rows:
            raise StoreError(no_run(run_id))
        if rows[run_id] not in read:
            read[rows[run_id]] = _columns(run_id, *rows[run_id])
    return {run_id: read[rows[run_id]] for run_id in run_ids}


def _columns(run_id: int, columns: Any, sealed: Any) -> tuple[str, ...]:
    try:
        if sealed is None or seal(columns) == sealed:
            return tuple(json.loads(columns))
    except (TypeError, ValueError):
        pass
    what = f"The list of what run {run_id} measures is damaged, so its points cannot be read"
    raise StoreError(f"{what}: `wdtui replay {run_id}` trains it again as another run.")


def change(connection: sqlite3.Connection, run_id: int, **values: Any) -> None:
    """Set columns of a run's row and give it the next revision."""
    if not change_all(connection, [(run_id, values)]):
        raise StoreError(no_run(run_id))


def change_all(connection: sqlite3.Connection, rows: Sequence[tuple[int, Mapping[str, Any]]], also: str = "") -> int:
    """Set the same columns of several runs' rows, under one next revision. Returns how many rows there are.

    `also` is one more assignment, as SQL.
    """
    next_revision(connection)
    assignments = ", ".join([*(f"{column} = ?" for column in rows[0][1]), *filter(None, [also]), ""])
    return connection.executemany(
        f"UPDATE runs SET {assignments}revision = (SELECT revision FROM counter) WHERE id = ?",
        [(*values.values(), run_id) for run_id, values in rows],
    ).rowcount


def next_revision(connection: sqlite3.Connection) -> None:
    """Count a change of the runs."""
    connection.execute("UPDATE counter SET revision = revision + 1")


def no_run(text: int | str, names: Iterable[str] = ()) -> str:
    """The error message for a run that does not exist."""
    if text == "last":
        return "There are no runs yet."
    return f"There is no run {text}{nearest(str(text), names)} `wdtui runs list` shows all runs."
