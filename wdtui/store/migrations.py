"""The tables of the store, as a list of migrations.

Append-only: a released migration is never edited, a change is a new one at the end. `PRAGMA user_version` holds the
number of migrations that were applied to a file.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator

from wdtui.store.records import StoreError
from wdtui.store.rows import seal_rows


def m001_notebook(connection: sqlite3.Connection) -> None:
    """Runs with their points, events and commands, and the counter that numbers the changes of runs."""
    connection.execute("""
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', experiment TEXT NOT NULL,
            config TEXT NOT NULL, columns TEXT NOT NULL,
            status TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
            device TEXT NOT NULL DEFAULT '', threads INTEGER,
            host TEXT, pid INTEGER, process_start REAL, heartbeat REAL,
            created REAL NOT NULL, started REAL, ended REAL,
            versions TEXT NOT NULL DEFAULT '{}',
            parent INTEGER, parent_step INTEGER,
            step INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0, speed REAL,
            latest TEXT NOT NULL DEFAULT '{}', milestones TEXT NOT NULL DEFAULT '{}',
            checkpoint_step INTEGER,
            revision INTEGER NOT NULL DEFAULT 0
        )""")
    connection.execute("CREATE INDEX runs_by_revision ON runs (revision)")
    connection.execute("CREATE INDEX runs_by_status ON runs (status)")
    connection.execute("""
        CREATE TABLE points (
            run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            step INTEGER NOT NULL,
            data BLOB NOT NULL, -- little-endian: step and epoch as int64, then runs.columns as float64
            PRIMARY KEY (run_id, step)
        ) WITHOUT ROWID""")
    connection.execute("""
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            step INTEGER NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL
        )""")
    connection.execute("CREATE INDEX events_by_run ON events (run_id, step)")
    connection.execute("""
        CREATE TABLE commands (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
            time REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, taken REAL
        )""")
    connection.execute("CREATE INDEX commands_by_run ON commands (run_id, taken)")
    connection.execute("CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL)")
    connection.execute("INSERT INTO counter VALUES (1, 0)")


def m002_plan(connection: sqlite3.Connection) -> None:
    """A plan for each run, made from its events of steering."""
    connection.execute("ALTER TABLE runs ADD COLUMN plan TEXT NOT NULL DEFAULT '[]'")
    plans: dict[int, list[dict[str, object]]] = {}
    for run_id, data in connection.execute(
        "SELECT run_id, data FROM events WHERE kind = 'steered' ORDER BY run_id, step, id"
    ).fetchall():
        plans.setdefault(run_id, []).append(json.loads(data) | {"epochs": 0})
    rows = [(json.dumps(plan), run_id) for run_id, plan in plans.items()]
    connection.executemany("UPDATE runs SET plan = ? WHERE id = ?", rows)


def m003_sweeps(connection: sqlite3.Connection) -> None:
    """Sweeps and the run of each of their cells. Deleting a run empties its cell."""
    connection.execute("""
        CREATE TABLE sweeps (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            created REAL NOT NULL, name TEXT NOT NULL, experiment TEXT NOT NULL,
            spec TEXT NOT NULL -- JSON: config, axes, seeds
        )""")
    connection.execute("""
        CREATE TABLE sweep_cells (
            sweep_id INTEGER NOT NULL REFERENCES sweeps ON DELETE CASCADE,
            place INTEGER NOT NULL, -- in the order of training
            config TEXT NOT NULL,
            run_id INTEGER REFERENCES runs ON DELETE SET NULL,
            PRIMARY KEY (sweep_id, place)
        ) WITHOUT ROWID""")
    connection.execute("CREATE INDEX sweep_cells_by_run ON sweep_cells (run_id)")


def m004_where_sweeps_are_trained(connection: sqlite3.Connection) -> None:
    """The device and threads that were requested for a sweep. They decide the bits of its results."""
    connection.execute("ALTER TABLE sweeps ADD COLUMN device TEXT NOT NULL DEFAULT 'auto'")
    connection.execute("ALTER TABLE sweeps ADD COLUMN threads INTEGER")  # NULL: chosen for the network


def m005_batches(connection: sqlite3.Connection) -> None:
    """How many runs shared a run's batch, as speeds within a batch and alone cannot be compared."""
    connection.execute("ALTER TABLE runs ADD COLUMN batched INTEGER")  # at the newest point; NULL if not known
    engine = "CASE WHEN json_valid(config) THEN json_extract(config, '$.engine') END"  # invalid JSON would raise
    alone = f"device = 'cpu' AND {engine} IS NOT 'ensemble'"
    connection.execute(f"UPDATE runs SET batched = 1 WHERE speed IS NOT NULL AND {alone}")


