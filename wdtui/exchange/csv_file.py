"""Points as CSV: a header and a row per point. Every number reads back exactly."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from wdtui.exchange.exported import Run


def write(run: Run, path: Path) -> None:
    """Write a new file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        write_to(run, file)


def write_to(run: Run, file: TextIO) -> None:
    """Write floats as Python's repr, the shortest text that reads back to the same float64. A gap is nan."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(run.columns)
    writer.writerows(run.rows())
