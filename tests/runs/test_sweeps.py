"""Sweeps in the store, and which runs their cells take."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_tools import claim

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.training import Training
from wdtui.runs.estimates import expected_seconds
from wdtui.runs.executor import Executor, interrupt_waiting
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.sweeps import Progress, assign, complete
from wdtui.schema.curves import Point
from wdtui.schema.steering import Steering
from wdtui.store import migrations, sweeps
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store, StoreError
from wdtui.store.sweeps import fingerprint
from wdtui.studies.grid import Grid

pytestmark = pytest.mark.usefixtures("in_threads")
BASE = RunConfig(width=4, train_size=320, validation_size=16, test_size=16, epochs=2)
GRID = Grid.of(BASE, {"weight_decay": [0.0, 0.1, 1.0]}, 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def add(store: Store, grid: Grid = GRID, **about: Any) -> int:
    return store.sweeps.add(grid, **about)


def here(store: Store, slots: int | None = None) -> Callable[[], Executor]:
    return lambda: Scheduler(store, device="cpu", slots=slots)


def runs(store: Store, sweep_id: int) -> list[RunRecord]:
    found = store.sweeps.runs(sweep_id)
    assert all(found)
    return [run for run in found if run]


def test_a_sweep_round_trips_and_is_found_by_number_and_name(store: Store) -> None:
    assert add(store) == 1
    assert add(store, name="decays", experiment="mine", device="cpu", threads=2) == 2
    sweep = store.sweeps.get(2)
    assert (sweep.label, sweep.name, sweep.experiment) == ("S2", "decays", "mine")
    assert (sweep.device, sweep.threads) == ("cpu", 2)
    assert sweep.grid == GRID and list(sweep.cells) == GRID.cells()
    assert store.sweeps.runs(2) == (None,) * 6
    assert [store.sweeps.find(text).id for text in ("S2", "s2", "2", "decays", "last")] == [2] * 5
    assert [found.id for found in store.sweeps.all()] == [2, 1]
    with pytest.raises(StoreError, match=r"There is no sweep decay; did you mean decays\?"):
        store.sweeps.find("decay")
    with pytest.raises(StoreError, match=r"There is no sweep \?\. `wdtui sweeps list`"):
        store.sweeps.find("\udcff")


def test_a_store_without_sweeps_is_migrated(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "wdtui.sqlite3", isolation_level=None)
    migrations._apply(connection, 1, migrations.m001_notebook)
    connection.close()
    with Store(tmp_path) as store:
        run_id = store.add_run(GRID.cells()[0].config)
        sweep = store.sweeps.get(add(store))
        assign(store, sweep)
        assert runs(store, sweep.id)[0].id == run_id


def test_each_cell_gets_a_run_of_its_own_once(store: Store) -> None:
    sweep = store.sweeps.get(add(store, experiment="mine"))
    for _ in range(2):
        assign(store, sweep)
    assert [run.config for run in runs(store, sweep.id)] == [cell.config for cell in sweep.cells]
    assert len(store.runs()) == 6 and {run.experiment for run in store.runs()} == {"mine"}


def test_the_version_of_the_memberships_sees_a_deletion_and_an_attachment_at_once(store: Store) -> None:
    sweep_id, first, second = add(store), store.add_run(BASE), store.add_run(BASE)
    store.sweeps.attach(sweep_id, 0, first)
    version = store.sweeps.memberships_version()
    assert store.sweeps.memberships_version() == version
    store.delete([first])
    store.sweeps.attach(sweep_id, 1, second)
    assert [one.run_ids for one in store.sweeps.memberships()] == [{second}]
    assert store.sweeps.memberships_version() != version


def test_a_run_that_is_queued_for_a_cell_is_seen_with_its_cell_or_not_at_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else another process could give the cell that run, which the first then took away again as superfluous."""
    sweep = store.sweeps.get(add(store))
    seen, attach = [], sweeps._attach

    def look(*arguments: Any) -> None:
        with Store(store.folder) as other:
            seen.append(len(other.runs()) - sum(map(bool, other.sweeps.runs(sweep.id))))
        attach(*arguments)

    monkeypatch.setattr(sweeps, "_attach", look)
    assign(store, sweep)
    assert seen == [0] * 6 and len(runs(store, sweep.id)) == 6


