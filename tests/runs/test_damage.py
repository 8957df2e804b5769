"""Bits that rot: what is damaged is named and left out, and costs nothing else."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_tools import COLUMNS, CONFIG, append, claim, point

from wdtui.runs.evidence import Evidence
from wdtui.runs.inspection import findings
from wdtui.runs.sweeps import assign
from wdtui.schema.curves import Point
from wdtui.schema.steering import Steering
from wdtui.store import migrations
from wdtui.store.rows import change
from wdtui.store.store import Status, Store, StoreError
from wdtui.store.sweeps import Sweep
from wdtui.studies.grid import Grid
from wdtui.support.store_files import log_path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def rotten(folder: Path, statement: str, *values: Any) -> None:
    """Change a row behind the store's back, as a flipped bit does."""
    connection = sqlite3.connect(folder / "wdtui.sqlite3", isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def flip_in_point(folder: Path, run_id: int, step: int, byte: int, bit: int = 3) -> None:
    connection = sqlite3.connect(folder / "wdtui.sqlite3", isolation_level=None)
    (data,) = connection.execute("SELECT data FROM points WHERE run_id = ? AND step = ?", (run_id, step)).fetchone()
    changed = bytearray(data)
    changed[byte] ^= 1 << bit
    where = "WHERE run_id = ? AND step = ?"
    connection.execute(f"UPDATE points SET data = ? {where}", (bytes(changed), run_id, step))
    connection.close()


# Points


@pytest.mark.parametrize("byte", [0, 8, 16, 17, 8 * (2 + len(COLUMNS)), -1])
def test_a_point_with_a_flipped_bit_is_reported_and_left_out(store: Store, byte: int) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, *(point(step) for step in range(10, 60, 10)))
    flip_in_point(store.folder, run_id, 30, byte)
    curves = store.curves(run_id)
    assert curves.steps.tolist() == [10, 20, 40, 50] and curves.lost == (30,)


def test_a_missing_point_is_reported(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, *(point(step) for step in range(10, 60, 10)))
    rotten(store.folder, "DELETE FROM points WHERE step = 30")
    assert store.curves(run_id).lost == (30,)
    assert store.curves(run_id, after_step=20).lost == (30,)
    assert store.curves(run_id, after_step=30).lost == ()
    rotten(store.folder, "DELETE FROM points WHERE step = 50")
    assert store.curves(run_id).lost == (30, 50)
    assert store.curves(run_id).steps.tolist() == [10, 20, 40]
    rotten(store.folder, "DELETE FROM points")
    assert store.curves(run_id).lost == (50,)


def test_a_point_of_another_run_or_step_is_left_out(store: Store) -> None:
    one, other = store.add_run(CONFIG), store.add_run(CONFIG)
    append(store, one, point(10), point(20), point(30))
    append(store, other, point(10), point(20))
    rotten(store.folder, "UPDATE points SET run_id = ? WHERE run_id = ? AND step = 30", other, one)
    assert store.curves(one).lost == (30,)
    assert store.curves(other).steps.tolist() == [10, 20] and store.curves(other).lost == (30,)


