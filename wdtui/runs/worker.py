"""Threads that train runs, or that watch a process which trains them."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui.runs.trainer import Job, Trainer
from wdtui.store.store import RunBusyError, RunRecord, RunStoppedError, Status, Store, StoreError
from wdtui.support.errors import TrainingError, WdtuiError
from wdtui.support.store_files import log_path
from wdtui.support.text import number

if TYPE_CHECKING:
    from wdtui.runs.group import Group
    from wdtui.runs.runner import Runner

BUSY, STORE_FAILED = 3, 4
"""Exit statuses of `wdtui.runs.child` where the run has an owner, and where the store refuses. 0 means that the run's
status in the store says everything, and any other number that nothing has begun."""


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
"""How much of a log's end is searched for its last line."""
_LAST_SECONDS = 10.0
"""How long a process that exits waits until the runs in its threads have written a checkpoint."""
_in_threads: set[Worker] = set()
"""The workers of this process that train in their own thread."""


class ChildError(TrainingError):
    """The process that should have trained a run ended before it began; the message is the last line of its log."""


class ChildDiedError(TrainingError):
    """The process that trained runs was killed; the store shows the runs as interrupted."""

    def __init__(self, runs: Sequence[RunRecord], code: int) -> None:
        """`code` is its exit status, or minus the signal that ended it."""
        run = runs[0]
        how = signal.strsignal(-code) if code < 0 else f"exit status {code}"
        after = f" after its point at step {number(run.step)}" if run.step else " before its first point"
        start = f"step {number(run.checkpoint_step)}" if run.checkpoint_step else "its beginning"
        super().__init__(
            f"The process that trained run {run.id} ended without an error message ({how}){after}. "
            f"`wdtui resume {run.id}` continues from {start}."
        )
        self.run_ids = tuple(run.id for run in runs)
        self.by_system = code == -signal.SIGKILL
        """Whether it was killed as the system kills what has taken the last of the memory."""


class KilledTwiceError(TrainingError):
    """The process that trained a run was killed, and so was the second one."""

    def __init__(self, run_id: int) -> None:
        super().__init__(
            f"The system killed the process that trained run {run_id}, and killed it again while it trained alone. "
            "It probably needs more memory than is available. "
            f"`wdtui resume {run_id}` tries once more from its last checkpoint."
        )


class Worker(threading.Thread):
    """Trains one run or a batch in its thread; once it has ended, `status` or `error` says how the first run ended.

    The thread is a daemon. A process that exits, also after an error, interrupts it and waits up to 10 seconds for it.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        *,
        beside: Sequence[int] = (),
        device: str = "auto",
        threads: int | None = None,
        on_end: Callable[[Any], None] = lambda worker: None,
    ) -> None:
        """`beside` are the other runs of the batch; this thread calls `on_end` last."""
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
        """Ask the run to stop with a checkpoint before its next step. This may come before `start`."""
        self._interruption = reason
        if self._runner:
            self._runner.interruption = reason

    @property
    def begun(self) -> bool:
        """Whether the store holds no points of the run beyond those that its training continues from."""
        return self._runner is not None and self._runner.begun.is_set()

    @property
    def killed(self) -> tuple[int, ...]:
        """The runs whose process the system killed, as it does when memory runs out."""
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
        if self._interruption:  # it came before the runner; later ones reach the runner directly
            self._runner.interruption = self._interruption
        try:
            return self._runner.run()
        except RunStoppedError:
            return Status.STOPPED


@atexit.register
def _interrupt_threads() -> None:
    """Python aborts (exit status 134) if it exits while a thread works in PyTorch."""
    for worker in list(_in_threads):
        worker.interrupt("Its process ended")
        worker.join(_LAST_SECONDS)


class ChildWorker(Worker):
    """Watches a process that trains runs.

    `error` is a ChildError if the process could not begin, and a ChildDiedError if it was killed.
    """

    def __init__(
        self,
        *arguments: Any,
        trainer: Trainer | None = None,
        bound: bool = False,
        background: bool = False,
        **options: Any,
    ) -> None:
        """`trainer` is an idle process; without one a new one starts, `background` says at a lower priority.

        If this process ends without interrupting it, the other one goes on, unless it is `bound` to this one.
        """
        super().__init__(*arguments, **options)
        self._bound, self._background = bound, background
        self.trainer = trainer
        """Once the thread has ended, a process that can train another run, or None."""
        self.pid: int | None = None
        self.launched = threading.Event()
        """Set once the process exists, or cannot be started."""
        self._starting = threading.Lock()

    def run(self) -> None:
        super().run()
        self.launched.set()

    def interrupt(self, reason: str) -> None:
        """Ask the process to stop its run with a checkpoint before the next step, or do not start it.

        The reason that the store then shows is that its process was terminated.
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
            trainer = self.trainer = self.trainer or Trainer(
                self._store.folder, log, bound=self._bound, background=self._background
            )
            trainer.begin(Job(self.run_ids, self.device, self.threads))
            self.pid = trainer.pid
        self.launched.set()
        answer = trainer.answer()
        code = trainer.exit_status() if answer is None else answer
        if self._interruption or trainer.gone:
            self.trainer = None
        return self._conclude(trainer.pid, code, answer is None, log, seen)

    def _conclude(self, pid: int, code: int, died: bool, log: Path, seen: int) -> Status:
        """The run's status, now that its process has said how it ended, or has died."""
        runs = self._store.these(self.run_ids)
        if died:
            killed = [run for run in runs if run.pid == pid and run.abandoned]
            if code == -signal.SIGKILL and not (killed or self._interruption):  # before it claimed any
                killed = [run for run in runs if run.status == Status.QUEUED]
            if killed:
                raise ChildDiedError(killed, code)
        if code == 0 or (self._interruption and runs[0].pid != pid):
            return runs[0].status
        said = _last_line(log, seen) or f"Its process ended with status {code} before it started."
        raise {BUSY: RunBusyError, STORE_FAILED: StoreError}.get(code, ChildError)(said)


def sentence(error: Exception) -> str:
    """An error as a reason on one line. Ours are sentences, others need the name of their type."""
    message = str(error)
    if message.startswith("CUDA error"):  # PyTorch adds lines about how to debug it
        message = message.partition("\n")[0]
    return message if isinstance(error, WdtuiError) else f"{type(error).__name__}: {' '.join(message.split())}"


def _last_line(log: Path, seen: int) -> str:
    """The last line of a log after its first `seen` bytes."""
    with open(log, "rb") as file:
        file.seek(max(seen, log.stat().st_size - _LAST_BYTES))
        lines = file.read(_LAST_BYTES).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