def test_two_processes_that_assign_at_once_add_no_run_twice(store: Store) -> None:
    sweep = store.sweeps.get(add(store))
    threads = [threading.Thread(target=assign, args=(store, sweep)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.runs()) == len(runs(store, sweep.id)) == 6


def test_a_cell_uses_the_best_of_equal_runs(store: Store) -> None:
    config = BASE.replace(weight_decay=0.1)
    failed, waiting, diverged, done, other = (store.add_run(config) for _ in range(5))
    for run_id, status in ((failed, Status.FAILED), (diverged, Status.DIVERGED), (done, Status.DONE)):
        store.set_status(store.run(run_id).claim, status)
    store.set_status(store.run(other).claim, Status.DONE)
    grid = Grid.of(BASE, {"weight_decay": [0.1]})

    def taken() -> int:
        sweep = store.sweeps.get(add(store, grid))
        assign(store, sweep)
        return runs(store, sweep.id)[0].id

    chosen = []
    for _ in range(5):
        chosen.append(taken())
        store.delete([chosen[-1]])
    assert chosen == [done, other, diverged, failed, waiting]


@pytest.mark.parametrize("way", ["steered", "forked"])
def test_modified_runs_are_not_used_for_a_sweep(way: str, store: Store) -> None:
    grid = Grid.of(BASE, {"weight_decay": [0.1]})
    plan = (Steering(5, "weight_decay", 0.1, 1.0),)
    first = store.add_run(BASE, parent=(7, 30)) if way == "forked" else store.add_run(BASE, plan=plan)
    store.set_status(store.run(first).claim, Status.DONE)
    sweep = store.sweeps.get(add(store, grid))
    assign(store, sweep)
    assert runs(store, sweep.id)[0].id != first


def test_equal_configs_have_one_fingerprint_also_from_before_a_field_was_added() -> None:
    import json

    def text(config: RunConfig, *without: str) -> str:
        return json.dumps({name: value for name, value in config.to_mapping().items() if name not in without})

    assert fingerprint(RunConfig.schema(), text(RunConfig())) == fingerprint(
        RunConfig.schema(), text(RunConfig(), "shuffle")
    )
    assert fingerprint(RunConfig.schema(), text(RunConfig())) != fingerprint(
        RunConfig.schema(), text(RunConfig(shuffle=True))
    )
    normalized = RunConfig(normalized_weight_decay=0.05)
    assert (
        fingerprint(RunConfig.schema(), text(normalized))
        == fingerprint(RunConfig.schema(), text(normalized, "loss"))
        != fingerprint(RunConfig.schema(), text(RunConfig()))
    )


def test_complete_trains_missing_runs_and_reports_every_change(store: Store) -> None:
    sweep_id = add(store)
    seen: list[Progress] = []
    progress = complete(store, sweep_id, executor=here(store, 2), on_change=seen.append)
    assert progress.complete and progress.states == {"done": 6}
    assert progress.steps == 6 * BASE.steps and progress.steps_left == 0
    assert seen[0].finished == 0 and seen[0].steps_left == 6 * BASE.steps and seen[-1].complete
    first = runs(store, sweep_id)
    again = complete(store, sweep_id, executor=here(store))
    assert runs(store, sweep_id) == first and again.speed is None
    assert [row.values for row in again.table.rows] == [(0.0,), (0.1,), (1.0,)]


def test_a_run_that_fails_is_tried_once_and_does_not_end_the_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[float] = []
    points = Training.points

    def failing(self: Training, poll_commands: Any) -> Any:
        trained.append(self.config.weight_decay)
        if self.config.weight_decay == 0.1:
            raise RuntimeError("no memory left")
        return points(self, poll_commands)

    monkeypatch.setattr(Training, "points", failing)
    sweep_id = add(store, Grid.of(BASE, {"weight_decay": [0.0, 0.1, 1.0]}))
    progress = complete(store, sweep_id, executor=here(store, 1))
    assert progress.states == {"done": 2, "failed": 1} and not progress.complete and progress.steps_left == 0
    assert sorted(trained) == [0.0, 0.1, 1.0]
    monkeypatch.undo()
    assert complete(store, sweep_id, executor=here(store)).complete


def test_a_full_disk_ends_a_sweep_that_resumes_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise StoreError("The disk is full.")

    sweep_id = add(store, Grid.of(BASE, {"weight_decay": [0.0, 0.1]}))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "report", full)
        patch.setattr(Store, "set_status", full)
        progress = complete(store, sweep_id, executor=here(store, 1))
    assert progress.states == {"interrupted": 2}
    assert {run.reason for run in runs(store, sweep_id)} == {"The disk is full."}
    assert complete(store, sweep_id, executor=here(store, 1)).complete


