"""The run store: the one notebook between the laboratory and whoever watches or steers it.

All queries live here, those about sweeps in `sweep_store.py`; `migrations.py` has the tables, `database.py` the
connections, `rows.py` and `points.py` how rows are read and written, `records.py` what is handed out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from wdtui import settings
from wdtui.config import RunConfig
from wdtui.runs.checkpoints import Checkpoints
from wdtui.runs.database import Database
from wdtui.runs.points import follow_points, newest, packed, unpacked
from wdtui.runs.processes import this_process
from wdtui.runs.records import (
    CLAIMABLE,
    LIVE,
    Command,
    Event,
    RunBusyError,
    RunRecord,
    RunStoppedError,
    Status,
    StoreError,
)
from wdtui.runs.rows import change, columns_of, next_revision, no_run, select_run, select_runs, storable
from wdtui.runs.sweep_store import Sweeps
from wdtui.schema.curves import Curves, Point
from wdtui.steering import Plan, to_json

__all__ = [
    "Command",
    "Event",
    "RunBusyError",
    "RunRecord",
    "RunStoppedError",
    "Status",
    "Store",
    "StoreError",
    "default_folder",
]


def default_folder() -> Path:
    """Where runs are kept: $WDTUI_HOME, or what the settings say, or else the place for a user's data here."""
    if home := settings.read().value("store"):
        return Path(home)
    import platformdirs

    return platformdirs.user_data_path("wdtui")


