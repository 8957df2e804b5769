"""Who holds a run: claims, killed owners, threads and processes at once."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from store_tools import CONFIG, append, claim, in_python, point

from wdtui.store import processes, records
from wdtui.store.processes import Life
from wdtui.store.store import RunBusyError, RunStoppedError, Status, Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


# Owners


def test_every_status_is_live_finished_or_claimable() -> None:
    assert set(Status) - {Status.DAMAGED} == records.LIVE | records.FINISHED | records.CLAIMABLE


def test_claiming_makes_this_process_the_owner(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    claim(store, run_id)
    run = store.run(run_id)
    assert (run.status, run.device, run.threads, run.pid) == (Status.RUNNING, "cpu", 1, os.getpid())
    assert run.versions == {"torch": "2.13.0"}
    assert run.started == run.heartbeat and run.ended is None
    with pytest.raises(RunBusyError):
        claim(store, run_id)
    store.set_status(store.run(run_id).claim, Status.PAUSED)
    with pytest.raises(RunBusyError):
        claim(store, run_id)


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED])
def test_a_run_that_ended_early_can_be_claimed_again(store: Store, status: Status) -> None:
    run_id = store.add_run(CONFIG)
    claim(store, run_id)
    store.set_status(store.run(run_id).claim, status, "Because.")
    run = store.run(run_id)
    assert (run.status, run.reason) == (status, "Because.") and run.ended is not None
    claim(store, run_id)
    run = store.run(run_id)
    assert (run.status, run.reason, run.ended) == (Status.RUNNING, "", None)


def test_a_stopped_run_can_be_claimed_once_it_is_queued_again(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    store.transition(run_id, Status.STOPPED, "Stopped before it started.")
    with pytest.raises(RunStoppedError, match="`wdtui resume 1` trains it"):
        claim(store, run_id)
    assert store.run(run_id).reason == "Stopped before it started."
    store.transition(run_id, Status.QUEUED)
    claim(store, run_id)
    assert store.run(run_id).status == Status.RUNNING


@pytest.mark.parametrize("status", [Status.DONE, Status.DIVERGED])
def test_a_finished_run_cannot_be_claimed(store: Store, status: Status) -> None:
    run_id = store.add_run(CONFIG)
    store.set_status(store.run(run_id).claim, status)
    with pytest.raises(StoreError, match=f"Run {run_id} is {status}, so there is nothing to train"):
        claim(store, run_id)


def test_of_many_claims_one_succeeds(store: Store) -> None:
    run_id = store.add_run(CONFIG)

    def attempt(_: int) -> bool:
        try:
            claim(store, run_id)
        except RunBusyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_the_run_of_a_killed_owner_keeps_its_points_and_can_be_claimed(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, point(10))
    code = f"store.claim({run_id}, device='cpu', threads=1, versions={{}})\nprint('mine', flush=True)\ntime.sleep(60)"
    with in_python(code, store.folder, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == "mine\n"
        with pytest.raises(RunBusyError, match=f"Run {run_id} is being trained by process {child.pid} on host"):
            claim(store, run_id)
        assert store.run(run_id).status == Status.RUNNING
        revision = store.revision()
        child.send_signal(signal.SIGKILL)
        child.wait()
    [run] = store.runs_since(revision)  # listed although nobody changed it
    assert (run.status, run.reason) == (Status.INTERRUPTED, "Its process ended without an error message.")
    assert run.ended == run.heartbeat
    claim(store, run_id)
    assert store.run(run_id).status == Status.RUNNING
    assert len(store.curves(run_id)) == 1


def test_an_owner_is_identified_by_boot_namespace_and_start() -> None:
    me = processes.this_process()
    assert processes.life(me) == Life.ALIVE
    assert processes.life(dataclasses.replace(me, start=me.start - 1)) == Life.GONE  # the number was given anew
    assert processes.life(dataclasses.replace(me, domain="another boot")) == Life.UNKNOWN
    assert processes.find_process(os.getpid()) == me


def test_without_proc_an_owner_is_identified_by_host_and_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", Path("/nowhere"))
    me = processes.this_process()
    assert me.pid == os.getpid() and socket.gethostname() in me.domain
    assert processes.life(me) == Life.ALIVE
    assert processes.life(dataclasses.replace(me, start=me.start - 1)) == Life.GONE
    assert processes.life(dataclasses.replace(me, pid=max(psutil.pids()) + 1_000_000)) == Life.GONE


def test_a_process_that_cannot_be_inspected_is_not_considered_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = processes.this_process()
    monkeypatch.setattr(processes, "domain", lambda: me.domain)
    (tmp_path / "self").symlink_to(str(me.pid))  # a /proc that hides all other processes
    (tmp_path / str(me.pid)).mkdir()
    (tmp_path / str(me.pid) / "stat").write_text((Path("/proc/self/stat")).read_text())
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    hidden = dataclasses.replace(me, pid=os.getppid())
    assert processes.life(me) == Life.ALIVE and processes.life(hidden) == Life.UNKNOWN
    assert processes.life(dataclasses.replace(me, pid=max(psutil.pids()) + 1_000_000)) == Life.GONE
    (tmp_path / "self").unlink()
    (tmp_path / str(me.pid)).rename(tmp_path / "1")
    (tmp_path / "self").symlink_to("1")  # that of another namespace, where other processes have these numbers
    assert processes.life(me) == Life.UNKNOWN


def test_a_zombie_is_not_an_owner() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = processes.find_process(child.pid)
    assert owner and processes.life(owner) == Life.ALIVE
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    assert processes.life(owner) == Life.GONE
    child.wait()
    assert processes.life(owner) == Life.GONE and processes.find_process(child.pid) is None


# Threads and processes


def test_concurrent_writes_of_threads_lose_nothing(store: Store) -> None:
    ids = [store.add_run(CONFIG) for _ in range(2)]

    def train(run_id: int) -> None:
        for step in range(200):
            append(store, run_id, point(step))

    threads = [threading.Thread(target=train, args=(run_id,)) for run_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [np.diff(store.curves(run_id).steps).tolist() for run_id in ids] == [[1] * 199] * 2
    assert store.revision() == 402


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    for _ in range(5):
        thread = threading.Thread(target=store.runs)
        thread.start()
        thread.join()
    assert len(store._database._connections) <= 2


def test_processes_can_create_a_store_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    children = [in_python("for _ in range(20): store.add_run(RunConfig())", folder) for _ in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    with Store(folder) as store:
        assert sorted(run.id for run in store.runs()) == list(range(1, 81))
        assert store.revision() == 80


def test_a_failed_transaction_leaves_no_trace_and_no_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wdtui.store.rows.change", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.add_run(CONFIG)
    monkeypatch.undo()
    assert store.runs() == []
    assert len([store.add_run(CONFIG)]) == 1