def test_a_reason_to_stop_saves_checkpoints_and_starts_no_more_runs(store: Store) -> None:
    grid = Grid.of(BASE.replace(epochs=100_000, log_every=100), {"weight_decay": [0.0, 0.1]})
    sweep_id = add(store, grid)
    begun = lambda: any(run.step for run in runs(store, sweep_id))  # noqa: E731
    progress = complete(store, sweep_id, executor=here(store, 1), stop=lambda: "Enough" if begun() else "")
    (interrupted,) = [run for run in runs(store, sweep_id) if run.step]
    assert interrupted.status == Status.INTERRUPTED and interrupted.reason.startswith("Enough at step")
    assert interrupted.checkpoint_step and not progress.complete
    assert progress.states == {"interrupted": 2}


def test_a_reason_to_stop_before_the_start_leaves_no_run_queued(store: Store) -> None:
    progress = complete(store, add(store), executor=here(store), stop=lambda: "Interrupted by Ctrl-C")
    assert progress.states == {"interrupted": 6} and progress.steps == 0


@pytest.mark.parametrize("end", [Status.DONE, Status.STOPPED])
def test_a_run_that_another_process_trains_is_waited_for(store: Store, end: Status) -> None:
    sweep_id = add(store, Grid.of(BASE, {"weight_decay": [0.0, 0.1]}))
    assign(store, store.sweeps.get(sweep_id))
    other, own = (run.id for run in runs(store, sweep_id))
    claim(store, other)
    ended: list[Progress] = []
    waiting = threading.Thread(target=lambda: ended.append(complete(store, sweep_id, executor=here(store))))
    waiting.start()
    deadline = time.monotonic() + 60
    while store.run(own).status != Status.DONE and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert waiting.is_alive() and store.run(other).status == Status.RUNNING
    store.set_status(store.run(other).claim, end)
    waiting.join(20)
    assert ended and store.run(other).status == end  # whoever stops it there does not want it here either


def test_resumed_runs_report_their_own_speed_at_first(store: Store) -> None:
    sweep = store.sweeps.get(add(store))
    assign(store, sweep)
    for run in runs(store, sweep.id)[:2]:
        claim(store, run.id)
        point = Point(5, 1, (0.5,) * len(BASE.columns))
        store.append(store.run(run.id).claim, [point], speed=30.0, milestones={})
    seen: list[Progress] = []
    complete(store, sweep.id, executor=here(store), on_change=seen.append, stop=lambda: "Enough" if seen[1:] else "")
    here_too = sum(run.speed or 0.0 for run in seen[1].runs[2:] if run and run.status == Status.RUNNING)
    assert seen[1].seconds < 1 and seen[1].speed == 60 + here_too


def test_more_workers_take_less_time(store: Store) -> None:
    work = [(BASE, 1000), (BASE.replace(width=256), 1000)]
    one = expected_seconds(work, store.runs(), workers=1, threads=None)
    assert one > 1.0
    assert expected_seconds(work, store.runs(), workers=2, threads=None) == one / 2


def test_runs_that_another_process_has_queued_are_not_marked_as_interrupted(store: Store) -> None:
    mine, theirs = store.add_run(RunConfig()), store.add_run(RunConfig())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        store.hand_queue([theirs], other.pid)
        interrupt_waiting(store, [mine, theirs], "Interrupted by Ctrl-C")
        assert [store.run(run_id).status for run_id in (mine, theirs)] == [Status.INTERRUPTED, Status.QUEUED]
        other.communicate(b"\n")
    interrupt_waiting(store, [theirs], "Interrupted by Ctrl-C")  # an orphan now, which nobody else trains
    assert store.run(theirs).status == Status.INTERRUPTED
