"""Paths in a store's folder."""

from __future__ import annotations

from pathlib import Path

FILE_NAME = "wdtui.sqlite3"
FORM_NAME = "form.json"
"""The last state of the launch form."""
LAYOUT_NAME = "layouts.json"
"""The picked contents of charts and of the run table."""


def log_path(folder: Path, run_id: int) -> Path:
    """The file for the errors of the processes that trained a run."""
    return folder / "logs" / f"run-{run_id}.log"
