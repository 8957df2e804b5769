"""Many runs at once: order, room, and what is left of a run whose process or app has ended.

`WDTUI_TEST_DEVICE=cuda pytest tests/runs/test_scheduler.py` trains on that device. Tests marked `cpu_only` need two
processes at once on one device, or memory that this machine counts; they are skipped.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from store_tools import claim, in_python

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.sizes import training_bytes
from wdtui.runs.placement import batch_key, has_room
from wdtui.runs.scheduler import Notice, Scheduler, _Job
from wdtui.runs.worker import ChildDiedError, ChildWorker, Worker, _last_line
from wdtui.schema.steering import Steering
from wdtui.store.processes import this_process
from wdtui.store.store import Status, Store
from wdtui.support import machine
from wdtui.support.store_files import log_path

FOREVER = 1_000_000
DEVICE = os.environ.get("WDTUI_TEST_DEVICE", "cpu")
cpu_only = pytest.mark.skipif(DEVICE != "cpu", reason=f"WDTUI_TEST_DEVICE is {DEVICE}")


def tiny(epochs: int, seed: int = 0) -> RunConfig:
    return RunConfig(
        width=8, train_size=320, validation_size=16, test_size=16, epochs=epochs, log_every=min(epochs, 20), seed=seed
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture
def scheduler(store: Store) -> Iterator[Scheduler]:
    scheduler = Scheduler(store, device=DEVICE, slots=1)
    yield scheduler
    scheduler.interrupt("The test is over")
    assert scheduler.wait(20)


def add(store: Store, epochs: int, seed: int = 0) -> int:
    return store.add_run(tiny(epochs, seed))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def under_way(store: Store, run_id: int) -> Callable[[], bool]:
    """Whether the run has points."""
    return lambda: store.run(run_id).step > 0


def only_notice(scheduler: Scheduler) -> Notice:
    """Waits for it."""
    until(lambda: bool(scheduler._notices))
    [notice] = scheduler.notices()
    return notice


def assert_same_curves(store: Store, one: int, other: int) -> None:
    first, second = store.curves(one), store.curves(other)
    assert first.steps.tolist() == second.steps.tolist()
    for name in first.names:
        if name != "steps_per_second":
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


# Rules


@pytest.mark.parametrize(
    ("device", "threads", "live", "slots", "room"),
    [
        ("cpu", 9, [], None, True),
        ("cpu", 1, [("cpu", 2), ("cpu", 1)], None, True),
        ("cpu", 2, [("cpu", 2), ("cpu", 1)], None, False),
        ("cpu", 1, [("cpu", 4)], 2, True),
        ("cpu", 1, [("cpu", 1)], 1, False),
        ("cpu", 1, [("cuda:0", 1)] * 9, None, True),
        ("cuda:0", 1, [("cpu", 4)], None, True),
        ("cuda:0", 1, [("cuda:0", 1)], None, False),
        ("cuda:0", 1, [("cuda:0", 1)], 2, False),
        ("cuda:1", 1, [("cuda:0", 1)], None, True),
        ("cuda:1", 1, [("cuda:0", 1)], 1, False),
        ("mps", 1, [("mps", 1)], None, False),
        ("mps", 1, [("mps", 1)], 4, False),
    ],
)
def test_room_on_four_cores(
    device: str, threads: int, live: list[tuple[str, int]], slots: int | None, room: bool
) -> None:
    assert has_room(device, threads, live, slots=slots, cores=4) == room


def test_a_run_that_is_to_change_its_loss_on_the_way_has_no_company_on_a_gpu() -> None:
    config = tiny(3)
    assert batch_key(config, "cuda:0", (Steering(10, "weight_decay", 0.1, 0.5),)) == batch_key(config, "cuda:0", ())
    assert batch_key(config, "cuda:0", ()) is not None
    assert batch_key(config, "cuda:0", (Steering(10, "loss", "mse", "cross_entropy"),)) is None


def test_the_scheduler_is_there_without_torch() -> None:
    code = "import sys, wdtui.runs.scheduler, wdtui.runs.child; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# The queue


@cpu_only
def test_runs_start_in_order_as_slots_permit(store: Store, scheduler: Scheduler) -> None:
    one, two, three, four = (add(store, FOREVER) for _ in range(4))
    for run_id in (two, one, three, four):
        scheduler.submit(run_id)
    until(under_way(store, two))
    assert (scheduler.live, scheduler.queue) == ((two,), (one, three, four))
    scheduler.slots = 2
    until(under_way(store, one))
    assert (scheduler.live, scheduler.queue) == ((two, one), (three, four))
    scheduler.slots = 1
    store.send(one, "stop")
    until(lambda: scheduler.live == (two,))
    assert only_notice(scheduler) == Notice(one, "ended", store.run(one).reason, Status.STOPPED)
    store.send(two, "stop")
    until(lambda: scheduler.live == (three,))
    assert scheduler.queue == (four,)
    with pytest.raises(ValueError, match="slots 0: give at least 1"):
        scheduler.slots = 0


def test_a_run_taken_out_of_the_queue_is_stopped(store: Store, scheduler: Scheduler) -> None:
    one, two = add(store, FOREVER), add(store, 3)
    scheduler.submit(one)
    scheduler.submit(two)
    scheduler.submit(two)
    assert only_notice(scheduler).text == f"Run {two} is in the queue."
    until(under_way(store, one))
    assert scheduler.cancel(two)
    assert not scheduler.cancel(two) and not scheduler.cancel(one)
    assert scheduler.queue == ()
    until(lambda: store.run(two).status == Status.STOPPED)
    assert store.run(two).reason == f"Removed from the queue. `wdtui resume {two}` trains it."
    scheduler.submit(two)
    until(lambda: store.run(two).status == Status.QUEUED)
    assert scheduler.queue == (two,)


def test_a_queued_run_that_another_process_stops_is_not_begun(store: Store, scheduler: Scheduler) -> None:
    scheduler.slots = 1
    first, second, third = add(store, 100_000), add(store, 1, 1), add(store, 1, 2)
    scheduler.submit(first, second, third)
    until(under_way(store, first))
    with Store(store.folder) as other:
        other.set_status(other.run(second).claim, Status.STOPPED, "Stopped before it started.")
        other.send(first, "stop")
    until(lambda: store.run(third).status == Status.DONE)
    assert store.run(second).status == Status.STOPPED and not store.run(second).step
    assert "Stopped before it started." in {notice.text for notice in scheduler.notices() if notice.run_id == second}


def test_a_run_that_cannot_be_trained_is_a_notice(store: Store, scheduler: Scheduler) -> None:
    busy, done, homeless = (add(store, 3) for _ in range(3))
    claim(store, busy)
    scheduler.submit(busy)
    assert only_notice(scheduler) == Notice(
        busy,
        "refused",
        f"Run {busy} is being trained by process {os.getpid()} on host {store.run(busy).host}.",
        Status.RUNNING,
    )
    store.set_status(store.run(done).claim, Status.DONE)
    scheduler.submit(done)
    assert only_notice(scheduler).text == f"Run {done} is done, so there is nothing to train."
    scheduler.submit(99)
    assert only_notice(scheduler).kind == "refused"
    scheduler.submit(homeless, device="cuda:77")
    assert only_notice(scheduler).text.startswith("device cuda:77: it is not available on this machine")
    assert store.run(homeless).status == Status.FAILED
    assert (scheduler.live, scheduler.queue) == ((), ())


def test_a_run_claimed_in_the_meantime_is_a_notice(store: Store, scheduler: Scheduler) -> None:
    one, two = add(store, FOREVER), add(store, 3)
    scheduler.submit(one)
    scheduler.submit(two)
    until(under_way(store, one))
    claim(store, two)
    scheduler.slots = 2
    notice = only_notice(scheduler)
    assert (notice.run_id, notice.kind, notice.status) == (two, "refused", Status.RUNNING)
    assert scheduler.live == (one,)


# Processes


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(store: Store) -> None:
    undisturbed, disturbed, waiting = add(store, 300), add(store, 300), add(store, 3)
    first = Scheduler(store, device=DEVICE, slots=2)
    first.submit(undisturbed)
    until(lambda: store.run(undisturbed).status == Status.DONE)
    first.submit(disturbed)
    until(under_way(store, disturbed))
    first.slots = 1
    first.submit(waiting)
    first.interrupt("The app was closed")
    assert first.wait(20)
    assert [run.status for run in store.runs()] == [Status.INTERRUPTED, Status.INTERRUPTED, Status.DONE]
    assert store.run(disturbed).reason.startswith("Terminated at step ")
    assert (
        store.run(waiting).reason
        == f"The app was closed while run {waiting} waited. `wdtui resume {waiting}` trains it."
    )
    assert first.queue == (waiting,)

    second = Scheduler(store, device=DEVICE)
    second.submit(disturbed, threads=1)
    until(lambda: bool(second.notices()))
    assert [run.status for run in store.runs()] == [Status.INTERRUPTED, Status.DONE, Status.DONE]
    assert len({os.getpid(), store.run(undisturbed).pid, store.run(disturbed).pid}) == 3
    assert [event.kind for event in store.events(disturbed)] == ["resumed"]
    assert_same_curves(store, undisturbed, disturbed)


@pytest.mark.fresh_processes
def test_a_process_that_dies_leaves_an_interrupted_run_and_the_scheduler_goes_on(
    store: Store, scheduler: Scheduler
) -> None:
    one, two = add(store, FOREVER), add(store, 3)
    scheduler.submit(one)
    scheduler.submit(two)
    until(under_way(store, one))
    pid = store.run(one).pid
    assert pid is not None and os.getsid(pid) == pid
    os.kill(pid, signal.SIGSEGV)
    until(lambda: store.run(two).status == Status.DONE)
    until(lambda: len(scheduler._notices) == 2)
    killed, ended = scheduler.notices()
    assert (killed.run_id, killed.kind, killed.status) == (one, "failed", Status.INTERRUPTED)
    assert killed.text.startswith(
        f"The process that trained run {one} ended without an error message (Segmentation fault)"
    )
    assert ended == Notice(two, "ended", f"Run {two} is done.", Status.DONE)
    assert store.run(one).status == Status.INTERRUPTED


def kill_its_process(store: Store, run_id: int, before: int | None = None) -> int:
    """Kill the process that trains a run, as the system does where memory has run out; returns its id."""
    until(lambda: store.run(run_id).live and store.run(run_id).pid not in (None, before))
    pid = store.run(run_id).pid
    assert pid is not None and pid != os.getpid()
    os.kill(pid, signal.SIGKILL)
    return pid


@cpu_only
def test_a_run_whose_process_the_system_kills_is_tried_once_more_alone_and_others_go_on(
    store: Store, scheduler: Scheduler
) -> None:
    run_id, companion, queued = add(store, 800), add(store, FOREVER), add(store, 3)
    scheduler.slots = 2
    scheduler.submit(run_id, companion, queued)
    until(under_way(store, companion))
    store.send(run_id, "checkpoint")
    until(lambda: store.run(run_id).checkpoint_step is not None)
    kill_its_process(store, run_id)
    until(lambda: store.run(queued).status == Status.DONE)
    until(lambda: store.run(run_id).status == Status.QUEUED)
    assert store.run(run_id).reason.endswith("It is tried once more, alone.")
    until(lambda: scheduler.live == (companion,))
    time.sleep(0.3)  # there would be room, and it waits until it is alone
    assert store.run(companion).live and scheduler.live == (companion,) and scheduler.queue == (run_id,)
    store.send(companion, "stop")
    until(lambda: store.run(run_id).live)
    late = add(store, 3)
    scheduler.submit(late)
    until(lambda: store.run(run_id).status == Status.DONE)
    until(lambda: store.run(late).status == Status.DONE)
    started, ended = store.run(late).started, store.run(run_id).ended
    assert started and ended and started >= ended
    assert [event.kind for event in store.events(run_id)] == ["killed", "resumed"]


def test_a_killed_run_that_another_process_has_taken_by_now_is_left_to_it(store: Store, scheduler: Scheduler) -> None:
    run_id = add(store, 3)
    claim(store, run_id)
    scheduler._admit(_Job(run_id, "cpu", 1, again=True))
    assert store.run(run_id).live and store.events(run_id) == []
    assert [notice.kind for notice in scheduler.notices()] == ["refused"]


def test_a_run_whose_process_is_killed_twice_has_failed_and_says_so(store: Store, scheduler: Scheduler) -> None:
    run_id, other = add(store, FOREVER), add(store, 3)
    scheduler.submit(run_id, other)
    first = kill_its_process(store, run_id)
    until(lambda: store.run(other).status == Status.DONE)
    kill_its_process(store, run_id, first)
    until(lambda: store.run(run_id).status == Status.FAILED)
    assert store.run(run_id).reason.startswith(
        f"The system killed the process that trained run {run_id}, and killed it again while it trained alone."
    )
    until(lambda: not scheduler.at_work)
    assert [(notice.run_id, notice.kind) for notice in scheduler.notices()] == [(other, "ended"), (run_id, "failed")]


@cpu_only
def test_runs_that_together_need_more_memory_than_there_is_wait_for_each_other(
    store: Store, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = add(store, FOREVER), add(store, 3)
    monkeypatch.setattr(machine, "available_memory", lambda: int(1.5 * training_bytes(tiny(3))))
    scheduler.slots = 2
    scheduler.submit(one, two)
    until(under_way(store, one))
    time.sleep(0.5)
    assert scheduler.live == (one,) and scheduler.queue == (two,)
    store.send(one, "stop")
    until(lambda: store.run(two).status == Status.DONE)


def test_a_group_whose_process_is_killed_after_its_first_run_was_done_is_interrupted(
    store: Store, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ids = done, *cut_off = [add(store, 3, seed) for seed in range(3)]
    gone = dataclasses.replace(this_process(), start=0.0)
    monkeypatch.setattr("wdtui.store.store.this_process", lambda: gone)
    for run_id in run_ids:
        claim(store, run_id)
    store.set_status(store.run(done).claim, Status.DONE)
    log_path(store.folder, done).parent.mkdir()
    log_path(store.folder, done).touch()
    killed: Any = SimpleNamespace(
        pid=gone.pid, begin=lambda job: None, answer=lambda: None, exit_status=lambda: -signal.SIGKILL, gone=True
    )
    worker = ChildWorker(store, done, beside=cut_off, trainer=killed, on_end=scheduler._finish)
    scheduler._live.update(dict.fromkeys(run_ids, worker))
    scheduler._leaving = True  # else they were tried once more
    worker.run()
    assert isinstance(worker.error, ChildDiedError)
    assert f"The process that trained run {cut_off[0]} ended without an error message (Killed)" in str(worker.error)
    assert [store.run(run_id).status for run_id in run_ids] == [Status.DONE, *[Status.INTERRUPTED] * 2]


@cpu_only
def test_a_terminated_process_leaves_a_checkpoint(store: Store, scheduler: Scheduler) -> None:
    started, starting = add(store, FOREVER), add(store, FOREVER)
    scheduler.slots = 2
    scheduler.submit(started)
    until(under_way(store, started), 60)
    scheduler.submit(starting)
    until(lambda: len(scheduler.live) == 2)
    scheduler.interrupt("The app was closed")
    assert scheduler.wait(20)
    run = store.run(started)
    assert run.status == Status.INTERRUPTED and run.reason.startswith("Terminated at step")
    assert run.checkpoint_step and run.checkpoint_step >= run.step
    assert store.run(starting).status == Status.INTERRUPTED
    assert {notice.kind for notice in scheduler.notices()} == {"ended"}


def test_a_run_that_comes_after_the_interruption_is_interrupted_too(store: Store) -> None:
    late, stopped = add(store, 3), add(store, 3)
    store.transition(stopped, Status.STOPPED, "Stopped before it started.")
    scheduler = Scheduler(store, device=DEVICE, slots=1)
    scheduler.interrupt("Interrupted by Ctrl-C")
    scheduler.submit(late, stopped)
    assert scheduler.wait(20)
    assert [run.status for run in store.runs()] == [Status.STOPPED, Status.INTERRUPTED]
    assert store.run(late).reason.startswith(f"Interrupted by Ctrl-C while run {late} waited.")


def test_a_process_that_somebody_terminates_takes_no_other_run_along(store: Store, scheduler: Scheduler) -> None:
    one, two = add(store, FOREVER), add(store, 3)
    scheduler.slots = 1
    scheduler.submit(one, two)
    until(under_way(store, one))
    pid = store.run(one).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    until(lambda: store.run(two).status == Status.DONE)
    assert store.run(one).reason.startswith("Terminated at step")


@pytest.mark.fresh_processes
def test_a_process_that_cannot_begin_fails_its_run_with_its_last_word(
    store: Store, scheduler: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Traceback\necho 'ImportError: libtorch.so: no such file' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    run_id = add(store, 3)
    log_path(store.folder, run_id).parent.mkdir()
    log_path(store.folder, run_id).write_text("what an earlier process said\n")
    scheduler.submit(run_id)
    assert only_notice(scheduler) == Notice(run_id, "failed", store.run(run_id).reason, Status.FAILED)
    assert store.run(run_id).reason == "ImportError: libtorch.so: no such file"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    scheduler.submit(run_id)
    assert only_notice(scheduler).text.startswith("FileNotFoundError: ")


def test_workers_can_be_interrupted_before_they_start(store: Store) -> None:
    thread, process = Worker(store, add(store, FOREVER)), ChildWorker(store, add(store, FOREVER))
    for worker in (thread, process):
        worker.interrupt("Not now")
        worker.start()
        worker.join(20)
    assert (thread.status, process.status, process.pid) == (Status.INTERRUPTED, Status.QUEUED, None)
    assert store.run(thread.run_id).reason.startswith("Not now at step 0.")


def test_a_process_that_exits_interrupts_the_run_in_its_thread(store: Store) -> None:
    run_id = add(store, FOREVER)
    code = (
        "from wdtui.runs.worker import Worker\nWorker(store, 1).start()\nwhile not store.run(1).step: time.sleep(0.05)"
    )
    assert in_python(code, store.folder).wait(60) == 0
    assert store.run(run_id).status == Status.INTERRUPTED
    assert store.run(run_id).reason.startswith("Its process ended at step ")


def test_a_run_that_another_process_has_taken_over_is_no_failure(store: Store, scheduler: Scheduler) -> None:
    run_id = add(store, FOREVER)
    scheduler.submit(run_id)
    until(under_way(store, run_id))
    with store._database.writing() as connection:  # as a claim elsewhere would
        connection.execute("UPDATE runs SET token = token + 1 WHERE id = ?", (run_id,))
    until(lambda: not scheduler.live)
    [notice] = scheduler.notices()
    assert (notice.kind, notice.status) == ("refused", Status.RUNNING) and "was taken over" in notice.text
    assert store.run(run_id).reason == "" and not store.events(run_id)


# Detaching


@cpu_only
def test_live_and_queued_runs_go_on_after_the_scheduler_detached(store: Store) -> None:
    undisturbed, going, paused, queued, last = (add(store, epochs) for epochs in (250, 250, FOREVER, 3, 3))
    scheduler = Scheduler(store, device=DEVICE, slots=2)
    for run_id in (undisturbed, paused):
        scheduler.submit(run_id)
    until(under_way(store, paused))
    store.send(paused, "pause")
    until(lambda: store.run(paused).status == Status.PAUSED)
    until(lambda: store.run(undisturbed).status == Status.DONE)
    for run_id in (going, queued, last):
        scheduler.submit(run_id)
    until(under_way(store, going))
    assert scheduler.detach() == (paused, going, queued, last)
    assert scheduler.queue == ()
    assert [store.run(run_id).status for run_id in (going, paused)] == [Status.RUNNING, Status.PAUSED]
    waiting = store.run(last)  # it is the new process's from now on, whatever becomes of this one
    assert waiting.state == "queued" and waiting.pid not in (None, os.getpid())
    until(lambda: store.run(last).status == Status.DONE, 90)
    runs = [store.run(run_id) for run_id in (going, queued, last)]
    assert [run.status for run in runs] == [Status.DONE] * 3
    assert runs[1].pid == runs[2].pid and len({os.getpid(), runs[0].pid, runs[1].pid}) == 3
    ended, started = runs[0].ended, runs[1].started
    assert ended is not None and started is not None and ended < started
    assert_same_curves(store, undisturbed, going)
    store.send(paused, "stop")
    until(lambda: store.run(paused).status == Status.STOPPED)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), TypeError("unexpected argument")])
def test_a_run_that_cannot_be_started_fails_and_nobody_waits_for_it(
    store: Store, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def start(worker: Worker) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", start)
        run_id = store.add_run(tiny(1))
        scheduler.submit(run_id)
        deadline = time.monotonic() + 60
        while scheduler.queue and time.monotonic() < deadline:
            time.sleep(0.01)
    (notice,) = scheduler.notices()
    assert (notice.run_id, notice.kind, notice.status) == (run_id, "failed", Status.FAILED)
    assert str(error) in notice.text and not scheduler.live


def test_the_last_line_of_a_log_is_found_without_reading_all_of_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("the first line\n")
    os.truncate(log, 10**12)
    with log.open("a") as file:
        file.write("\nthe last line\n\n")
    assert _last_line(log, 0) == "the last line" and _last_line(log, log.stat().st_size) == ""
