"""The workbench in the terminal. Importing this costs nothing; `open_app` imports what it needs."""

from __future__ import annotations

import dataclasses
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
    """The terminal at hand cannot show the workbench, said in one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What to start at once: a new run with a config, a grid of them, or a run or a sweep that the store has."""

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
    """How many runs train at once, None for as many as suit the machine."""


def open_app(
    store_folder: Path | None,
    *,
    device: str = "auto",
    opening: Opening | None = None,
    fps: float | None = None,
    mouse: bool | None = None,
) -> int:
    """Show the workbench on a store until it is left; return the exit status.

    What an `opening` says is queued at once; `fps` is how often a second the app looks for news. Raises TerminalError
    before anything is drawn, and StoreError.
    """
    check_terminal()
    from wdtui import settings

    chosen = settings.read()
    check_settings(chosen)
    from wdtui.runs.scheduler import Scheduler
    from wdtui.store.store import Store
    from wdtui.tui.app import WorkbenchApp

    with Store(store_folder) as store:
        scheduler = Scheduler(
            store, device=device, slots=opening.workers if opening else None, threads=chosen.value("threads")
        )
        app = WorkbenchApp(
            store, scheduler, device=device, opening=opening, fps=fps or chosen.value("fps"), settings=chosen
        )
        app.run(mouse=mouse is not False)
        return app.return_code or 0


def check_settings(chosen: Settings) -> None:
    """Raise SettingsError for keys and colours that the app cannot take."""
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
    """Raise TerminalError where Textual would wait forever or write escapes that nobody reads."""
    hint = "`wdtui run … --headless` trains without a screen"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise TerminalError(f"The app needs a terminal, and there is none here. {hint}.")
    if os.environ.get("TERM", "") in ("dumb", ""):
        raise TerminalError(f"The app needs a terminal with a cursor, and TERM describes one without. {hint}.")
