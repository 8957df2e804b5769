"""The run store: the only channel between training and the programs that watch or steer it.

All queries are in this package: those about sweeps in `sweeps.py`, the tables in `migrations.py`, connections in
`database.py`, rows in `rows.py` and `points.py`. `records.py` defines what is returned.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from wdtui import settings
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves, Point
from wdtui.schema.recorded import Traits
from wdtui.schema.steering import Plan, to_json
from wdtui.store.checkpoints import Checkpoints, delete_checkpoints
from wdtui.store.database import Database
from wdtui.store.entries import read_commands, read_events
from wdtui.store.observer import Observer
from wdtui.store.points import add_measured, add_points, follow_points, points_of, read_points
from wdtui.store.processes import Life, find_process, this_process
from wdtui.store.records import (
    CLAIMABLE,
    FINISHED,
    LIVE,
    Claim,
    Command,
    Event,
    NewRun,
    OwnershipLostError,
    Report,
    RunBusyError,
    RunRecord,
    RunStoppedError,
    Status,
    StoreError,
    StoreGoneError,
)
from wdtui.store.rescue import Measured, write_rescue
from wdtui.store.rows import (
    add_run,
    change,
    check_claim,
    columns_of,
    given,
    lost_claims,
    next_revision,
    no_run,
    owner_columns,
    schema_id,
    select_run,
    select_runs,
    select_these,
    storable,
)
from wdtui.store.seals import seal
from wdtui.store.sweeps import Sweeps
from wdtui.support.outputs import FileError
from wdtui.support.store_files import FILE_NAME, log_path

__all__ = [
    "Claim",
    "Command",
    "Event",
    "OwnershipLostError",
    "Report",
    "RunBusyError",
    "RunRecord",
    "RunStoppedError",
    "Status",
    "Store",
    "StoreError",
    "StoreGoneError",
    "default_folder",
]


def default_folder() -> Path:
    """The folder of the store: $WDTUI_HOME, else the setting, else the platform's folder for user data."""
    if home := settings.read().value("store"):
        return Path(home)
    import platformdirs

    return platformdirs.user_data_path("wdtui")


_PIECE, _PIECE_VALUES = 5_000, 500_000
"""The most points, and the most values, that are read at a time by a reader that must not be busy for long."""


