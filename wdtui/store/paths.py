"""Paths in a store's folder."""

from __future__ import annotations

from pathlib import Path

FILE_NAME = "wdtui.sqlite3"
FORM_NAME = "form.json"
"""The form as it was left."""


def log_path(folder: Path, run_id: int) -> Path:
    """Where the processes that trained a run write what goes wrong."""
    return folder / "logs" / f"run-{run_id}.log"
