"""A run in a thread of its own, which trains it or watches over a process that does: what the faces start."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui.runs.trainer import Job, Trainer
from wdtui.store.paths import log_path
from wdtui.store.store import RunBusyError, RunStoppedError, Status, Store, StoreError
from wdtui.support.errors import TrainingError, WdtuiError

if TYPE_CHECKING:
    from wdtui.runs.group import Group
    from wdtui.runs.runner import Runner

BUSY, STORE_FAILED = 3, 4
"""Exit statuses of `wdtui.runs.child` where the run has an owner, and where the store says no; 0 leaves it all to the
run's status in the store, and any other means that nothing was begun."""


SIGNALS = {
    signal.SIGINT: "Interrupted by Ctrl-C",
    signal.SIGTERM: "Terminated",
    signal.SIGUSR1: "Stopped by SIGUSR1",
    signal.SIGUSR2: "Stopped by SIGUSR2",
}
"""Signals that stop a run with a checkpoint, and how its reason begins.

Batch systems send SIGUSR1 or SIGUSR2 some time before they kill a job.
"""
_LAST_BYTES = 100_000
"""Of a log, where its last line is looked for."""
_LAST_SECONDS = 10.0
"""How long an exiting process waits for runs in its threads to write a checkpoint."""
_in_threads: set[Worker] = set()
"""Workers of this process that train in their thread."""


class ChildError(TrainingError):
    """The process that was to train a run ended before it had begun; the message is its last word."""


class ChildDiedError(TrainingError):
    """The process that trained runs was killed; the store shows the runs as interrupted."""

    def __init__(self, run_ids: Sequence[int], code: int) -> None:
        """`code` is its exit status, or minus the signal that ended it."""
        how = signal.strsignal(-code) if code < 0 else f"exit status {code}"
        hint = f"`wdtui resume {run_ids[0]}` continues from its last checkpoint"
        super().__init__(f"The process that trained run {run_ids[0]} ended without an error message ({how}). {hint}.")
        self.run_ids = tuple(run_ids)
        self.by_system = code == -signal.SIGKILL
        """Whether it was killed as the system kills what has taken the last of the memory."""


class KilledTwiceError(TrainingError):
    """The process that trained a run was killed, and so was the one that tried again."""

    def __init__(self, run_id: int) -> None:
        super().__init__(
            f"The system killed the process that trained run {run_id}, and killed it again while it trained alone. "
            "It probably needs more memory than is available. "
            f"`wdtui resume {run_id}` tries once more from its last checkpoint."
        )