class Store:
    """Runs with their points, events and commands, in the file `wdtui.sqlite3` of one folder.

    Threads may share a Store, and processes may open the same folder. Every method is one transaction, which others see
    completely or not at all. Writers wait for each other for up to 30 seconds. Returned objects are snapshots. A
    commit survives `kill -9`; a power failure may lose the last ones. After a fork, open a new Store. If the folder
    is read-only, an existing store can still be read.

    The process that trains a run writes under the Claim that `claim` returned. Its writes raise OwnershipLostError once
    another process, which found the owner gone, has claimed, queued, stopped or deleted the run. Owners that this
    process cannot inspect are judged by the heartbeats that this Store has seen (see `observer.py`).

    Every change of a run's row except a heartbeat takes the next revision, from one counter for all runs of the store.
    All methods raise StoreError, a sentence that a person can act on.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).expanduser().absolute()  # the working directory may change later
        self._database = Database(self.folder / FILE_NAME, shared=settings.read().value("shared"))
        self._observer = Observer()
        self.sweeps = Sweeps(self._database, self._observer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads. No thread may be using the store, and it cannot be used after."""
        self._database.close()

    # Training a run

    def add_run(
        self,
        config: Config,
        *,
        name: str = "",
        experiment: str = "",
        plan: Plan = (),
        parent: tuple[int, int] | None = None,
    ) -> int:
        """Queue a run, which this process will train or pass on, and return its number.

        `parent` is the number of the run that it is a fork of, and the step of the fork.
        """
        return self.add_runs([NewRun(config, name, experiment, plan, parent)])[0]

    def add_runs(self, runs: Iterable[NewRun]) -> list[int]:
        """Queue runs as `add_run` does, all or none; return their numbers."""
        with self._database.writing() as connection:
            return [add_run(connection, run) for run in runs]

    def hand_queue(self, run_ids: Iterable[int], pid: int) -> None:
        """Make a process that this one started the owner of queued runs. Runs that it has claimed do not change.

        Does nothing if that process has ended: the runs still belong to this one.
        """
        owner = find_process(pid)
        if owner is None:
            return
        with self._database.writing() as connection:
            for run_id in run_ids:
                if select_run(connection, self._observer, run_id).status == Status.QUEUED:
                    change(connection, run_id, **owner_columns(owner))

    def claim(self, run_id: int, *, device: str, threads: int, versions: Mapping[str, str]) -> Claim:
        """Make this process the run's owner and the run RUNNING. If several processes try at once, one succeeds.

        Returns the claim that each write of the owner must pass. It invalidates the claim of an earlier owner, which
        may still be alive if it could only be judged by its missing heartbeats. Pending commands to an earlier owner
        are dropped, except steering. Those sent before the first owner are kept.

        Raises RunBusyError if a living owner has the run, StoreError if it is finished, and RunStoppedError if it was
        stopped in the queue; `transition` queues it again.
        """
        owner, now = owner_columns(this_process()), time.time()
        with self._database.writing() as connection:
            run = select_run(connection, self._observer, run_id)
            _check_claimable(run)
            if run.status == Status.STOPPED:
                raise RunStoppedError(
                    f"Run {run_id} was stopped while it was queued. `wdtui resume {run_id}` trains it."
                )
            if run.started is not None:
                connection.execute(
                    "DELETE FROM commands WHERE run_id = ? AND taken IS NULL AND kind != 'steer'", (run_id,)
                )
            change(
                connection,
                run_id,
                status=Status.RUNNING,
                reason="",
                device=device,
                threads=threads,
                versions=json.dumps(dict(versions)),
                heartbeat=now,
                beats=run.beats + 1,
                started=now,
                ended=None,
                token=run.token + 1,
                **owner,
            )
        return Claim(run_id, run.token + 1)

    def hold(self, claim: Claim) -> None:
        """Raise OwnershipLostError unless the claim is valid, StoreGoneError if the store's file was replaced."""
        self._database.check_present()
        with self._database.reading() as connection:
            check_claim(connection, claim)

    def append(
        self,
        claim: Claim,
        points: Sequence[Point],
        *,
        speed: float | None,
        milestones: Mapping[str, Any],
        batched: int = 1,
        latest: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Add points, `speed` in steps/s and the milestones so far, as `report` does."""
        lost = self.report([Report(claim, points, speed=speed, milestones=milestones, batched=batched, latest=latest)])
        if lost:
            raise lost[claim.run_id]

    def report(self, reports: Sequence[Report]) -> dict[int, OwnershipLostError]:
        """Write down what several runs of one process did, in one transaction and under one revision.

        Returns why the claims to some of them hold no more; nothing is written to these. Raises StoreError, and writes
        nothing at all, if a run already has a point at one of the steps, and ValueError if the values of a point are
        not those of the run's columns.
        """
        with self._database.writing() as connection:
            lost = lost_claims(connection, [report.claim for report in reports])
            held = [report for report in reports if report.claim.run_id not in lost]
            for report in held:
                for step, kind, data in report.events:
                    _add_event(connection, report.claim.run_id, step, time.time(), kind, data)
            _heartbeat(connection, [report.claim for report in held if not report.points])
            add_measured(connection, [report for report in held if report.points])
        return lost

    def add_columns(self, claim: Claim, columns: Iterable[str], traits: Traits | None = None) -> tuple[str, ...]:
        """Have the points of a run hold further values; those that it has get NaN. Returns all columns, in order.

        The metrics of the new columns are added to the run's schema, with their traits.
        """
        run_id = claim.run_id
        with self._database.writing() as connection:
            check_claim(connection, claim)
            names = columns_of(connection, run_id)
            if new := [name for name in columns if name not in names]:
                points = points_of(read_points(connection, run_id, names, -1, -1))
                known, names = names, (*names[:-1], *new, *names[-1:])
                schema = select_run(connection, self._observer, run_id).schema.recording(names, traits)
                change(connection, run_id, columns=json.dumps(names), schema=schema_id(connection, schema))
                connection.execute("UPDATE runs SET columns_seal = ? WHERE id = ?", (seal(json.dumps(names)), run_id))
                connection.execute("DELETE FROM points WHERE run_id = ?", (run_id,))
                add_points(connection, {run_id: [point.under(known, names) for point in points]}, names)
        return names

    def columns(self, run_id: int) -> tuple[str, ...]:
        """The names of the values of a run's points."""
        with self._database.reading() as connection:
            return columns_of(connection, run_id)

    def truncate(self, claim: Claim, after_step: int) -> None:
        """Remove points and events after a step, before training continues from there. Milestones stay until then.

        Steerings at that step are removed too, as the next step reports them again.
        """
        run_id = claim.run_id
        with self._database.writing() as connection:
            check_claim(connection, claim)
            names = columns_of(connection, run_id)
            connection.execute("DELETE FROM points WHERE run_id = ? AND step > ?", (run_id, after_step))
            connection.execute("DELETE FROM events WHERE run_id = ? AND step > ?", (run_id, after_step))
            connection.execute(
                "DELETE FROM events WHERE run_id = ? AND step = ? AND kind = 'steered'", (run_id, after_step)
            )
            follow_points(connection, run_id, names)

    def inherit(self, claim: Claim, parent: int, up_to_step: int) -> None:
        """Replace the points of a fork by its parent's points up to a step, and add the steerings before that step."""
        run_id = claim.run_id
        with self._database.writing() as connection:
            check_claim(connection, claim)
            names, measured = columns_of(connection, run_id), columns_of(connection, parent)
            points = points_of(read_points(connection, parent, measured, -1, -1))
            connection.execute("DELETE FROM points WHERE run_id = ?", (run_id,))
            inherited = [point.under(measured, names) for point in points if point.step <= up_to_step]
            add_points(connection, {run_id: inherited}, names)
            for event in read_events(connection, select_run(connection, self._observer, parent)):  # no damaged one
                if event.kind == "steered" and event.step < up_to_step:
                    _add_event(connection, run_id, event.step, event.time, event.kind, event.data)
            follow_points(connection, run_id, names)

    def heartbeat(self, claim: Claim) -> None:
        """Record that the owner is alive. Takes no revision."""
        with self._database.writing() as connection:
            check_claim(connection, claim)
            _heartbeat(connection, [claim])

    def set_status(self, claim: Claim, status: Status, reason: str = "") -> None:
        """Set the status, and its reason in one sentence. The run has ended unless it is queued or live."""
        waiting = status in LIVE or status == Status.QUEUED
        ended = None if waiting else time.time()
        with self._database.writing() as connection:
            check_claim(connection, claim)
            change(connection, claim.run_id, status=Status(status), reason=storable(reason), ended=ended)

    def give_up(self, claim: Claim, reason: str) -> None:
        """Give up a run whose status cannot be written. Nothing is written.

        This Store then shows the run as interrupted for that reason, and it can be claimed again. Other processes see
        this once this process has ended.
        """
        self._observer.give_up(claim, reason)

    def reopen(self, run_id: int) -> None:
        """Queue a finished run with lost points so that they are trained again. Raises StoreError if none are lost."""
        if not self.curves(run_id).lost:
            raise StoreError(f"Run {run_id} has no missing points, so there is nothing to train again.")
        if any(event.kind == "imported" for event in self.events(run_id)):
            raise StoreError(f"Run {run_id} was trained by another program. Import it again.")
        queuer = owner_columns(this_process())
        with self._database.writing() as connection:
            run = select_run(connection, self._observer, run_id)
            if run.status in FINISHED:
                change(connection, run_id, status=Status.QUEUED, reason="", token=run.token + 1, **queuer)

    def transition(self, run_id: int, status: Status, reason: str = "") -> None:
        """Set the status of a run without an owner. Raises RunBusyError if it has one, StoreError if it is finished.

        This invalidates the claim of an owner that seemed gone. If the run is then QUEUED, it belongs to this process.
        """
        queuer = owner_columns(this_process()) if status == Status.QUEUED else {}
        with self._database.writing() as connection:
            run = select_run(connection, self._observer, run_id)
            _check_claimable(run)
            token = run.token + 1
            change(connection, run_id, status=Status(status), reason=storable(reason), token=token, **queuer)

    def set_checkpoint(self, claim: Claim, step: int) -> None:
        """Record the newest checkpoint of the run."""
        with self._database.writing() as connection:
            check_claim(connection, claim)
            change(connection, claim.run_id, checkpoint_step=step)

    def add_event(self, claim: Claim, step: int, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Record an event of a run at a step; `data` is plain JSON."""
        with self._database.writing() as connection:
            check_claim(connection, claim)
            _add_event(connection, claim.run_id, step, time.time(), kind, data or {})

    def commands(self, run_id: int) -> list[Command]:
        """The pending commands, in the order they were sent. A damaged one is UNREADABLE."""
        return self.commands_to([run_id]).get(run_id, [])

    def commands_to(self, run_ids: Sequence[int]) -> dict[int, list[Command]]:
        """The same for several runs, by their numbers; runs without commands are left out."""
        with self._database.reading() as connection:
            return read_commands(connection, run_ids)

    def take(self, claim: Claim, command: Command, plan: Plan | None = None) -> bool:
        """Mark a command as done and set the resulting plan, in one transaction; False if it was already done."""
        with self._database.writing() as connection:
            check_claim(connection, claim)
            done = connection.execute(
                "UPDATE commands SET taken = ? WHERE id = ? AND taken IS NULL", (time.time(), command.id)
            )
            if plan is not None:
                change(connection, command.run_id, plan=json.dumps(to_json(plan)))
        return bool(done.rowcount)

    @contextlib.contextmanager
    def holding_still(self) -> Iterator[None]:
        """Block all writers while no run is live. Raises RunBusyError if one is."""
        with self._database.writing() as connection:
            for run in select_runs(connection, self._observer, "WHERE status IN (?, ?)", *sorted(LIVE)):
                if run.live:
                    raise RunBusyError(f"{_busy(run)}: stop it first.")
            yield

    def rescue(self, run_id: int, run: RunRecord, measured: Measured) -> Path | None:
        """Write the points of a run to a file beside the store if the store no longer has them.

        Returns the file, or None if the run is still in the store and readable. Raises StoreError if no file can be
        written.
        """
        try:
            self._database.check_same()
            self.curves(run_id)
            return None
        except StoreError:
            pass
        try:
            return write_rescue(self.folder, run, measured)
        except FileError as error:
            raise StoreError(f"No rescue file can be written: {error}") from error

    # Watching and steering runs

    def checkpoints(self, run: RunRecord, claim: Claim | None = None) -> Checkpoints:
        """The checkpoints of a run, with the size limit of its config.

        The run's owner passes its claim: once that is invalid, no file is written or removed.
        """
        return (
            Checkpoints.of(self.folder, run, partial(self.hold, claim)) if claim else Checkpoints.of(self.folder, run)
        )

    def run(self, run_id: int) -> RunRecord:
        """The run with this number."""
        with self._database.reading() as connection:
            return select_run(connection, self._observer, run_id)

    def these(self, run_ids: Sequence[int]) -> list[RunRecord]:
        """The runs with these numbers, in their order. Raises StoreError for the first that there is none of."""
        with self._database.reading() as connection:
            return select_these(connection, self._observer, run_ids)

    def find(self, text: str) -> RunRecord:
        """The run with this number, this unique name, or the newest for "last"."""
        text = storable(text)
        with self._database.reading() as connection:
            if text == "last":
                found = select_runs(connection, self._observer, "ORDER BY id DESC LIMIT 1")
            else:
                condition = "WHERE CAST(id AS TEXT) = ? OR name = ? ORDER BY id"
                found = select_runs(connection, self._observer, condition, text, text)
            names = [row[0] for row in connection.execute("SELECT DISTINCT name FROM runs")] if not found else []
        matches = [run for run in found if str(run.id) == text] or found
        if not matches:
            raise StoreError(no_run(text, names))
        if len(matches) > 1:
            numbers = ", ".join(str(run.id) for run in matches)
            raise StoreError(f"{len(matches)} runs are named {text}; give the number of one: {numbers}.")
        return matches[0]

    def runs(self) -> list[RunRecord]:
        """All runs, newest first."""
        with self._database.reading() as connection:
            return select_runs(connection, self._observer, "ORDER BY id DESC")

    def count(self) -> int:
        """The number of runs."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0])

    def runs_since(self, revision: int) -> list[RunRecord]:
        """Runs that changed after a revision, newest first, and those whose owner may have died.

        The latter are all live runs, and those that other processes have queued. A deletion takes a revision, but
        there is no run to list: compare `count`.
        """
        me = this_process()
        with self._database.reading() as connection:
            changed = "SELECT id FROM runs WHERE revision > ?"
            live = "SELECT id FROM runs WHERE status IN (?, ?)"
            queued = "SELECT id FROM runs WHERE status = ? AND (domain, pid, process_start) != (?, ?, ?)"
            condition = f"WHERE id IN ({changed} UNION {live} UNION {queued}) ORDER BY id DESC"
            mine = Status.QUEUED, me.domain, me.pid, me.start
            return select_runs(connection, self._observer, condition, revision, *sorted(LIVE), *mine)

    def revision(self) -> int:
        """The revision of the newest change to any run."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT revision FROM counter").fetchone()[0])

    def data_version(self) -> int:
        """A number that changes with every write, cheap to read. Compare only numbers read in the same thread."""
        self._database.check_present()
        with self._database.reading() as connection:
            others = int(connection.execute("PRAGMA data_version").fetchone()[0])
            return others + connection.total_changes + (self._database.reopened << 32)

    def curves(self, run_id: int, after_step: int = -1, *, most: int = -1) -> Curves:
        """The points of a run after a step, at most `most` of them, in order, as read-only arrays.

        If `run(…).step` is less than that step, the run was truncated and has other points now. Points with a wrong
        checksum are left out and listed in `lost`.
        """
        with self._database.snapshot() as connection:
            run = select_run(connection, self._observer, run_id)
            if run.damaged:
                raise StoreError(run.reason)
            newest_step = run.step if run.latest_text != "{}" else -1
            names = columns_of(connection, run_id)
            return read_points(connection, run_id, names, after_step, newest_step, most)

    def piece(self, run_id: int, after_step: int = -1) -> Curves:
        """The points of a run after a step as `curves` reads them, but no more than can be read in a moment."""
        most = min(_PIECE, _PIECE_VALUES // max(len(self.columns(run_id)), 1))
        return self.curves(run_id, after_step, most=max(most, 1))

    def pieces(self, run_id: int, after_step: int = -1) -> Iterator[Curves]:
        """All points of a run after a step, piece by piece."""
        while len(piece := self.piece(run_id, after_step)) or piece.lost:
            after_step = piece.reached
            yield piece

    def events(self, run_id: int) -> list[Event]:
        """The events of a run, by step. Damaged or missing events are replaced by one of the kind UNREADABLE."""
        with self._database.snapshot() as connection:
            return read_events(connection, select_run(connection, self._observer, run_id))

    def send(self, run_id: int, kind: str, data: Mapping[str, Any] | None = None) -> int:
        """Send a command to a run, which its owner reads at its next step; returns the command's number."""
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO commands (run_id, time, kind, data) VALUES (?, ?, ?, ?)",
                (run_id, time.time(), kind, json.dumps(dict(data or {}))),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def rename(self, run_id: int, name: str) -> None:
        """Rename a run. Names need not be unique."""
        with self._database.writing() as connection:
            change(connection, run_id, name=given(name))

    def set_note(self, run_id: int, note: str) -> None:
        """Replace the note of a run."""
        with self._database.writing() as connection:
            change(connection, run_id, note=given(note))

    def delete(self, run_ids: Iterable[int]) -> None:
        """Delete runs with their points, checkpoints and logs: all of them, or none if one is live."""
        with self._database.writing() as connection:
            runs = select_these(connection, self._observer, [*run_ids])
            for run in runs:
                if why := why_not_deleted(run):
                    raise StoreError(why)
                connection.execute("DELETE FROM runs WHERE id = ?", (run.id,))
            next_revision(connection)
        for run in runs:
            delete_checkpoints(self.folder, run)
            with contextlib.suppress(OSError):
                log_path(self.folder, run.id).unlink()

    def missing(self) -> str:
        """A sentence about runs and sweeps that vanished without being deleted; empty if there are none."""
        query = "SELECT {0}, (SELECT COUNT(*) FROM {0} NOT INDEXED) FROM counter"
        with self._database.snapshot() as connection:
            counts = {kind: connection.execute(query.format(kind)).fetchone() for kind in ("runs", "sweeps")}
        wrong = " and ".join(
            f"{found} of {expected} {kind}" for kind, (expected, found) in counts.items() if found != expected
        )
        return wrong and f"The store is damaged, because only {wrong} can be found: `wdtui store check` shows details."

    def check_file(self) -> list[str]:
        """What SQLite finds wrong with the file, one sentence each. Reads the whole file."""
        try:
            with self._database.reading() as connection:
                lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        except StoreError as error:
            return [str(error)]
        return [f"The file {self._database.path} is damaged: {line}." for line in lines if line != "ok"]

    def check(self) -> str | None:
        """What a quick check finds wrong with the file, as a sentence; None if nothing."""
        try:
            with self._database.reading() as connection:
                verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except StoreError as error:
            return str(error)
        return None if verdict == "ok" else f"The file {self._database.path} is damaged: {verdict}."


def _check_claimable(run: RunRecord) -> None:
    if run.damaged:
        raise StoreError(run.reason)
    if run.live:
        raise RunBusyError(f"{_busy(run)}.")
    if run.status not in CLAIMABLE:
        raise StoreError(f"Run {run.id} is {run.status}, so there is nothing to train.")


def why_not_deleted(run: RunRecord) -> str:
    """Why a live run cannot be deleted, as a sentence; empty for others."""
    return f"{_busy(run)}: stop it before you delete it." if run.live else ""


def _busy(run: RunRecord) -> str:
    doubt = " as far as known" if run.owner_life == Life.UNKNOWN else ""
    return f"Run {run.id} is being trained by process {run.pid} on host {run.host}{doubt}"


def _add_event(
    connection: sqlite3.Connection, run_id: int, step: int, at: float, kind: str, data: Mapping[str, Any]
) -> None:
    connection.execute(
        "INSERT INTO events (run_id, step, time, kind, data) VALUES (?, ?, ?, ?, ?)",
        (run_id, step, at, kind, json.dumps(dict(data))),
    )


def _heartbeat(connection: sqlite3.Connection, claims: Sequence[Claim]) -> None:
    which = json.dumps([claim.run_id for claim in claims])
    connection.execute(
        "UPDATE runs SET heartbeat = ?, beats = beats + 1 WHERE id IN (SELECT value FROM json_each(?))",
        (time.time(), which),
    )
