"""The sweeps of a store: their grids and the run of each cell. All queries about sweeps are here."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sqlite3
import time
from functools import cached_property
from typing import Any

from wdtui.analysis.sweep_table import Table
from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, nearest
from wdtui.schema.schema import Schema
from wdtui.store.database import Database
from wdtui.store.observer import Observer
from wdtui.store.records import NewRun, RunRecord, StoreError
from wdtui.store.rows import add_run, given, select, select_runs, storable
from wdtui.store.seals import fits, listed
from wdtui.studies.grid import Cell, Grid


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A grid of runs, labelled S1, S2 …; `created` is in unix seconds.

    `device` and `threads` are what was requested; "auto" and None let wdtui choose.
    """

    id: int
    created: float
    name: str
    experiment: str
    device: str
    threads: int | None
    spec_text: str
    config_texts: tuple[str, ...]
    damage: str = ""
    """What is wrong with its rows in the store, as a sentence. The grid and cells then cannot be read."""

    @property
    def label(self) -> str:
        return f"S{self.id}"

    @cached_property
    def grid(self) -> Grid:
        """Raises StoreError if it is damaged or this version of wdtui cannot read it."""
        if self.damage:
            raise StoreError(self.damage)
        try:
            return Grid.from_mapping(json.loads(self.spec_text))
        except ConfigError as error:
            raise StoreError(f"Sweep {self.label} was made by another version of wdtui: {error}") from error

    @property
    def schema(self) -> Schema:
        """The schema of the problem of its runs. Raises StoreError as `grid` does."""
        return self.grid.base.schema()

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells in the order of training, as stored: the order of `Grid.cells` may change."""
        if self.damage:
            raise StoreError(self.damage)
        try:
            kind = type(self.grid.base)
            configs = [kind.from_mapping(json.loads(text)) for text in self.config_texts]
        except ConfigError as error:
            raise StoreError(f"Sweep {self.label} was made by another version of wdtui: {error}") from error
        return tuple(Cell(tuple(getattr(config, axis) for axis in self.grid.axes), config) for config in configs)

    def table(self, runs: tuple[RunRecord | None, ...]) -> Table:
        """The results of the cells, given their runs in order."""
        return Table.of(
            self.grid.base.schema(),
            self.grid.axes,
            ((cell.values, run) for cell, run in zip(self.cells, runs, strict=True)),
        )


@dataclasses.dataclass(frozen=True)
class Membership:
    """Which runs belong to a sweep, without its grid: cheap for thousands of runs."""

    id: int
    name: str
    """What it was named, or else its experiment; "" without either."""
    cells: int
    run_ids: frozenset[int]

    @property
    def label(self) -> str:
        return f"S{self.id}"


class Sweeps:
    """The sweeps of a Store, with the same guarantees."""

    def __init__(self, database: Database, observer: Observer) -> None:
        self._database = database
        self._observer = observer

    def add(
        self, grid: Grid, *, name: str = "", experiment: str = "", device: str = "auto", threads: int | None = None
    ) -> int:
        """Store a sweep, its cells without runs; returns its number."""
        configs = [json.dumps(cell.config.to_mapping()) for cell in grid.cells()]
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO sweeps (created, name, experiment, device, threads, spec) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time(), given(name), storable(experiment), device, threads, json.dumps(grid.to_mapping())),
            )
            sweep_id = cursor.lastrowid
            assert sweep_id is not None
            connection.executemany(
                "INSERT INTO sweep_cells (sweep_id, place, config) VALUES (?, ?, ?)",
                [(sweep_id, place, config) for place, config in enumerate(configs)],
            )
        return sweep_id

    def get(self, sweep_id: int) -> Sweep:
        """The sweep with this number."""
        found = self._select("WHERE id = ?", sweep_id)
        if not found:
            raise StoreError(_no_sweep(f"S{sweep_id}", []))
        return found[0]

    def find(self, text: str) -> Sweep:
        """The sweep with this label or number (S3 or 3), this unique name, or the newest for "last"."""
        text, found = storable(text), self._select("ORDER BY id DESC")
        matches = [sweep for sweep in found if text.upper() in (sweep.label, str(sweep.id))]
        matches = matches or (found[:1] if text == "last" else [sweep for sweep in found if sweep.name == text])
        if not matches:
            raise StoreError(_no_sweep(text, [sweep.name for sweep in found if sweep.name]))
        if len(matches) > 1:
            labels = ", ".join(sweep.label for sweep in matches)
            raise StoreError(f"{len(matches)} sweeps are named {text}; give one of {labels}.")
        return matches[0]

    def all(self) -> list[Sweep]:
        """All sweeps, newest first."""
        return self._select("ORDER BY id DESC")

    def runs(self, sweep_id: int) -> tuple[RunRecord | None, ...]:
        """The run of each cell, in order; None if it has none or the run was deleted."""
        with self._database.snapshot() as connection:
            ids = _run_ids(connection, sweep_id)
            cells = "SELECT run_id FROM sweep_cells WHERE sweep_id = ?"
            found = select_runs(connection, self._observer, f"WHERE id IN ({cells})", sweep_id)
        runs: dict[int | None, RunRecord] = {run.id: run for run in found}
        return tuple(runs.get(run_id) for run_id in ids)

    def run_ids(self, sweep_id: int) -> tuple[int | None, ...]:
        """The numbers of the runs that `runs` returns."""
        with self._database.reading() as connection:
            return tuple(_run_ids(connection, sweep_id))

    def memberships_version(self) -> tuple[int, ...]:
        """Differs from an earlier one if `memberships` does: how many runs sweeps have, and how many were ever deleted.

        As the second number never falls, an addition and a deletion do not cancel out.
        """
        deleted = "IFNULL((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0) - (SELECT COUNT(*) FROM runs)"
        with self._database.reading() as connection:
            return tuple(connection.execute(f"SELECT COUNT(run_id), {deleted} FROM sweep_cells").fetchone())

    def memberships(self) -> list[Membership]:
        """The runs of all sweeps, oldest sweep first. A run may belong to several."""
        what = """SELECT sweeps.id, sweeps.name, sweeps.experiment, sweeps.cells, run_id FROM sweeps
            JOIN sweep_cells ON sweep_id = sweeps.id WHERE run_id IS NOT NULL ORDER BY sweeps.id"""
        with self._database.reading() as connection:
            rows = connection.execute(what).fetchall()
        return [
            Membership(number, name or experiment or "", cells or 0, frozenset(run_id for *_, run_id in members))
            for (number, name, experiment, cells), members in itertools.groupby(rows, key=lambda row: tuple(row[:4]))
        ]

    def attach(self, sweep_id: int, cell: int, run_id: int) -> None:
        """Set the run of a cell, by index, unless it has one by now."""
        with self._database.writing() as connection:
            _attach(connection, sweep_id, cell, run_id)

    def queue(self, sweep_id: int, cell: int, config: Config, *, experiment: str) -> None:
        """Queue a run for a cell, by index, unless it has one by now.

        Both at once, as another process that fills the sweep could otherwise see the run before the cell has it.
        """
        with self._database.writing() as connection:
            one = "SELECT run_id FROM sweep_cells WHERE sweep_id = ? AND place = ?"
            if connection.execute(one, (sweep_id, cell)).fetchone() == (None,):
                _attach(connection, sweep_id, cell, add_run(connection, NewRun(config, experiment=experiment)))

    def unmodified_runs(self) -> list[RunRecord]:
        """The runs that were not steered, forked or imported, newest first: their config determines them."""
        imported = "SELECT run_id FROM events WHERE kind = 'imported'"
        with self._database.reading() as connection:
            faithful = f"WHERE parent IS NULL AND plan = '[]' AND id NOT IN ({imported}) ORDER BY id DESC"
            runs = select_runs(connection, self._observer, faithful)
        return [run for run in runs if not run.damaged]

    def _select(self, condition: str, *values: Any) -> list[Sweep]:
        with self._database.reading() as connection:
            rows = select(connection, f"{listed('sweeps')} FROM sweeps {condition}", values)
            return [_sweep(row, _cells(connection, row[0])) for row in rows]


def _attach(connection: sqlite3.Connection, sweep_id: int, cell: int, run_id: int) -> None:
    connection.execute(
        "UPDATE sweep_cells SET run_id = ? WHERE sweep_id = ? AND place = ? AND run_id IS NULL",
        (run_id, sweep_id, cell),
    )


def _cells(connection: sqlite3.Connection, sweep_id: int) -> list[tuple[Any, ...]]:
    what = f"{listed('sweep_cells')} FROM sweep_cells WHERE sweep_id = ? ORDER BY place"
    return select(connection, what, (sweep_id,))


def _run_ids(connection: sqlite3.Connection, sweep_id: int) -> list[int | None]:
    """Raises StoreError if a cell is damaged or missing: it might show the results of another run."""
    cells = _cells(connection, sweep_id)
    count = select(connection, "cells FROM sweeps WHERE id = ?", (sweep_id,))
    if not all(map(fits, cells)) or count not in ([], [(len(cells),)]):
        raise StoreError(_damage(sweep_id))
    return [run_id for _, _, _, run_id, _ in cells]


def _damage(sweep_id: int) -> str:
    return f"Sweep S{sweep_id} is damaged in the store: `wdtui store check` shows details."


def _sweep(row: tuple[Any, ...], cells: list[tuple[Any, ...]]) -> Sweep:
    number, created, name, experiment, device, threads, spec, count, _ = row
    if not (fits(row) and count == len(cells) and all(map(fits, cells))):
        return Sweep(number, 0.0, "", "", "auto", None, "", (), _damage(number))
    texts = tuple(config for _, _, config, *_ in cells)
    return Sweep(number, created, name, experiment, device, threads, spec, texts)


def fingerprint(schema: Schema, config_text: str) -> str:
    """A text that is equal for equal configs of a problem, even if one was stored before a field was added."""
    return _fingerprint(registry.config_of(schema).schema(), json.loads(config_text))


def fingerprint_of(config: Config) -> str:
    """The fingerprint of the runs with a config."""
    return _fingerprint(config.schema(), config.to_mapping())


def _fingerprint(schema: Schema, values: dict[str, Any]) -> str:
    derived = {other for name, other in schema.derived.items() if values.get(name) is not None}
    defaults = {name: value for name, value in schema.defaults.items() if name not in derived}
    return f"{schema.code} {json.dumps(defaults | values, sort_keys=True)}"


def _no_sweep(text: str, names: list[str]) -> str:
    if text == "last":
        return "There are no sweeps yet."
    return f"There is no sweep {text}{nearest(text, names)} `wdtui sweeps list` shows all sweeps."
