"""The files in the folder of a run store."""

from __future__ import annotations

from pathlib import Path

FILE_NAME = "wdtui.sqlite3"
FORM_NAME = "form.json"
"""The last state of the launch form."""
LAYOUT_NAME = "layouts.json"
"""The picked contents of charts and of the run table."""
CHECKPOINTS, LOGS = "checkpoints", "logs"
"""Folders with a folder, or a file, of each run."""
BESIDE_STORE = CHECKPOINTS, LOGS, FORM_NAME, LAYOUT_NAME
"""What lies beside the store's own file. It moves with the store, and no output may replace it."""


def log_path(folder: Path, run_id: int) -> Path:
    """The file for the errors of the processes that trained a run."""
    return folder / LOGS / f"run-{run_id}.log"