class Store:
    """Runs with their points, events and commands, in the file `wdtui.sqlite3` of one folder.

    Threads may share a Store, and processes may open the same folder: every method is one transaction, which is seen
    whole or not at all, and writers wait for one another for up to 30 seconds. Returned objects are snapshots. What
    was committed survives `kill -9`; after a power failure the last moments may be missing. After a fork, open a new
    Store. Where the folder cannot be written, an existing store can still be read.

    Every change of a run's row, heartbeats aside, takes the next revision, one count for all runs of the store.
    All methods raise StoreError, a sentence that a person can act on.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).expanduser().absolute()  # should the working directory change
        self._database = Database(self.folder / "wdtui.sqlite3")
        self.sweeps = Sweeps(self._database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads, none of which may be at work in the store; it cannot be used after."""
        self._database.close()

    # Training a run

    def add_run(
        self,
        config: RunConfig,
        *,
        name: str = "",
        experiment: str = "",
        plan: Plan = (),
        parent: tuple[int, int] | None = None,
    ) -> int:
        """Queue a run and return its number; `parent` is the run that it is a fork of, and where it leaves it."""
        parent_run, parent_step = parent or (None, None)
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (name, experiment, config, plan, columns, status, created, parent, parent_step)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    storable(name),
                    storable(experiment),
                    json.dumps(config.to_mapping()),
                    json.dumps(to_json(plan)),
                    json.dumps(config.columns),
                    Status.QUEUED,
                    time.time(),
                    parent_run,
                    parent_step,
                ),
            )
            run_id = cursor.lastrowid
            assert run_id is not None
            change(connection, run_id)
        return run_id

    def claim(self, run_id: int, *, device: str, threads: int, versions: Mapping[str, str]) -> None:
        """Make this process the run's owner and the run RUNNING; of several that try at once, one succeeds.

        Commands that an earlier owner left untaken are dropped, but for steering; those sent to a run that nobody has
        owned are kept.
        Raises RunBusyError when a living owner has it, RunStoppedError when it was stopped while it waited (`settle` it
        to go on with it), StoreError when it is finished.
        """
        owner, now = this_process(), time.time()
        with self._database.writing() as connection:
            run = select_run(connection, run_id)
            _check_claimable(run)
            if run.status == Status.STOPPED:
                raise RunStoppedError(f"Run {run_id} was stopped while it waited; `wdtui resume {run_id}` trains it.")
            if run.pid is not None:
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
                host=owner.host,
                pid=owner.pid,
                process_start=owner.start,
                heartbeat=now,
                started=now,
                ended=None,
            )

    def append(
        self, run_id: int, points: Sequence[Point], *, speed: float | None, milestones: Mapping[str, Any]
    ) -> None:
        """Add points, `speed` in steps/s and the milestones so far, all at once; counts as a heartbeat.

        Raises StoreError, and adds none, when the run has a point at one of the steps; ValueError when the values of
        a point are not those of `metrics.columns`.
        """
        with self._database.writing() as connection:
            names = columns_of(connection, run_id)
            rows = [(run_id, point.step, packed(point, names)) for point in points]
            connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)
            change(
                connection,
                run_id,
                speed=speed,
                milestones=json.dumps(dict(milestones)),
                heartbeat=time.time(),
                **(newest(points[-1], names) if points else {}),
            )

    def truncate(self, run_id: int, after_step: int) -> None:
        """Remove points and events after a step, before training goes on from there; the milestones stay till then.

        Of the steerings that count from that very step on, the next step will tell again.
        """
        with self._database.writing() as connection:
            names = columns_of(connection, run_id)
            connection.execute("DELETE FROM points WHERE run_id = ? AND step > ?", (run_id, after_step))
            connection.execute("DELETE FROM events WHERE run_id = ? AND step > ?", (run_id, after_step))
            connection.execute(
                "DELETE FROM events WHERE run_id = ? AND step = ? AND kind = 'steered'", (run_id, after_step)
            )
            follow_points(connection, run_id, names)

    def inherit(self, run_id: int, parent: int, up_to_step: int) -> None:
        """Give a fork its parent's points up to a step, and the steerings before it, in place of its own."""
        with self._database.writing() as connection:
            names, measured = columns_of(connection, run_id), columns_of(connection, parent)
            rows = connection.execute(
                "SELECT data FROM points WHERE run_id = ? AND step <= ? ORDER BY step", (parent, up_to_step)
            ).fetchall()
            points = [unpacked(row[0]).under(measured, names) for row in rows]
            connection.execute("DELETE FROM points WHERE run_id = ?", (run_id,))
            rows = [(run_id, point.step, packed(point, names)) for point in points]
            connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)
            connection.execute(
                "INSERT INTO events (run_id, step, time, kind, data) SELECT ?, step, time, kind, data FROM events"
                " WHERE run_id = ? AND step < ? AND kind = 'steered' ORDER BY id",
                (run_id, parent, up_to_step),
            )
            follow_points(connection, run_id, names)

    def beat(self, run_id: int) -> None:
        """Say that the owner lives; takes no revision."""
        with self._database.writing() as connection:
            connection.execute("UPDATE runs SET heartbeat = ? WHERE id = ?", (time.time(), run_id))

    def set_status(self, run_id: int, status: Status, reason: str = "") -> None:
        """Set the status, and the reason for it in one sentence; the run has ended unless it is queued or live."""
        waiting = status in LIVE or status == Status.QUEUED
        ended = None if waiting else time.time()
        with self._database.writing() as connection:
            change(connection, run_id, status=Status(status), reason=storable(reason), ended=ended)

    def settle(self, run_id: int, status: Status, reason: str = "") -> None:
        """Give a run that nobody trains another status; raises RunBusyError, or StoreError when it is finished."""
        with self._database.writing() as connection:
            _check_claimable(select_run(connection, run_id))
            change(connection, run_id, status=Status(status), reason=storable(reason))

    def set_checkpoint(self, run_id: int, step: int) -> None:
        """Say that there is a checkpoint of the run at a step."""
        with self._database.writing() as connection:
            change(connection, run_id, checkpoint_step=step)

    def add_event(self, run_id: int, step: int, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Write down what happened to a run at a step; `data` is plain JSON."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO events (run_id, step, time, kind, data) VALUES (?, ?, ?, ?, ?)",
                (run_id, step, time.time(), kind, json.dumps(dict(data or {}))),
            )

    def commands(self, run_id: int) -> list[Command]:
        """The commands that nobody has taken yet, in the order they were sent."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, time, kind, data FROM commands WHERE run_id = ? AND taken IS NULL ORDER BY id", (run_id,)
            ).fetchall()
        return [Command(number, run_id, sent, kind, json.loads(data)) for number, sent, kind, data in rows]

    def take(self, command: Command, plan: Plan | None = None) -> bool:
        """Take a command, and with it the plan that follows from it, at once; False where somebody took it before."""
        with self._database.writing() as connection:
            taken = connection.execute(
                "UPDATE commands SET taken = ? WHERE id = ? AND taken IS NULL", (time.time(), command.id)
            )
            if plan is not None:
                change(connection, command.run_id, plan=json.dumps(to_json(plan)))
        return bool(taken.rowcount)

    # Watching and steering runs

    def checkpoints(self, run: RunRecord) -> Checkpoints:
        """The checkpoints of a run, within the room that its config gives them."""
        return Checkpoints.of(self.folder, run)

    def run(self, run_id: int) -> RunRecord:
        """The run of this number."""
        with self._database.reading() as connection:
            return select_run(connection, run_id)

    def find(self, text: str) -> RunRecord:
        """The run that a person names: by its number, by a name that only it has, or "last" for the newest."""
        with self._database.reading() as connection:
            if text == "last":
                found = select_runs(connection, "ORDER BY id DESC LIMIT 1")
            else:
                found = select_runs(
                    connection, "WHERE CAST(id AS TEXT) = ? OR name = ? ORDER BY id", text, storable(text)
                )
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
            return select_runs(connection, "ORDER BY id DESC")

    def count(self) -> int:
        """How many runs there are."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0])

    def runs_since(self, revision: int) -> list[RunRecord]:
        """Runs that changed after a revision, newest first; those that are marked as live too, as owners die silently.

        A deletion takes a revision and leaves no run to list; `count` tells.
        """
        with self._database.reading() as connection:
            changed = "SELECT id FROM runs WHERE revision > ?"
            live = "SELECT id FROM runs WHERE status IN (?, ?)"
            return select_runs(
                connection, f"WHERE id IN ({changed} UNION {live}) ORDER BY id DESC", revision, *sorted(LIVE)
            )

    def revision(self) -> int:
        """The number of the newest change to any run."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT revision FROM counter").fetchone()[0])

    def data_version(self) -> int:
        """A cheap number that stays the same while nobody writes; compare only numbers read in the same thread."""
        with self._database.reading() as connection:
            others = int(connection.execute("PRAGMA data_version").fetchone()[0])
            return others + connection.total_changes

    def curves(self, run_id: int, after_step: int = -1) -> Curves:
        """The points of a run after a step, in order, as arrays not to be written to.

        Where `run(…).step` is below that step, the run was truncated and has other points now.
        """
        with self._database.reading() as connection:
            names = columns_of(connection, run_id)
            rows = connection.execute(
                "SELECT data FROM points WHERE run_id = ? AND step > ? ORDER BY step", (run_id, after_step)
            )
            data = b"".join(map(itemgetter(0), rows))
        points = np.frombuffer(data, [("step", "<i8"), ("epoch", "<i8"), ("values", "<f8", (len(names),))])
        steps, epochs = (np.array(points[field], dtype=np.int64) for field in ("step", "epoch"))
        return Curves(names, steps, epochs, points["values"])

    def events(self, run_id: int) -> list[Event]:
        """What happened to a run, by step."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, step, time, kind, data FROM events WHERE run_id = ? ORDER BY step, id", (run_id,)
            ).fetchall()
        return [Event(number, run_id, step, at, kind, json.loads(data)) for number, step, at, kind, data in rows]

    def send(self, run_id: int, kind: str, data: Mapping[str, Any] | None = None) -> int:
        """Ask something of a run, whose owner takes it at its next step; returns the command's number."""
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO commands (run_id, time, kind, data) VALUES (?, ?, ?, ?)",
                (run_id, time.time(), kind, json.dumps(dict(data or {}))),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def rename(self, run_id: int, name: str) -> None:
        """Give a run another name; several runs may share one."""
        with self._database.writing() as connection:
            change(connection, run_id, name=storable(name))

    def set_note(self, run_id: int, note: str) -> None:
        """Replace what a person has noted about a run."""
        with self._database.writing() as connection:
            change(connection, run_id, note=storable(note))

    def delete(self, run_ids: Iterable[int]) -> None:
        """Delete runs with their points, events and commands; all of them, or none when one is live."""
        with self._database.writing() as connection:
            for run in [select_run(connection, run_id) for run_id in run_ids]:
                if run.live:
                    raise StoreError(f"{_busy(run)}; stop it before you delete it.")
                connection.execute("DELETE FROM runs WHERE id = ?", (run.id,))
            next_revision(connection)

    def check(self) -> str | None:
        """What is wrong with the file, in a sentence; None when it is sound."""
        try:
            with self._database.reading() as connection:
                verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        except StoreError as error:
            return str(error)
        return None if verdict == "ok" else f"The file {self._database.path} is damaged: {verdict}."


def _check_claimable(run: RunRecord) -> None:
    if run.live:
        raise RunBusyError(f"{_busy(run)}.")
    if run.status not in CLAIMABLE:
        raise StoreError(f"Run {run.id} is {run.status}, so there is nothing left to train.")


def _busy(run: RunRecord) -> str:
    return f"Run {run.id} is being trained by process {run.pid} on host {run.host}"