def test_points_from_before_there_were_checksums_stay_valid(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = store.add_run(CONFIG)
        append(store, run_id, point(10), point(20))
        old = [store.curves(run_id).values[row].tobytes() for row in range(2)]
    for place, step in enumerate((10, 20)):
        data = np.array([step, step // 10], "<i8").tobytes() + old[place]
        rotten(tmp_path, "UPDATE points SET data = ? WHERE step = ?", data, step)
    with Store(tmp_path) as store:
        append(store, run_id, point(30))
        curves = store.curves(run_id)
        assert curves.steps.tolist() == [10, 20, 30] and curves.lost == ()
        assert curves.values[:, 0].tolist() == [0.5] * 3
    rotten(tmp_path, "UPDATE points SET data = ? WHERE step = 20", b"\0" * 24)
    with Store(tmp_path) as store:
        assert store.curves(run_id).lost == (20,)


def test_curves_that_grow_while_they_are_read_are_complete(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    for step in range(10, 100, 10):
        append(store, run_id, point(step))
        assert store.curves(run_id, after_step=step - 10).lost == ()
    store.truncate(store.run(run_id).claim, 50)
    append(store, run_id, point(60))
    assert store.curves(run_id).lost == ()


def test_a_fork_does_not_inherit_damaged_points(store: Store) -> None:
    parent = store.add_run(CONFIG)
    append(store, parent, point(10), point(20), point(30))
    fork = store.add_run(CONFIG, parent=(parent, 30))
    flip_in_point(store.folder, parent, 20, 30)
    store.inherit(claim(store, fork), parent, 30)
    assert store.curves(fork).steps.tolist() == [10, 30]


# Rows

WRONG = {
    "config": "{broken",
    "plan": "[1",
    "status": "walking",
    "milestones": '{"fit',
    "latest": "[",
    "name": "nam\0",
    "step": 7,
    "created": "yesterday",
    "domain": "another boot",
    "pid": 7,
    "process_start": 8.5,
}


@pytest.mark.parametrize("column", WRONG)
def test_an_unreadable_row_affects_only_its_run(store: Store, column: str) -> None:
    first, second, third = (store.add_run(CONFIG, name=name) for name in ("first", "second", "third"))
    append(store, second, point(10))
    rotten(store.folder, f"UPDATE runs SET {column} = ? WHERE id = ?", WRONG[column], second)
    runs = store.runs()
    assert [run.id for run in runs] == [third, second, first]
    assert [run.status for run in runs] == [Status.QUEUED, Status.DAMAGED, Status.QUEUED]
    damaged = runs[1]
    assert "wdtui runs delete 2" in damaged.reason
    assert damaged.latest == {} and damaged.milestones == {} and damaged.plan == () and damaged.steps == 0
    assert set(damaged.values.values()) == {None} and damaged.title
    with pytest.raises(StoreError, match="row of run 2 in the store is damaged"):
        _ = damaged.config
    with pytest.raises(StoreError, match="row of run 2 in the store is damaged"):
        store.curves(second)
    with pytest.raises(StoreError, match="row of run 2 in the store is damaged"):
        claim(store, second)
    assert [run.id for run in store.runs_since(-1)] == [third, second, first]
    assert Evidence(store)._alike(CONFIG) and second not in Evidence(store)._unmodified
    store.delete([store.find("2").id])
    assert [run.id for run in store.runs()] == [third, first]


def test_a_row_without_a_checksum_is_judged_by_its_content(store: Store) -> None:
    """As one from another program's hand: it counts as damaged only where it cannot be read."""
    for name in ("fine", "broken"):
        store.add_run(CONFIG, name=name)
    rotten(store.folder, "UPDATE runs SET seal = NULL")
    rotten(store.folder, "UPDATE runs SET milestones = '{' WHERE name = 'broken'")
    assert [run.status for run in store.runs()] == [Status.DAMAGED, Status.QUEUED]


def test_a_later_write_does_not_hide_damage(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    rotten(store.folder, "UPDATE runs SET config = replace(config, '0.3', '0.4')")
    store.rename(run_id, "renamed")
    append(store, run_id, point(10))
    assert store.run(run_id).status == Status.DAMAGED


def test_invalid_text_affects_only_its_row(store: Store) -> None:
    one, other = store.add_run(CONFIG), store.add_run(CONFIG)
    rotten(store.folder, "UPDATE runs SET name = CAST(x'ff80' AS TEXT) WHERE id = ?", one)
    assert [run.status for run in store.runs()] == [Status.QUEUED, Status.DAMAGED]
    assert store.find("last").id == other


def test_a_changed_list_of_metrics_is_detected(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, point(10))
    rotten(store.folder, "UPDATE runs SET columns = replace(columns, 'test_loss', 'tost_loss')")
    with pytest.raises(StoreError, match=r"list of what run 1 measures is damaged.*wdtui replay 1"):
        store.curves(run_id)
    assert store.run(run_id).config == CONFIG


def test_a_damaged_event_is_marked(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    for step in (10, 20, 30):
        store.add_event(store.run(run_id).claim, step, "steered", {"new": step})
    rotten(store.folder, "UPDATE events SET data = '{\"new\": 21}' WHERE step = 20")
    kinds = [(event.step, event.kind) for event in store.events(run_id)]
    assert kinds == [(10, "steered"), (20, "unreadable"), (30, "steered")]
    rotten(store.folder, "DROP TRIGGER uncount_event")
    rotten(store.folder, "DELETE FROM events WHERE step = 30")
    assert [event.kind for event in store.events(run_id)] == ["steered", "unreadable", "unreadable"]
    assert "1 event of this run is missing" in store.events(run_id)[-1].data["reason"]


def test_a_damaged_command_is_dropped_and_the_others_are_done(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    for kind in ("steer", "pause"):
        store.send(run_id, kind, {"weight_decay": 0.1} if kind == "steer" else None)
    rotten(store.folder, "UPDATE commands SET data = '{\"weight_decay\": 0.5}' WHERE kind = 'steer'")
    assert [command.kind for command in store.commands(run_id)] == ["unreadable", "pause"]
    rotten(store.folder, "UPDATE commands SET data = '{' WHERE kind = 'steer'")
    first = store.commands(run_id)[0]
    assert first.kind == "unreadable" and store.take(store.run(first.run_id).claim, first)
    assert [command.kind for command in store.commands(run_id)] == ["pause"]


def test_a_damaged_sweep_affects_only_itself(store: Store) -> None:
    grid = Grid.of(CONFIG, {"weight_decay": [0.1, 0.2]})
    for name in ("one", "two", "three"):
        assign(store, store.sweeps.get(store.sweeps.add(grid, name=name)))
    rotten(store.folder, "UPDATE sweeps SET spec = '{' WHERE name = 'one'")
    rotten(store.folder, "UPDATE sweep_cells SET run_id = 1 WHERE sweep_id = 2 AND place = 1")
    sweeps = store.sweeps.all()
    assert [sweep.label for sweep in sweeps] == ["S3", "S2", "S1"]
    assert [bool(sweep.damage) for sweep in sweeps] == [False, True, True]
    for label in ("S1", "S2"):
        with pytest.raises(StoreError, match=f"Sweep {label} is damaged"):
            _ = store.sweeps.find(label).grid
    rotten(store.folder, "DELETE FROM sweep_cells WHERE sweep_id = 3 AND place = 1")
    assert store.sweeps.get(3).damage


def test_runs_that_vanished_are_counted(store: Store) -> None:
    for _ in range(3):
        store.add_run(CONFIG)
    assert store.missing() == ""
    rotten(store.folder, "DROP TRIGGER uncount_run")
    rotten(store.folder, "DELETE FROM runs WHERE id = 2")
    assert "only 2 of 3 runs" in store.missing() and "wdtui store check" in store.missing()


def test_deleting_a_run_leaves_its_sweep_sound(store: Store) -> None:
    sweep = store.sweeps.get(store.sweeps.add(Grid.of(CONFIG, {"weight_decay": [0.1, 0.2]})))
    assign(store, sweep)
    store.delete([1])
    assert not store.sweeps.get(sweep.id).damage and store.sweeps.run_ids(sweep.id) == (None, 2)
    assert store.missing() == "" and findings(store) == []


def test_a_store_of_the_previous_version_gets_checksums(tmp_path: Path) -> None:
    path = tmp_path / "wdtui.sqlite3"
    connection = sqlite3.connect(path, isolation_level=None)
    released = migrations.MIGRATIONS[:4]
    assert released[-1].__name__ == "m004_where_sweeps_are_trained"
    for version, migration in enumerate(released, start=1):
        migrations._apply(connection, version, migration)
    names = json.dumps(COLUMNS)
    for name, config in (("fine", json.dumps(CONFIG.to_mapping())), ("broken", "{")):
        connection.execute(
            "INSERT INTO runs (name, experiment, config, columns, status, created, device, speed)"
            " VALUES (?, '', ?, ?, 'queued', 1, 'cpu', 100.0)",
            (name, config, names),
        )
    connection.execute("INSERT INTO events (run_id, step, time, kind, data) VALUES (1, 5, 1, 'paused', '{}')")
    connection.close()
    with Store(tmp_path) as store:
        assert [run.status for run in store.runs()] == [Status.DAMAGED, Status.QUEUED]
        assert store.run(1).batched == 1
        assert [event.kind for event in store.events(1)] == ["paused"]
        assert store.missing() == ""
    rotten(tmp_path, "UPDATE runs SET note = 'x' WHERE id = 1")
    with Store(tmp_path) as store:
        assert store.run(1).status == Status.DAMAGED


def test_a_fork_does_not_inherit_damaged_events(store: Store) -> None:
    parent, fork = store.add_run(CONFIG), store.add_run(CONFIG)
    for run_id in (parent, fork):
        claim(store, run_id)
    append(store, parent, point(10), point(20), point(30))
    for step in (10, 20):
        data = {"field": "weight_decay", "old": 0.3, "new": 0.1}
        store.add_event(store.run(parent).claim, step, "steered", data)
    store.add_event(store.run(parent).claim, 20, "paused")
    rotten(store.folder, "UPDATE events SET data = replace(data, '0.1', '0.9') WHERE step = 10")
    store.inherit(store.run(fork).claim, parent, 30)
    assert [(event.kind, event.step) for event in store.events(fork)] == [("steered", 20)]


def test_a_run_of_another_version_does_not_stop_a_check(store: Store) -> None:
    other, damaged = store.add_run(CONFIG), store.add_run(CONFIG)
    claim(store, damaged)
    append(store, damaged, point(10), point(20))
    with store._database.writing() as connection:
        change(connection, other, config=json.dumps(CONFIG.to_mapping() | {"unheard_of": 1}))
    flip_in_point(store.folder, damaged, 20, 22)
    found = findings(store)
    assert [(one.what, one.run) for one in found] == [("points", damaged), ("checkpoint", other)]
    assert "made by another version" in found[1].text


# Deleting


def with_files(store: Store) -> int:
    """A run that has been interrupted, with a checkpoint and a log."""
    run_id = store.add_run(CONFIG)
    claim(store, run_id)
    append(store, run_id, point(10))
    store.checkpoints(store.run(run_id)).save(10, {"epoch": 1, "batch": 0, "plan": []}, {})
    store.set_status(store.run(run_id).claim, Status.INTERRUPTED)
    log = log_path(store.folder, run_id)
    log.parent.mkdir(exist_ok=True)
    log.touch()
    return run_id


def files_of(store: Store, run_id: int) -> list[str]:
    return [
        path.name for name in (f"checkpoints/{run_id}-*", f"logs/run-{run_id}.log") for path in store.folder.glob(name)
    ]


@pytest.mark.parametrize("damage", ["", "UPDATE runs SET note = 'x'", "UPDATE runs SET created = 7.0"])
def test_a_damaged_run_is_deleted_with_its_checkpoints_and_log(store: Store, damage: str) -> None:
    others, run_id = [with_files(store) for _ in range(10)], with_files(store)
    if damage:
        rotten(store.folder, f"{damage} WHERE id IN (1, {run_id})")
    assert len(files_of(store, run_id)) == 2
    store.delete([1, run_id])
    assert files_of(store, run_id) == files_of(store, 1) == []
    assert all(len(files_of(store, other)) == 2 for other in others[1:])


def test_an_ambiguous_folder_of_a_damaged_run_is_not_removed(store: Store) -> None:
    """As one may belong to a store that was moved aside, of which the other has taken over the number."""
    run_id = with_files(store)
    (store.folder / "checkpoints" / f"{run_id}-1.000000").mkdir()
    rotten(store.folder, "UPDATE runs SET note = 'x'")
    store.delete([run_id])
    assert len(list((store.folder / "checkpoints").iterdir())) == 2


# Any bit


def furnished(folder: Path) -> None:
    """A small store: runs with points, milestones, events and a plan, a sweep, commands; closed."""
    with Store(folder) as store:
        for name in ("first", "second"):
            run_id = store.add_run(CONFIG, name=name, experiment="mine", plan=(Steering(20, "weight_decay", 0.3, 0.1),))
            claim(store, run_id)
            for first in range(10, 400, 50):
                append(store, run_id, *(point(step, step / 7) for step in range(first, first + 50, 10)))
            store.add_event(store.run(run_id).claim, 20, "steered", {"field": "weight_decay", "old": 0.3, "new": 0.1})
            store.add_event(store.run(run_id).claim, 30, "paused")
            store.set_status(store.run(run_id).claim, Status.DONE, "All is well.")
            store.set_note(run_id, "a note")
            store.send(run_id, "steer", {"weight_decay": 0.1})
        grid = Grid.of(CONFIG, {"weight_decay": [0.1, 0.2], "seed": [0, 1]})
        assign(store, store.sweeps.get(store.sweeps.add(grid, name="decays")))


def told(ask: Callable[[], Any]) -> tuple[Any, str]:
    """What a reader gets, or the sentence that refuses it."""
    try:
        return ask(), ""
    except StoreError as error:
        return None, str(error)


def everything(folder: Path) -> tuple[dict[Any, Any], dict[Any, str]]:
    """All that a reader can get of a store, by what it is, and the sentence beside each that is refused or marked."""
    got: dict[Any, Any] = {}
    marks: dict[Any, str] = {}

    def put(key: Any, ask: Callable[[], Any], mark: Callable[[Any], str] = lambda value: "") -> Any:
        value, refusal = told(ask)
        got[key], marks[key] = value, refusal or told(lambda: mark(value))[0] or told(lambda: mark(value))[1]
        return value

    try:
        store = Store(folder)
    except StoreError as error:
        return {}, {"store": str(error)}
    with store:
        runs = put("runs", store.runs, lambda runs: store.missing() or damaged(runs)) or []
        got["runs"] = [run.id for run in runs]
        for run in runs:
            damage = run.reason if run.status == Status.DAMAGED else ""
            got["row", run.id] = {name: getattr(run, name) for name in run._fields if name not in UNSEALED}
            marks["row", run.id] = damage
            for name in ("config", "plan", "milestones", "latest", "values", "status", "versions", "steps"):
                put((name, run.id), lambda run=run, name=name: getattr(run, name), lambda _, damage=damage: damage)
            put(
                ("curves", run.id),
                lambda run=run: store.curves(run.id),
                lambda curves: f"lost {curves.lost}" * bool(curves.lost),
            )
            if (curves := got["curves", run.id]) is not None:
                got["curves", run.id] = (curves.names, curves.steps.tobytes(), curves.values.tobytes())
            put(
                ("events", run.id),
                lambda run=run: store.events(run.id),
                lambda events: "marked" * any(event.kind == "unreadable" for event in events),
            )
            put(("commands", run.id), lambda run=run: store.commands(run.id))
        sweeps = put("sweeps", store.sweeps.all, lambda sweeps: store.missing() or damaged(sweeps)) or []
        got["sweeps"] = [sweep.id for sweep in sweeps]
        for sweep in sweeps:
            put(("cells", sweep.id), lambda sweep=sweep: sweep.cells)
            put(
                ("sweep", sweep.id),
                lambda sweep=sweep: (sweep.name, sweep.experiment, sweep.device, sweep.threads, sweep.created),
                lambda _, sweep=sweep: sweep.damage,
            )
            put(("sweep runs", sweep.id), lambda sweep=sweep: store.sweeps.run_ids(sweep.id))
        put("check", lambda: findings(store))
    return got, marks


def damaged(rows: list[Any]) -> str:
    """What is said of rows that are listed as damaged, maybe under another number than they had."""
    return "".join(row.damage if isinstance(row, Sweep) else row.damaged * row.reason for row in rows)


UNSEALED = ("beats", "heartbeat", "revision")
"""When the owner of a run last gave a sign of life: nothing that was measured."""


def flips(folder: Path, count: int, seed: int) -> None:
    """Flip a random bit `count` times, each in a fresh copy of the store, and hold what is read to the original."""
    original = folder / "original"
    furnished(original)
    expected, marks = everything(original)
    assert not any(marks.values()) and expected["check"] == []
    content = (original / "wdtui.sqlite3").read_bytes()
    chosen, harmless = random.Random(seed), 0
    for place in (chosen.randrange(len(content) * 8) for _ in range(count)):
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        (copy / "wdtui.sqlite3").write_bytes(changed)
        got, marks = everything(copy)
        where = f"bit {place % 8} of byte {place // 8}"
        if "store" in marks:
            assert marks["store"].endswith("."), where
            continue
        harmless += got == expected
        for key, value in expected.items():
            if key[0] == "commands":  # of those that are lost nobody can tell
                unknown = [one for one in got.get(key) or () if one.kind != "unreadable" and one not in value]
                assert not unknown, f"{where}: {unknown}"
            elif key != "check" and got.get(key) != value:
                marked = marks[key] if key in got else marks["runs"] or marks["sweeps"]
                assert marked, f"{where}: {key} is shown wrong as right: {got.get(key)!r} for {value!r}"
    print(f"{count} flips, {harmless} without a trace")


def test_random_bit_flips_are_never_shown_as_valid_data(tmp_path: Path) -> None:
    flips(tmp_path, 60, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_many_random_bit_flips_are_never_shown_as_valid_data(tmp_path: Path, seed: int) -> None:
    flips(tmp_path, 400, seed)


def test_a_flipped_bit_that_gives_a_plausible_value_is_detected(store: Store) -> None:
    """The weight norm that one bit turned from 36.3 into 2.27."""
    run_id = store.add_run(CONFIG)
    place = COLUMNS.index("weight_norm")
    append(store, run_id, Point(10, 1, tuple(36.3 if at == place else 0.5 for at in range(len(COLUMNS)))))
    flip_in_point(store.folder, run_id, 10, 8 * (2 + place) + 6, bit=6)
    assert store.curves(run_id)["weight_norm"].tolist() == [] and store.curves(run_id).lost == (10,)
