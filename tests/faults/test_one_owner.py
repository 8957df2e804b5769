"""One owner only: clocks that are set, processes that fall silent and come back, hosts and containers of one name.

Whatever happens, at most one process writes to a run, a live run is not deleted, and a finished one is what its
config and plan say. Other hosts are played by rows as they would write them, and by processes that believe to be
elsewhere; nothing here needs privileges.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fault_tools import TINY, assert_begins_as, ended, forked, trained, training
from store_tools import CONFIG, claim, point

from wdtui.runs.checks import check_run
from wdtui.store import checkpoints as checkpoints_module
from wdtui.store import observer, processes
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.processes import Owner
from wdtui.store.records import Claim
from wdtui.store.store import OwnershipLostError, RunBusyError, Status, Store, StoreError

SILENCE = 1.0
LONG = dataclasses.replace(TINY, epochs=200)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "SILENCE_SECONDS", SILENCE)


@pytest.fixture
def children() -> Iterator[list[int]]:
    """Processes that a test starts, and that do not outlive it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def owned_by_a_child(store: Store, children: list[int]) -> int:
    """A run that a process trains, or so the store says."""
    run_id = store.add_run(CONFIG)

    def own() -> None:
        with Store(store.folder) as mine:
            claim(mine, run_id)
            time.sleep(600)

    children.append(forked(own))
    until(lambda: store.run(run_id).status == Status.RUNNING)
    return run_id


def written_elsewhere(store: Store, run_id: int, owner: Owner, ahead: float, beats: int) -> None:
    """Write to a run's row as a process elsewhere would, whose clock is ahead by so many seconds."""
    with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
        connection.execute(
            "UPDATE runs SET status = 'running', host = ?, domain = ?, pid = ?, process_start = ?, heartbeat = ?,"
            " beats = ?, started = 1, seal = NULL WHERE id = ?",
            (owner.host, owner.domain, owner.pid, owner.start, time.time() + ahead, beats, run_id),
        )


def assert_taken(store: Store, run_id: int) -> None:
    """Nobody else can have the run, and it cannot be deleted."""
    with pytest.raises(RunBusyError):
        claim(store, run_id)
    with pytest.raises(RunBusyError):
        store.transition(run_id, Status.QUEUED)
    with pytest.raises(StoreError, match="stop it before you delete it"):
        store.delete([run_id])


# Clocks


@pytest.mark.parametrize("step", [3.0, -3.0, 70.0, -70.0])
def test_setting_the_clock_makes_no_second_owner(
    store: Store, children: list[int], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    run_id = owned_by_a_child(store, children)
    now, create_time = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: now() + step)
    monkeypatch.setattr(psutil.Process, "create_time", lambda *of: create_time(*of) + step)  # it follows the clock
    assert_taken(store, run_id)
    assert store.run(run_id).state == "running"


def test_the_clock_of_another_host_is_ignored(store: Store) -> None:
    clocks = {store.add_run(CONFIG): ahead for ahead in (70.0, -70.0, 0.0)}
    elsewhere = Owner("elsewhere", "another boot", os.getpid(), 5.0)
    began = time.monotonic()
    beats = 0
    while time.monotonic() - began < 1.5 * SILENCE:
        beats += 1
        for run_id, ahead in clocks.items():
            written_elsewhere(store, run_id, elsewhere, ahead, beats)
        for run_id in clocks:
            assert_taken(store, run_id)
        time.sleep(SILENCE / 8)
    last = time.monotonic() + 3 * SILENCE
    assert [store.run(run_id).state for run_id in clocks] == ["running"] * 3
    for run_id in clocks:  # no heartbeat comes any more
        until(lambda run_id=run_id: store.run(run_id).status == Status.INTERRUPTED, last - time.monotonic())
        claim(store, run_id)


