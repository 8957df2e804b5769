"""The workbench in the terminal. Importing this costs nothing; `open_app` imports what it needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdtui.config import RunConfig


class TerminalError(Exception):
    """The terminal at hand cannot show the workbench, said in one sentence."""


def open_app(
    store_folder: Path | None,
    *,
    device: str = "auto",
    start: RunConfig | None = None,
    experiment: str = "",
    name: str = "",
    fps: float = 4,
    mouse: bool = True,
) -> int:
    """Show the workbench on a store until it is left; return the exit status.

    A config to `start` is queued at once. Raises TerminalError before anything is drawn, and StoreError.
    """
    check_terminal()
    from wdtui.runs.scheduler import Scheduler
    from wdtui.runs.store import Store
    from wdtui.tui.app import Opening, WorkbenchApp

    with Store(store_folder) as store:
        opening = Opening(config=start, experiment=experiment, name=name) if start else None
        app = WorkbenchApp(store, Scheduler(store, device=device), device=device, opening=opening, fps=fps)
        app.run(mouse=mouse)
        return app.return_code or 0


def check_terminal() -> None:
    """Raise TerminalError where Textual would wait forever or write escapes that nobody reads."""
    hint = "`wdtui run … --headless` trains without a screen"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise TerminalError(f"The workbench needs a terminal, and there is none here; {hint}.")
    if os.environ.get("TERM", "") in ("dumb", ""):
        raise TerminalError(f"The workbench needs a terminal with a cursor, and TERM says this one has none; {hint}.")