def m006_owners(connection: sqlite3.Connection) -> None:
    """A token, which each claim increments and each write of an owner names, and a count of heartbeats."""
    connection.execute("ALTER TABLE runs ADD COLUMN token INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE runs ADD COLUMN domain TEXT")  # NULL if only wdtui 0.1 has owned the run
    connection.execute("ALTER TABLE runs ADD COLUMN beats INTEGER NOT NULL DEFAULT 0")


def m007_seals(connection: sqlite3.Connection) -> None:
    """Checksums of rows (`seals.py`), the expected numbers of rows, and a unique name of the store.

    Existing points keep their bytes. New points contain a checksum.
    """
    for table in ("runs", "events", "commands", "sweeps", "sweep_cells"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN seal INTEGER")
    connection.execute("ALTER TABLE runs ADD COLUMN columns_seal INTEGER")
    connection.execute("ALTER TABLE counter ADD COLUMN store TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE counter ADD COLUMN network TEXT NOT NULL DEFAULT ''")
    connection.execute("UPDATE counter SET store = ?", (uuid.uuid4().hex,))
    for owner, column, counted, which, one in (
        ("counter", "runs", "runs", "1", "run"),
        ("counter", "sweeps", "sweeps", "1", "sweep"),
        ("runs", "events", "events", "runs.id = {row}.run_id", "event"),
        ("sweeps", "cells", "sweep_cells", "sweeps.id = {row}.sweep_id", "cell"),
    ):
        connection.execute(f"ALTER TABLE {owner} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
        condition = which.format(row=counted)
        connection.execute(f"UPDATE {owner} SET {column} = (SELECT COUNT(*) FROM {counted} WHERE {condition})")
        for name, moment, row, sign in (("count", "INSERT", "NEW", "+"), ("uncount", "DELETE", "OLD", "-")):
            connection.execute(
                f"CREATE TRIGGER {name}_{one} AFTER {moment} ON {counted} BEGIN"
                f" UPDATE {owner} SET {column} = {column} {sign} 1 WHERE {which.format(row=row)}; END"
            )


def m008_schemas(connection: sqlite3.Connection) -> None:
    """The schema of each run: what its problem declares. Runs with equal schemas share a row."""
    connection.execute("CREATE TABLE schemas (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, seal INTEGER)")
    connection.execute("ALTER TABLE runs ADD COLUMN epoch_steps INTEGER")  # NULL in runs of 0.1: see the config
    connection.execute("ALTER TABLE runs ADD COLUMN schema INTEGER REFERENCES schemas")  # NULL in runs of 0.1: addition


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    m001_notebook,
    m002_plan,
    m003_sweeps,
    m004_where_sweeps_are_trained,
    m005_batches,
    m006_owners,
    m007_seals,
    m008_schemas,
]


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate a file; several processes may do so at once. Raises StoreError for the file of a newer version."""
    before = _version(connection)
    for version, migration in enumerate(MIGRATIONS, start=1):
        if _version(connection) < version:
            _apply(connection, version, migration)
    if before < len(MIGRATIONS):
        with transaction(connection):
            seal_rows(connection)
    if _version(connection) > len(MIGRATIONS):
        raise StoreError(
            f"The run store was written by a newer wdtui (format {_version(connection)}, this one reads up to "
            f"{len(MIGRATIONS)}). Upgrade wdtui, or set WDTUI_HOME to another folder."
        )


def _apply(connection: sqlite3.Connection, version: int, migration: Callable[[sqlite3.Connection], None]) -> None:
    """Apply and count one migration in a transaction, unless another process has done so."""
    with transaction(connection):
        if _version(connection) < version:
            migration(connection)
            connection.execute(f"PRAGMA user_version = {version}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction, which is rolled back when the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors, such as a full disk, have already rolled back
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