def test_a_remote_owner_is_unconfirmed_until_its_first_heartbeat(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    elsewhere = Owner("elsewhere", "another boot", os.getpid(), 5.0)
    written_elsewhere(store, run_id, elsewhere, 0.0, 1)
    run = store.run(run_id)
    assert (run.status, run.state) == (Status.RUNNING, "unconfirmed")
    assert "host elsewhere" in run.reason and "No heartbeat" in run.reason
    written_elsewhere(store, run_id, elsewhere, 0.0, 2)
    run = store.run(run_id)
    assert (run.state, run.reason) == ("running", "")


# Containers


def test_a_container_with_the_same_host_name_is_not_judged_by_its_process_ids(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.add_run(CONFIG)
    nobody = max(psutil.pids()) + 1_000_000  # no process of this id is here
    written_elsewhere(store, run_id, Owner(socket.gethostname(), "this boot, another namespace", nobody, 5.0), 0.0, 1)
    assert_taken(store, run_id)


def test_a_container_does_not_judge_an_outside_owner_by_its_process_id(
    store: Store, children: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = owned_by_a_child(store, children)
    here = processes.domain()
    monkeypatch.setattr(processes, "domain", lambda: here.replace("pid:[", "pid:[1"))
    monkeypatch.setattr(processes, "_look", lambda pid: (1.0, True))  # another process has its number there
    assert_taken(store, run_id)


# A process that falls silent and comes back


def replayed(folder: Path, run_id: int) -> int:
    with Store(folder) as store:
        run = store.run(run_id)
        again = store.add_run(run.config, plan=run.plan)
    trained(folder, again)
    return again


def stop_between_writes(store: Store, pid: int) -> None:
    """Stop a process where it holds no lock of the file: within a write it would keep everybody else waiting."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        connection = sqlite3.connect(store.folder / "wdtui.sqlite3", timeout=0.2, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize("moment", ["while the run is trained", "after the run is done"])
def test_a_process_that_returns_does_not_write_to_a_run_taken_over(
    store: Store, children: list[int], moment: str
) -> None:
    run_id = store.add_run(LONG)
    stale = training(store.folder, run_id, _elsewhere)
    children.append(stale)
    until(lambda: store.run(run_id).checkpoint_step)
    stop_between_writes(store, stale)
    until(lambda: store.run(run_id).status == Status.INTERRUPTED)
    left_at = store.run(run_id).step
    store.transition(run_id, Status.QUEUED)
    store.send(run_id, "steer", {"weight_decay": 0.05})
    if moment == "after the run is done":
        trained(store.folder, run_id)
        before = _all_of(store, run_id)
        os.kill(stale, signal.SIGCONT)
        assert ended(stale) == 3
        assert _all_of(store, run_id) == before
    else:
        successor = training(store.folder, run_id)
        children.append(successor)
        until(lambda: store.run(run_id).pid == successor and store.run(run_id).plan)
        os.kill(stale, signal.SIGCONT)
        assert ended(stale) == 3
        assert store.run(run_id).pid == successor
        assert ended(successor) == 0
    run = store.run(run_id)
    assert (run.status, run.reason) == (Status.DONE, "") and 0 < left_at < run.steps
    assert {event.kind for event in store.events(run_id)} <= {"steered", "resumed"}
    assert [finding for finding in check_run(store, run_id) if finding.agrees is False] == []
    assert_begins_as(store, run_id, replayed(store.folder, run_id))


def _elsewhere() -> None:
    """This process believes to be on another machine."""
    processes.domain = lambda: "another boot"


def _all_of(store: Store, run_id: int) -> Any:
    run = store.run(run_id)
    files = {path.name: path.read_bytes() for path in Checkpoints.of(store.folder, run).folder.iterdir()}
    return run, store.curves(run_id).values.tobytes(), store.events(run_id), files


def test_taking_over_one_run_of_a_batch_does_not_affect_the_others(store: Store, children: list[int]) -> None:
    config = dataclasses.replace(LONG, engine="ensemble", width=16)
    lost, kept = store.add_run(config), store.add_run(dataclasses.replace(config, seed=1))

    def work() -> None:
        from wdtui.runs import child

        os._exit(child.main([str(store.folder), f"{lost},{kept}", "--device", "cpu", "--threads", "1"]))

    both = forked(work)
    children.append(both)
    until(lambda: store.run(lost).step and store.run(kept).step)
    taken = Claim(lost, store.run(lost).token + 1)
    with store._database.writing() as connection:  # as a claim elsewhere would
        connection.execute("UPDATE runs SET token = token + 1, seal = NULL WHERE id = ?", (lost,))
    left_at = store.run(lost).step
    assert ended(both) == 0
    assert store.run(kept).status == Status.DONE
    run = store.run(lost)  # no reason and no status of its own: only that its process has ended is seen
    assert (
        run.reason == "Its process ended without an error message." and run.step == left_at and not store.events(lost)
    )
    store.set_status(taken, Status.INTERRUPTED)
    trained(store.folder, lost)
    assert check_run(store, lost)[0].agrees


# Every write


WRITES = {
    "append": lambda store, claim: store.append(claim, [point(90)], speed=1.0, milestones={}),
    "truncate": lambda store, claim: store.truncate(claim, 0),
    "inherit": lambda store, claim: store.inherit(claim, 1, 10),
    "beat": lambda store, claim: store.heartbeat(claim),
    "set_status": lambda store, claim: store.set_status(claim, Status.DONE),
    "set_checkpoint": lambda store, claim: store.set_checkpoint(claim, 5),
    "add_event": lambda store, claim: store.add_event(claim, 5, "error"),
    "take": lambda store, claim: store.take(claim, store.commands(claim.run_id)[0], ()),
    "hold": lambda store, claim: store.hold(claim),
    "drop checkpoints": lambda store, claim: store.checkpoints(store.run(2), claim).drop_after(0),
    "save a checkpoint": lambda store, claim: store.checkpoints(store.run(2), claim).save(5, {"plan": []}, {}),
}


@pytest.mark.parametrize("how", ["claimed", "queued", "deleted"])
@pytest.mark.parametrize("write", WRITES)
def test_a_superseded_owner_can_write_nothing(store: Store, write: str, how: str) -> None:
    store.add_run(CONFIG)
    run_id = store.add_run(CONFIG)
    old = claim(store, run_id)
    store.append(old, [point(10)], speed=1.0, milestones={})
    Checkpoints.of(store.folder, store.run(run_id)).save(3, {"plan": []}, {})
    store.set_status(old, Status.INTERRUPTED)
    if how == "claimed":
        claim(store, run_id)
    if how == "queued":
        store.transition(run_id, Status.QUEUED)
    store.send(run_id, "pause")
    folder = Checkpoints.of(store.folder, store.run(run_id)).folder
    before, files = store.run(run_id), sorted(folder.iterdir())
    if how == "deleted":
        store.delete([run_id])
        if "checkpoint" in write or write == "take":
            return  # these read the run first
    with pytest.raises(OwnershipLostError):
        WRITES[write](store, old)
    if how != "deleted":
        assert store.run(run_id) == before and len(store.commands(run_id)) == 1
        assert store.curves(run_id).steps.tolist() == [10] and not store.events(run_id)
        assert sorted(folder.iterdir()) == files
    else:
        assert not folder.exists(), "nothing is written where the run has been deleted"


def test_an_owner_superseded_during_a_checkpoint_replaces_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.add_run(CONFIG)
    old = claim(store, run_id)
    position = {"epoch": 0, "batch": 3, "plan": []}
    Checkpoints.of(store.folder, store.run(run_id)).save(3, position | {"by": "the new owner"}, {})
    checkpoints = store.checkpoints(store.run(run_id), old)
    fsync = os.fsync

    def taken_over(file: int) -> None:
        fsync(file)
        monkeypatch.undo()
        store.set_status(old, Status.INTERRUPTED)
        claim(store, run_id)

    monkeypatch.setattr(os, "fsync", taken_over)
    with pytest.raises(OwnershipLostError):
        checkpoints.save(3, position | {"by": "the old owner"}, {})
    newest = Checkpoints(store.folder, run_id, store.run(run_id).created).newest()  # of no config: it has no tensors
    assert newest and newest.position["by"] == "the new owner"
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_a_checkpoint_that_contradicts_the_plan_is_skipped(store: Store) -> None:
    """What an owner may leave that was taken over in the very moment between looking and writing."""
    run_id = store.add_run(TINY)
    trained(store.folder, run_id)
    run = store.run(run_id)
    checkpoints = Checkpoints.of(store.folder, run)
    newest = checkpoints.newest()
    assert newest
    plan = [{"step": 5, "field": "weight_decay", "old": 0.1, "new": 9.0, "epochs": 0}]
    checkpoints.save(newest.step, {**newest.position, "plan": plan}, newest.tensors)
    store.set_status(run.claim, Status.INTERRUPTED)
    store.truncate(run.claim, newest.step - run.config.steps_per_epoch)
    trained(store.folder, run_id)
    [resumed] = [event for event in store.events(run_id) if event.kind == "resumed"]
    assert resumed.step < newest.step
    other = store.add_run(TINY)
    trained(store.folder, other)
    assert_begins_as(store, run_id, other)
    np.testing.assert_array_equal(store.curves(run_id).steps, store.curves(other).steps)


def test_a_superseded_owner_deletes_no_file_of_its_successor(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.add_run(CONFIG)
    old = claim(store, run_id)
    mine, position = store.checkpoints(store.run(run_id), old), {"epoch": 0, "batch": 3, "plan": []}
    there: list[Path] = []
    remove = checkpoints_module._remove

    def taken_over(path: Path) -> None:
        """Between the last look at the claim and the first removal, another owner comes and gets further."""
        monkeypatch.setattr(checkpoints_module, "_remove", remove)
        store.set_status(old, Status.INTERRUPTED)
        theirs = store.checkpoints(store.run(run_id), claim(store, run_id))
        theirs.save(7, position | {"batch": 7}, {})
        there.extend(theirs.folder.glob("step-*7.*"))
        remove(path)

    mine.save(1, position | {"batch": 1}, {})
    mine.save(2, position | {"batch": 2}, {})
    monkeypatch.setattr(checkpoints_module, "_remove", taken_over)
    mine.save(3, position, {})
    assert len(there) == 2 and all(path.exists() for path in there)
