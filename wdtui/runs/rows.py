"""Runs as rows of the database: how the store's modules read them."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from wdtui.runs.records import RunRecord

COLUMNS = [field.removesuffix("_text") for field in RunRecord._fields]


def select_runs(connection: sqlite3.Connection, condition: str, *values: Any) -> list[RunRecord]:
    """The runs that meet a condition, as they are to be shown now."""
    now = time.time()
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM runs {condition}", values)
    return [run.as_shown(now) for run in map(RunRecord._make, rows)]


def storable(text: str) -> str:
    """Text as UTF-8 can hold it: a shell hands over broken bytes as lone surrogates, which it cannot."""
    return text.encode("utf-8", "replace").decode()
