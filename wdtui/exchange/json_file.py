"""A whole run as one JSON object: what it is, its milestones and events, and `points` with an array per metric."""

from __future__ import annotations

import json
import math
from pathlib import Path

from wdtui.exchange.taken import Column, Run


def write(run: Run, path: Path) -> None:
    """Write strict JSON, which has no NaN: what is not a finite number becomes null."""
    points = {name: _plain(column) for name, column in run.curves.items()}
    text = json.dumps(run.about() | {"points": points}, ensure_ascii=False, allow_nan=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(column: Column) -> list[int | float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
