"""What is decided beside the store about runs that a cluster trains; the cluster itself is tried in test_ray.py."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from store_tools import claim

from wdtui.problems.addition.config import RunConfig
from wdtui.store.processes import find_process, this_process
from wdtui.store.records import Status
from wdtui.store.rows import change
from wdtui.store.store import OwnershipLostError, Store, StoreError

pytest.importorskip("ray")

from wdtui.runs import cluster
from wdtui.runs.cluster import RayCluster, _StoreHost


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def test_a_run_stopped_or_deleted_in_the_queue_does_not_start(store: Store) -> None:
    waiting, stopped, deleted = (store.add_run(RunConfig()) for _ in range(3))
    store.set_status(store.run(stopped).claim, Status.STOPPED)
    store.delete([deleted])
    assert _StoreHost(store.folder).begin("first", [waiting, stopped, deleted]) == [waiting]


def test_only_the_next_attempt_continues_a_run_of_a_lost_node(store: Store) -> None:
    lost, stopped = (store.add_run(RunConfig()) for _ in range(2))
    host = _StoreHost(store.folder)
    assert host.begin("first", [lost, stopped]) == [lost, stopped]
    old = claim(store, lost)
    store.set_status(store.run(stopped).claim, Status.STOPPED)
    assert host.begin("second", [lost, stopped]) == [lost]
    assert [event.kind for event in store.events(lost)] == ["lost"]
    host.call("second", "heartbeat", store.run(lost).claim)
    with pytest.raises(StoreError, match="another node"):
        host.call("first", "heartbeat", old)


def test_a_task_on_a_gpu_has_a_gpu_and_a_process_to_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_device", lambda name: "cuda")
    monkeypatch.setattr(cluster, "_on_this_node", lambda actor: MagicMock())
    monkeypatch.setattr(cluster.ray, "get", lambda answer: this_process())
    options = RayCluster(store)._task._default_options
    assert (options["num_gpus"], options["max_calls"]) == (1, 1)


def hand_over(store: Store, run_id: int, pid: int) -> None:
    """Have another process seem to train a run."""
    owner = find_process(pid)
    assert owner
    with store._database.writing() as connection:
        change(connection, run_id, pid=owner.pid, process_start=owner.start)


def test_a_run_of_another_process_is_not_touched(store: Store) -> None:
    theirs, ours = (store.add_run(RunConfig()) for _ in range(2))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        host = _StoreHost(store.folder)
        claim(store, theirs)
        hand_over(store, theirs, other.pid)
        for attempt in ("first", "second"):
            assert host.begin(attempt, [theirs, ours]) == [ours]
        assert store.run(theirs).live and not store.events(theirs)


def test_an_interrupt_counts_only_attempts_that_still_respond(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, alive = (store.add_run(RunConfig()) for _ in range(2))
    host = _StoreHost(store.folder)
    host.begin("first", [lost, alive])
    later = time.monotonic() + 60
    monkeypatch.setattr(cluster.time, "monotonic", lambda: later)
    host.call("first", "events", alive)
    assert host.interrupt("Enough") == {alive}


def test_nothing_starts_after_a_stop(store: Store) -> None:
    begun, waiting = (store.add_run(RunConfig()) for _ in range(2))
    host = _StoreHost(store.folder)
    host.begin("first", [begun])
    assert host.interrupt("Enough") == {begun}
    assert host.begin("second", [waiting]) == [] and host.commands_to("first", [begun]) == ({}, "Enough")


def test_a_host_that_was_taken_over_writes_nothing_for_its_attempts(store: Store) -> None:
    run_id = store.add_run(RunConfig())
    host = _StoreHost(store.folder)
    host.begin("first", [run_id])
    old = host.call("first", "claim", run_id, device="cpu", threads=1, versions={})
    store.set_status(old, Status.INTERRUPTED)  # as another machine finds it after a long silence of this one
    claim(store, run_id)
    before = store.run(run_id)
    for ask in (
        lambda: host.call("first", "set_status", old, Status.DONE),
        lambda: host.call("first", "heartbeat", old),
        lambda: host.checkpoints("first", before, old, "save", 5, {"plan": []}, {}),
        lambda: host.checkpoints("first", before, old, "drop_after", -1),
    ):
        with pytest.raises(OwnershipLostError):
            ask()
    assert store.run(run_id) == before and store.checkpoints(before).steps() == []


def test_the_end_of_a_task_does_not_end_a_run_of_another_process(store: Store) -> None:
    ours, theirs, waiting = (store.add_run(RunConfig()) for _ in range(3))
    claim(store, ours)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        claim(store, theirs)
        hand_over(store, theirs, other.pid)
        ray_cluster = RayCluster.__new__(RayCluster)
        ray_cluster._store, ray_cluster._owner = store, this_process()
        ray_cluster._end((ours, theirs, waiting), Status.INTERRUPTED, "Its node stopped responding.", waiting=False)
        assert [store.run(run_id).status for run_id in (ours, theirs, waiting)] == [
            Status.INTERRUPTED, Status.RUNNING, Status.QUEUED
        ]  # fmt: skip
        ray_cluster._end((theirs, waiting), Status.FAILED, "Its node was lost.")
        assert [store.run(run_id).status for run_id in (theirs, waiting)] == [Status.RUNNING, Status.FAILED]
