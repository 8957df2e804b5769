"""The workbench in the terminal. Importing this package is cheap; `open_app` imports what it needs."""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wdtui.support.errors import WdtuiError

if TYPE_CHECKING:
    from wdtui.schema.config import Config
    from wdtui.settings import Settings
    from wdtui.studies.grid import Grid


class TerminalError(WdtuiError):
    """This terminal cannot show the workbench. The message is one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What to start at once: a new run with a config, a grid of runs, or a run or sweep in the store."""

    config: Config | None = None
    grid: Grid | None = None
    run_id: int | None = None
    sweep_id: int | None = None
    experiment: str = ""
    name: str = ""
    threads: int | None = None
    problem: str = ""
    """The file of a problem whose form is shown."""
    workers: int | None = None
    """The number of runs that train at once; None for the machine's default."""


def open_app(
    store_folder: Path | None,
    *,
    device: str = "",
    opening: Opening | None = None,
    fps: float | None = None,
    mouse: bool | None = None,
) -> int:
    """Show the workbench on a store until the user quits; return the exit status.

    What `opening` describes is queued at once. `fps` is how often per second the app reads the store. Without a device
    that of the settings is used. Raises TerminalError before anything is drawn, and StoreError.
    """
    check_terminal()
    gc.disable()  # until the app has started: collections find nothing, and take a fifth of the time
    from wdtui import settings

    chosen = settings.read()
    check_settings(chosen)
    device = device or chosen.value("device")
    from wdtui.runs.scheduler import Scheduler
    from wdtui.store.store import Store
    from wdtui.tui.app import WorkbenchApp

    with Store(store_folder) as store:
        scheduler = Scheduler(
            store,
            device=device,
            slots=opening.workers if opening else None,
            threads=chosen.value("threads"),
            background=True,
        )
        app = WorkbenchApp(store, scheduler, device=device, opening=opening, fps=fps, settings=chosen)
        app.run(mouse=mouse is not False)
        return app.return_code or 0


def check_settings(chosen: Settings) -> None:
    """Raise SettingsError for keys and colours that the app cannot use."""
    from wdtui.settings import SettingsError
    from wdtui.tui.keymap import keymap
    from wdtui.tui.theme import own_themes

    try:
        keymap(chosen.keys)
        own_themes(chosen.themes)
    except SettingsError as error:
        raise SettingsError(f"{chosen.path}: {error}") from error


def has_terminal() -> bool:
    """Whether the workbench can be shown here."""
    try:
        check_terminal()
    except TerminalError:
        return False
    return True


def check_terminal() -> None:
    """Raise TerminalError where Textual would wait forever or write escape sequences to no terminal."""
    hint = "`wdtui run … --headless` trains without a screen"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise TerminalError(f"The app needs a terminal, and there is none here. {hint}.")
    if os.environ.get("TERM", "") in ("dumb", ""):
        raise TerminalError(f"The app needs a terminal with a cursor, and TERM describes one without. {hint}.")
