"""Checksums of rows, so that a flipped bit is told from what was written.

Every row of the tables in SEALED carries a checksum of its columns. Triggers of each connection write it, so that no
method of the store can forget to. A row that was damaged keeps a checksum that does not fit, whatever is written to it
later. A row without a checksum was written by other means and is judged by whether it can be read. Points carry theirs
in their bytes (`points.py`).
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
"""By table, what its checksum covers: all that is shown, and what decides it. Heartbeats and revisions are not."""


def seal(*values: Any) -> int:
    """The CRC-32 of values as SQLite gives them: Python writes each in the one way that reads back to the same."""
    return crc32("\0".join(map(str, values)).encode(errors="surrogatepass"))


def fits(row: Sequence[Any]) -> bool:
    """Whether a row of sealed columns, its checksum last, is as it was written; true where it has none."""
    *values, sealed = row
    return sealed is None or sealed == seal(*values)


def listed(table: str) -> str:
    """The sealed columns of a table and its checksum, for a SELECT whose rows `fits` can judge."""
    return ", ".join((*SEALED[table], "seal"))


def keys(table: str) -> tuple[str, ...]:
    """The columns that name a row."""
    return SEALED[table][:2] if table == "sweep_cells" else SEALED[table][:1]


def install(connection: sqlite3.Connection) -> None:
    """Have everything that this connection writes sealed; the tables must be up to date."""
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
