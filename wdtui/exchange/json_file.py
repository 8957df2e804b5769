"""A whole run as one JSON object: its config, milestones and events, and `points` with an array per metric."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TextIO

from wdtui.exchange.exported import Column, Run

_NUMBERS = 8192
"""The number of values converted to text at a time."""


def write(run: Run, path: Path) -> None:
    """Write a new file."""
    with path.open("w", encoding="utf-8") as file:
        write_to(run, file)


def write_to(run: Run, file: TextIO) -> None:
    """Write strict JSON, which has no NaN: values that are not finite become null. Each column is one line."""
    about = json.dumps(run.about(), ensure_ascii=False, allow_nan=False, indent=1)
    file.write(f'{about.removesuffix("}").rstrip()},\n "points": {{')
    for index, (name, column) in enumerate(run.by_column()):
        file.write(f"{',' if index else ''}\n  {json.dumps(name)}: [")
        for first in range(0, len(column), _NUMBERS):
            numbers = json.dumps(_plain(column[first : first + _NUMBERS]), allow_nan=False)[1:-1]
            file.write(f"{', ' if first else ''}{numbers}")
        file.write("]")
    file.write("\n }\n}\n")


def _plain(column: Column) -> list[int | float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
