"""A run in a thread of its own: what the app and the headless command line both start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from wdtui.runs.store import Status, Store

if TYPE_CHECKING:
    from wdtui.runs.runner import Runner


class Worker(threading.Thread):
    """Trains one run; once the thread has ended, `status` or `error` says how."""

    def __init__(self, store: Store, run_id: int, *, device: str = "auto", threads: int | None = None) -> None:
        super().__init__(name=f"run {run_id}", daemon=True)
        self.run_id = run_id
        self.status: Status | None = None
        self.error: Exception | None = None
        self._store = store
        self._device = device
        self._threads = threads
        self._runner: Runner | None = None
        self._interruption = ""

    def run(self) -> None:
        from wdtui.runs.runner import Runner  # here, because it imports torch

        try:
            self._runner = Runner(self._store, self.run_id, device=self._device, threads=self._threads)
            self._runner.interruption = self._interruption
            self.status = self._runner.run()
        except Exception as error:
            self.error = error

    def interrupt(self, reason: str) -> None:
        """Have the run stop before its next step, with a checkpoint; returns at once."""
        self._interruption = reason
        if self._runner:
            self._runner.interruption = reason
