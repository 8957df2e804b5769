"""Real training processes that die at chosen moments, and what must be true of the store afterwards.

The processes are forked from one that has imported torch, and run the entry of the program's own training process, so
that a hundred of them take a minute. A process is killed either by SIGKILL after a while, or at a precise moment by a
timer whose signal nobody handles: the kernel ends it then, in the middle of a write or commit, as `kill -9` would.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wdtui.problems.addition.config import RunConfig
from wdtui.runs import child, runner
from wdtui.runs.checks import check_run
from wdtui.store import checkpoints
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.records import LIVE, Status
from wdtui.store.store import Store

TINY = RunConfig(
    width=8, train_size=160, validation_size=20, test_size=20, batch_size=32, epochs=60, bn_epsilon=1e-3, keep_every=15
)
Prepare = Callable[[], None]
"""Called in the forked process before it trains."""


def forked(work: Callable[[], Any]) -> int:
    """Do some work in a forked process; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        work()
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def training(folder: Path, run_id: int, prepare: Prepare = lambda: None) -> int:
    """Train a run in a forked process, with checkpoints as often as can be; returns its id."""

    def work() -> None:
        train_hastily()
        prepare()
        os._exit(child.main([str(folder), str(run_id), "--device", "cpu", "--threads", "1"]))

    return forked(work)


def train_hastily() -> None:
    """Have this process write down and save as often as can be, and so what it forks."""
    runner._POLL_SECONDS, runner._REPORT_SHARE = 0.005, 1.0
    runner._CHECKPOINT_SECONDS, runner._CHECKPOINT_SHARE = 0.02, 1.0


def ended(pid: int) -> int:
    """Wait for a process; returns its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die_within(seconds: float) -> None:
    """Have the kernel end this process at a random moment of the next so many seconds."""
    signal.setitimer(signal.ITIMER_REAL, max(random.random() * seconds, 1e-6))


def dying_in_a_checkpoint(nth: int, may: Callable[[], bool] = lambda: True) -> Prepare:
    """Die while the nth file of a checkpoint is being written: before, between or after its writing and renaming.

    Before that, `may` is asked whether to.
    """

    def prepare() -> None:
        write, calls = checkpoints._write, iter(range(1, 10**6))

        def dying(path: Path, data: bytes, hold: Any) -> None:
            if next(calls) == nth and may():
                die_within(0.003)
            write(path, data, hold)

        checkpoints._write = dying

    return prepare


def dying_in_a_commit(nth: int, may: Callable[[], bool] = lambda: True) -> Prepare:
    """Die within the nth transaction's commit, or just before or after it; before that, `may` is asked whether to."""

    def prepare() -> None:
        connect, calls = sqlite3.connect, iter(range(1, 10**6))

        class Dying(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                if statement == "COMMIT" and next(calls) == nth and may():
                    die_within(0.0005)
                return super().execute(statement, *values)

        sqlite3.connect = lambda *a, **o: connect(*a, factory=Dying, **o)  # type: ignore

    return prepare


def trained(folder: Path, run_id: int) -> None:
    """Train a run to its end, in a process of its own."""
    assert ended(training(folder, run_id)) == 0
    with Store(folder) as store:
        assert store.run(run_id).status == Status.DONE, store.run(run_id).reason


def reference(folder: Path, config: RunConfig = TINY) -> int:
    """A run that nobody disturbs."""
    with Store(folder) as store:
        run_id = store.add_run(config)
    trained(folder, run_id)
    return run_id


def assert_sound(folder: Path, run_id: int, undisturbed: int) -> None:
    """After a process has died: the store is whole, and what it holds of the run is the beginning of the other one."""
    with Store(folder) as store:
        assert store.check() is None
        run = store.run(run_id)
        assert run.status not in LIVE
        assert_begins_as(store, run_id, undisturbed)
        points, steps = store.curves(run_id).steps, Checkpoints.of(folder, run).steps()
        saved = max(steps, default=0)
        assert saved < (points[-1] if len(points) else 0) + run.config.steps_per_epoch, "points before checkpoints"


def assert_begins_as(store: Store, run_id: int, undisturbed: int, reference: Store | None = None) -> None:
    """All points of a run are those of the other one, bit for bit, from the first on and without a gap.

    The other one is of the same store, unless it is of a reference.
    """
    curves, expected = store.curves(run_id), (reference or store).curves(undisturbed)
    many = len(curves)
    assert curves.steps.tolist() == expected.steps[:many].tolist()
    for name in curves.names:
        if name != "steps_per_second":
            np.testing.assert_array_equal(curves[name], expected[name][:many], err_msg=name)


def assert_same(folder: Path, run_id: int, undisturbed: int) -> None:
    with Store(folder) as store:
        assert len(store.curves(run_id)) == len(store.curves(undisturbed))
        assert_begins_as(store, run_id, undisturbed)
        assert [finding for finding in check_run(store, run_id) if finding.agrees is False] == []


def killed_at_random(folder: Path, run_id: int, moment: str) -> bool:
    """Train a run in a process that dies at a random moment of a kind; returns whether it died before the end."""
    if moment == "training":
        pid = training(folder, run_id)
        time.sleep(random.random() * 0.3)
        os.kill(pid, signal.SIGKILL)
    elif moment == "checkpoint":
        pid = training(folder, run_id, dying_in_a_checkpoint(random.randint(1, 12)))
    else:
        pid = training(folder, run_id, dying_in_a_commit(random.randint(1, 60)))
    return ended(pid) in (-signal.SIGKILL, -signal.SIGALRM)
