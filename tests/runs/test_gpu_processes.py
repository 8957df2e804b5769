"""Runs on GPUs: a process for each device, and what is left after a CUDA error. The GPUs here are made up."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.runs import scheduler as scheduling
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.trainer import start_process
from wdtui.store.store import Status, Store

FOREVER = 1_000_000
BROKEN, DYING = 666, 667
"""Seeds of runs that break the GPU of their process, and that end the process."""
GPUS = f"""
import os, signal

import torch
import wdtui.problems.addition.engine.problem as problem
import wdtui.training.devices as devices

open_session, broken = problem.open_session, []


def on_gpu(config, device, plan):
    assert device.startswith("cuda:"), device
    if config.seed == {DYING}:
        os.kill(os.getpid(), signal.SIGABRT)
    if broken or config.seed == {BROKEN}:
        broken.append(config.seed)
        raise RuntimeError(
            "CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be reported later"
        )
    return open_session(config, "cpu", plan)


problem.open_session = on_gpu
devices.available_devices = lambda: ["cuda:0", "cuda:1", "cpu"]
torch.cuda.is_initialized = lambda: True
torch.cuda.set_device = lambda device: None
torch.cuda.get_device_name = lambda device: "Fast"
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def gpus(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, which the processes that train find as soon as they start."""
    folder = tmp_path_factory.mktemp("gpus")
    (folder / "sitecustomize.py").write_text(GPUS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(
        scheduling, "choice_of_devices", lambda name: ("cuda:0", "cuda:1") if name == "cuda" else (name,)
    )


@pytest.fixture
def scheduler(store: Store) -> Iterator[Scheduler]:
    scheduler = Scheduler(store, device="cuda:0")
    yield scheduler
    scheduler.interrupt("The test is over")
    assert scheduler.wait(20)


def add(store: Store, epochs: int, seed: int = 0) -> int:
    """A run that trains alone, not in a batch."""
    config = RunConfig(width=8, train_size=320, validation_size=16, test_size=16, epochs=epochs, seed=seed)
    return store.add_run(config.replace(engine="alone"))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_after_a_cuda_error_the_next_run_has_a_fresh_process(store: Store, scheduler: Scheduler) -> None:
    sound, broken, after = add(store, 3), add(store, 3, BROKEN), add(store, 3)
    scheduler.submit(sound, broken, after)
    until(lambda: not scheduler.at_work)
    assert [store.run(run_id).status for run_id in (sound, broken, after)] == [Status.DONE, Status.FAILED, Status.DONE]
    reason = "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert store.run(broken).reason == reason
    assert [(one.run_id, one.kind) for one in scheduler.notices()] == [
        (sound, "ended"), (broken, "failed"), (after, "ended")
    ]  # fmt: skip
    assert store.run(after).versions["gpu"] == "Fast" and store.run(after).versions["tf32"] == "off"


def test_a_process_that_no_scheduler_watches_goes_on_after_a_cuda_error(store: Store) -> None:
    broken, after = add(store, 3, BROKEN), add(store, 3)
    process = start_process(store.folder, [(broken,), (after,)], device="cuda:1", threads=1)
    store.hand_queue([broken, after], process.pid)
    assert process.wait(60) == 0
    assert [store.run(run_id).status for run_id in (broken, after)] == [Status.FAILED, Status.DONE]
    assert store.run(after).pid == process.pid and store.run(after).device == "cuda:1"


def test_a_process_that_the_driver_aborts_takes_no_other_run_along(store: Store, scheduler: Scheduler) -> None:
    dying, after = add(store, 3, DYING), add(store, 3)
    scheduler.submit(dying, after)
    until(lambda: not scheduler.at_work)
    assert [store.run(run_id).status for run_id in (dying, after)] == [Status.INTERRUPTED, Status.DONE]
    killed, ended = scheduler.notices()
    assert killed.kind == "failed" and "ended without an error message (Aborted)" in killed.text
    assert (ended.run_id, ended.kind) == (after, "ended")


def test_every_gpu_has_one_process_at_a_time(store: Store, scheduler: Scheduler) -> None:
    one, other, waiting = (add(store, FOREVER) for _ in range(3))
    scheduler.submit(one, other, waiting, device="cuda")
    until(lambda: store.run(one).step > 0 and store.run(other).step > 0)
    time.sleep(0.3)  # there would be cores enough
    assert scheduler.live == (one, other) and scheduler.queue == (waiting,)
    assert [store.run(run_id).device for run_id in (one, other)] == ["cuda:0", "cuda:1"]
    store.send(other, "stop")
    until(lambda: store.run(waiting).step > 0)
    assert store.run(waiting).device == "cuda:1" and store.run(waiting).pid == store.run(other).pid


def test_an_idle_process_trains_only_where_it_has_trained(store: Store, scheduler: Scheduler) -> None:
    first, second = add(store, 3), add(store, 3)
    scheduler.submit(first, device="cuda:0")
    scheduler.submit(second, device="cuda:1")
    scheduler.slots = 1
    until(lambda: store.run(second).status == Status.DONE)
    assert store.run(first).pid != store.run(second).pid


@pytest.mark.fresh_processes
def test_a_training_process_sees_the_gpus_that_this_one_sees(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python, seen = tmp_path / "python", tmp_path / "seen"
    python.write_text(f'#!/bin/sh\nprintf %s "$CUDA_VISIBLE_DEVICES" > {seen}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8932f937")
    start_process(store.folder, [(1,)], device="cuda:1", threads=1).wait(20)
    assert seen.read_text() == os.environ["CUDA_VISIBLE_DEVICES"] == "3,GPU-8932f937"
