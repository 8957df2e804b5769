"""A whole run as one JSON object: what it is, its milestones and events, and `points` with an array per metric."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TextIO

from wdtui.exchange.taken import Column, Run


def write(run: Run, path: Path) -> None:
    """Write over what is at the path."""
    with path.open("w", encoding="utf-8") as file:
        write_to(run, file)


def write_to(run: Run, file: TextIO) -> None:
    """Write strict JSON, which has no NaN: what is not a finite number becomes null."""
    points = {name: _plain(column) for name, column in run.curves.items()}
    text = json.dumps(run.about() | {"points": points}, ensure_ascii=False, allow_nan=False, indent=1)
    file.write(text + "\n")


def _plain(column: Column) -> list[int | float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