class Worker(threading.Thread):
    """Trains one run, or several side by side; once the thread has ended, `status` or `error` says how the first did.

    The thread is a daemon: a process that exits, by an error too, interrupts it and waits for it for 10 seconds.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        *,
        beside: Sequence[int] = (),
        device: str = "auto",
        threads: int | None = None,
        on_end: Callable[[Worker], None] = lambda worker: None,
    ) -> None:
        """`beside` are more runs of the same shape; `on_end` is called in this thread as the last thing it does."""
        super().__init__(name=f"run {run_id}", daemon=True)
        self.run_id = run_id
        self.run_ids = (run_id, *beside)
        self.device = device
        self.threads = threads
        self.status: Status | None = None
        self.error: Exception | None = None
        self._store = store
        self._on_end = on_end
        self._runner: Runner | Group | None = None
        self._interruption = ""

    def run(self) -> None:
        try:
            self.status = self._train()
        except Exception as error:
            self.error = error
        self._on_end(self)

    def interrupt(self, reason: str) -> None:
        """Ask the run to stop before its next step, with a checkpoint; may be called before `start`."""
        self._interruption = reason
        if self._runner:
            self._runner.interruption = reason

    @property
    def begun(self) -> bool:
        """Whether the store holds of the run only what its training goes on from."""
        return self._runner is not None and self._runner.begun.is_set()

    @property
    def killed(self) -> tuple[int, ...]:
        """The runs whose process the system has killed, as it does where memory has run out."""
        return self.error.run_ids if isinstance(self.error, ChildDiedError) and self.error.by_system else ()

    def _train(self) -> Status:
        _in_threads.add(self)
        try:
            return self._train_in_thread()
        finally:
            _in_threads.discard(self)

    def _train_in_thread(self) -> Status:
        from wdtui.runs.group import runner_of  # here, because it imports torch

        self._runner = runner_of(self._store, self.run_ids, device=self.device, threads=self.threads)
        if self._interruption:  # set before there was a runner; one set from now on reaches the runner by itself
            self._runner.interruption = self._interruption
        try:
            return self._runner.run()
        except RunStoppedError:
            return Status.STOPPED


@atexit.register
def _interrupt_threads() -> None:
    """Python aborts the process (exit status 134) where it exits while a thread is at work in torch."""
    for worker in list(_in_threads):
        worker.interrupt("Its process ended")
        worker.join(_LAST_SECONDS)


class ChildWorker(Worker):
    """Watches over a process that trains runs; the process goes on where this one ends without interrupting it.

    `error` is a ChildError where the process could not begin, a ChildDiedError where it was killed.
    """

    def __init__(self, *arguments: Any, trainer: Trainer | None = None, **options: Any) -> None:
        """`trainer` is a process that has nothing else to do; without one a new one is started."""
        super().__init__(*arguments, **options)
        self.trainer = trainer
        """Once the thread has ended, a process that may train another run, or None where there is none left."""
        self.pid: int | None = None
        self.launched = threading.Event()
        """Set once the process exists, or never will."""
        self._starting = threading.Lock()

    def run(self) -> None:
        super().run()
        self.launched.set()

    def interrupt(self, reason: str) -> None:
        """Ask the process to stop its run before the next step, with a checkpoint, or do not start the process.

        The run's reason in the store is that its process was terminated.
        """
        with self._starting:
            self._interruption = reason
            if self.pid and self.trainer:
                self.trainer.terminate()

    def _train(self) -> Status:
        log = log_path(self._store.folder, self.run_id)
        seen = log.stat().st_size if log.exists() else 0
        with self._starting:
            if self._interruption:
                return self._store.run(self.run_id).status
            trainer = self.trainer = self.trainer or Trainer(self._store.folder, log)
            trainer.begin(Job(self.run_ids, self.device, self.threads))
            self.pid = trainer.pid
        self.launched.set()
        code = trainer.outcome()
        if self._interruption or trainer.gone:
            self.trainer = None
        return self._conclude(trainer.pid, code, log, seen)

    def _conclude(self, pid: int, code: int, log: Path, seen: int) -> Status:
        """How the run stands now that its process has ended."""
        record = self._store.run(self.run_id)
        if code == 0:
            return record.status
        killed = self._interrupted_with(pid)
        if code == -signal.SIGKILL and not (killed or self._interruption):  # before it had claimed any
            killed = [run_id for run_id in self.run_ids if self._store.run(run_id).status == Status.QUEUED]
        if killed and code not in (BUSY, STORE_FAILED):
            raise ChildDiedError(killed, code)
        if self._interruption and record.pid != pid:
            return record.status
        said = _last_line(log, seen) or f"Its process ended with status {code} before it started."
        raise {BUSY: RunBusyError, STORE_FAILED: StoreError}.get(code, ChildError)(said)

    def _interrupted_with(self, pid: int) -> list[int]:
        """Those of its runs, in order, that ended with the process; others may have ended before."""
        ended = {run.id for run in self._store.runs() if run.pid == pid and run.status == Status.INTERRUPTED}
        return [run_id for run_id in self.run_ids if run_id in ended]


def sentence(error: Exception) -> str:
    """An error as a reason: ours are sentences, others need their name."""
    return str(error) if isinstance(error, WdtuiError) else f"{type(error).__name__}: {error}"


def _last_line(log: Path, seen: int) -> str:
    """The last line of a log after so many bytes."""
    with open(log, "rb") as file:
        file.seek(max(seen, log.stat().st_size - _LAST_BYTES))
        lines = file.read(_LAST_BYTES).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
