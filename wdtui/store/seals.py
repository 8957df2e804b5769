"""Checksums of rows, which detect damage.

Every row of the tables in SEALED has a checksum of its columns. Triggers of each connection write it, so no method of
the store can forget it. Once a row is damaged, later writes do not repair its checksum. A row without a checksum was
written by another program and counts as sound if it can be read. Points contain their own checksum (`points.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any
from zlib import crc32

SEALED: dict[str, tuple[str, ...]] = {
    "runs": (
        *("id", "name", "note", "experiment", "config", "plan", "status", "reason", "device", "threads"),
        *("host", "domain", "pid", "process_start"),
        *("created", "started", "ended", "versions", "parent", "parent_step", "step", "epoch", "speed", "latest"),
        *("milestones", "checkpoint_step", "columns_seal", "events", "token", "batched", "epoch_steps", "schema"),
    ),
    "events": ("id", "run_id", "step", "time", "kind", "data"),
    "commands": ("id", "run_id", "time", "kind", "data", "taken"),
    "sweeps": ("id", "created", "name", "experiment", "device", "threads", "spec", "cells"),
    "schemas": ("id", "text"),
    "sweep_cells": ("sweep_id", "place", "config", "run_id"),
}
"""The columns covered by the checksum of each table. Heartbeats and revisions are not."""


def seal(*values: Any) -> int:
    """The CRC-32 of values as SQLite returns them. Python's text of each value is unique."""
    return crc32("\0".join(map(str, values)).encode(errors="surrogatepass"))


def fits(row: Sequence[Any]) -> bool:
    """Whether a row of sealed columns followed by its checksum is undamaged; True if it has no checksum."""
    *values, sealed = row
    return sealed is None or sealed == seal(*values)


def listed(table: str) -> str:
    """The sealed columns of a table and its checksum, for a SELECT whose rows `fits` checks."""
    return ", ".join((*SEALED[table], "seal"))


def keys(table: str) -> tuple[str, ...]:
    """The columns that identify a row."""
    return SEALED[table][:2] if table == "sweep_cells" else SEALED[table][:1]


def install(connection: sqlite3.Connection) -> None:
    """Make this connection seal everything it writes. The tables must be migrated."""
    connection.create_function("seal", -1, seal, deterministic=True)
    connection.execute("PRAGMA temp_store = MEMORY")
    for table, columns in SEALED.items():
        for statement in _triggers(table, columns):
            connection.execute(statement)


def _triggers(table: str, columns: Sequence[str]) -> list[str]:
    where = " AND ".join(f"{key} = NEW.{key}" for key in keys(table))
    new, old = (", ".join(f"{side}.{column}" for column in columns) for side in ("NEW", "OLD"))
    first = "columns_seal = seal(NEW.columns)" if table == "runs" else f"seal = seal({new})"
    return [
        f"CREATE TEMP TRIGGER seal_new_{table} AFTER INSERT ON main.{table}"
        f" BEGIN UPDATE {table} SET {first} WHERE {where}; END",
        f"CREATE TEMP TRIGGER seal_{table} AFTER UPDATE OF {', '.join(columns)} ON main.{table}"
        f" WHEN OLD.seal IS NULL OR OLD.seal = seal({old})"
        f" BEGIN UPDATE {table} SET seal = seal({new}) WHERE {where}; END",
    ]
