"""Points as rows of the database: the bytes of a point, and what a run's row says of its newest."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Sequence
from typing import Any

from wdtui.runs.rows import change
from wdtui.schema.curves import Point


def packed(point: Point, names: Sequence[str]) -> bytes:
    """As the table `points` holds it; raises ValueError when its values are not those of the names."""
    if len(point.values) != len(names):
        raise ValueError(f"a point of this run has {len(names)} values, not {len(point.values)}")
    return struct.pack(f"<qq{len(names)}d", point.step, point.epoch, *point.values)


def unpacked(data: bytes) -> Point:
    """Read back what `packed` gave."""
    step, epoch, *values = struct.unpack(f"<qq{len(data) // 8 - 2}d", data)
    return Point(step, epoch, tuple(values))


def newest(point: Point, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a run's row that its newest point decides; per-layer values are left to the curves."""
    pooled = {name: value for name, value in zip(names, point.values, strict=True) if "/" not in name}
    latest = {name: value if math.isfinite(value) else None for name, value in pooled.items()}
    return {"step": point.step, "epoch": point.epoch, "latest": json.dumps(latest)}


def follow_points(connection: sqlite3.Connection, run_id: int, names: Sequence[str]) -> None:
    """Have the run's row say what its newest point says, where points were removed or copied."""
    last = connection.execute(
        "SELECT data FROM points WHERE run_id = ? ORDER BY step DESC LIMIT 1", (run_id,)
    ).fetchone()
    said = newest(unpacked(last[0]), names) if last else {"step": 0, "epoch": 0, "latest": "{}"}
    change(connection, run_id, **said)
