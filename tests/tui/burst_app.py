"""The workbench with runs that train, as a program of its own: SIGURG has it say how it is, SIGVTALRM put all back.

    burst_app.py STORE REPORTS CONFIG RUNS SOCKET

STORE is a folder, REPORTS the number of a file descriptor that takes a line of JSON per report, CONFIG what the runs
have in common as JSON, RUNS how many there are, and SOCKET where a server is offered that forks their processes, or "".
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import forked
from textual.widgets import Input

import wdtui.tui.app
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.scheduler import Scheduler
from wdtui.store.store import Store
from wdtui.support import environment
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.screens.workbench import Workbench


class Watched(WorkbenchApp):
    """Tells what it is like, and can be put back."""

    CSS_PATH = Path(wdtui.tui.app.__file__).with_name("app.tcss")
    reports: int

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGURG, self.report)
        loop.add_signal_handler(signal.SIGVTALRM, lambda: self.run_worker(self.clear()))
        self.call_after_refresh(self.report)

    def report(self) -> None:
        box = self.focused
        state = {
            "screens": [type(screen).__name__ for screen in self.screen_stack],
            "inside": [node.id for node in box.ancestors_with_self if node.id] if box else [],
            "text": box.value if isinstance(box, Input) else "",
            "theme": self.theme,
            "training": sum(run.live and run.step > 0 for run in self.snapshot.runs),
        }
        os.write(self.reports, json.dumps(state).encode() + b"\n")

    async def clear(self) -> None:
        while not isinstance(self.screen, Workbench):
            await self.pop_screen()
        self.theme = "wdtui-dark"
        self.screen.query_one("#filter", Input).value = ""
        self.screen.query_one("#filter").display = False
        self.screen.form.use_config(RunConfig())
        self.screen.action_leave_form()


def main(folder: str, reports: str, config: str, runs: str, server: str) -> None:
    if server:
        forked.accept(server)
        environment.start_module = forked.start_module  # type: ignore[assignment]
    with Store(Path(folder)) as store:
        scheduler = Scheduler(store, device="cpu", slots=3)
        common = RunConfig(epochs=1_000_000, **json.loads(config))
        scheduler.submit(*(store.add_run(common.replace(seed=seed)) for seed in range(int(runs))))
        app = Watched(store, scheduler, device="cpu")
        app.reports = int(reports)
        app.run()
        scheduler.interrupt("The test is over")
        scheduler.wait(30)


if __name__ == "__main__":
    main(*sys.argv[1:])
