"""The names of runs and sweeps for shell completion, read in milliseconds without creating or migrating a store."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
from pathlib import Path

from wdtui.schema.schema import Schema
from wdtui.support.store_files import FILE_NAME

_NEWEST = 200
"""The number of suggestions; a shell cannot usefully show more."""


def run_names(folder: Path) -> list[tuple[str, str]]:
    """The numbers and names of the newest runs, each with a short description; empty if there is no readable store."""
    rows = _rows(folder, "SELECT id, name, experiment, status FROM runs ORDER BY id DESC LIMIT ?")
    numbers = [(str(number), f"{name or experiment or 'run'}, {status}") for number, name, experiment, status in rows]
    named = [(name, f"run {number}, {status}") for number, name, _, status in rows if _is_a_word(name)]
    return numbers + named


def sweep_names(folder: Path) -> list[tuple[str, str]]:
    """The labels and names of the newest sweeps, each with a short description."""
    rows = _rows(folder, "SELECT id, name, experiment FROM sweeps ORDER BY id DESC LIMIT ?")
    labels = [(f"S{number}", name or experiment or "sweep") for number, name, experiment in rows]
    return labels + [(name, f"sweep S{number}") for number, name, _ in rows if _is_a_word(name)]


def fields_of_run(folder: Path, run: str) -> Schema | None:
    """The schema of a run, given its number, its name or "last"; None if it is not known."""
    which = (
        "WHERE ?2 = 'last' ORDER BY runs.id DESC LIMIT ?1"
        if run == "last"
        else "WHERE runs.id = ?2 OR name = ?2 LIMIT ?1"
    )
    rows = _rows(folder, f"SELECT text FROM runs JOIN schemas ON schemas.id = runs.schema {which}", run)
    return Schema.from_json(rows[0][0]) if rows else None


def _is_a_word(name: str) -> bool:
    """Whether a shell takes a name without quotes. Other runs can be completed by number."""
    return bool(name) and shlex.quote(name) == name


def _rows(folder: Path, query: str, *more: str) -> list[tuple[str, ...]]:
    path = (folder / FILE_NAME).absolute()
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)) as connection:
            return connection.execute(query, (_NEWEST, *more)).fetchall()
    except (sqlite3.Error, UnicodeEncodeError):  # no store, one of another version, a busy one, or no name of a run
        return []
