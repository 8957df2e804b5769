"""Points as rows of the database: the bytes of a point and its checksum.

The bytes are little-endian: step and epoch as int64, the values as float64, the step of the previous point as int64
(-1 for the first), and a checksum of all that and the run's number. This detects changed and missing points. Points
written before there were checksums end after their values.

The checksum has 64 bits and is computed for a hundred thousand points at once; a CRC of each point would take half as
long as reading them. Each 8-byte word has its high half folded into its low half and is multiplied by a power of an odd
number; the products are added modulo 2⁶⁴. Each step is invertible, so a change within one word always changes it.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves, Point
from wdtui.schema.schema import Schema
from wdtui.store.records import RunRecord
from wdtui.store.rows import change

_TRAILER = 16
_AT_ONCE = 1024
_ODD = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio. Its powers have no pattern."""


def add_points(connection: sqlite3.Connection, run_id: int, points: Sequence[Point], names: Sequence[str]) -> None:
    """Insert points of a run, in order. Raises ValueError when a point has not one value per name."""
    last = connection.execute("SELECT step FROM points WHERE run_id = ? ORDER BY step DESC LIMIT 1", (run_id,))
    before: int = (last.fetchone() or (-1,))[0]
    packed = _packed(points, names, run_id, before)
    rows = [(run_id, point.step, data) for point, data in zip(points, packed, strict=True)]
    connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)


def read_points(
    connection: sqlite3.Connection,
    run_id: int,
    names: Sequence[str],
    after_step: int,
    newest_step: int,
    most: int = -1,
) -> Curves:
    """The sound points of a run after a step, and in `lost` the steps of those that are damaged or missing.

    `newest_step` is the step of the newest point according to the run's row. At most `most` points are read, or all
    for -1.
    """
    rows, which = "FROM points WHERE run_id = ? AND step > ? ORDER BY step LIMIT ?", (run_id, after_step, most)
    blobs = list(map(itemgetter(0), connection.execute(f"SELECT data {rows}", which)))
    curves = _sound(blobs, run_id, names, after_step) if blobs else None
    if curves is None:
        keyed = connection.execute(f"SELECT step, data {rows}", which).fetchall()
        curves = _salvaged(keyed, run_id, names, after_step)
    if len(blobs) == most:  # there may be more
        return curves
    last = int(curves.steps[-1]) if len(curves) else -1
    if newest_step > max(last, after_step) and newest_step not in curves.lost:
        curves.lost = (*curves.lost, newest_step)
    return curves


def newest(
    points: Sequence[Point], names: Sequence[str], schema: Schema, before: Mapping[str, float]
) -> dict[str, Any]:
    """The columns of a run's row that come from its newest points. Per-layer values are left out.

    A metric that only some points have keeps the value of the last that had it. `before` are the values so far.
    """
    latest: dict[str, float | None] = {}
    for place, name in enumerate(names):
        if "/" in name:
            continue
        values = [points[-1].values[place]]
        if (metric := schema.metrics.get(name)) and metric.every:
            values = [before.get(name, math.nan), *(point.values[place] for point in points)]
        latest[name] = next((value for value in reversed(values) if math.isfinite(value)), None)
    return {"step": points[-1].step, "epoch": points[-1].epoch, "latest": json.dumps(latest)}


def follow_points(connection: sqlite3.Connection, run: RunRecord, names: Sequence[str]) -> None:
    """Update a run's row from its newest point after points were removed or copied."""
    points = points_of(read_points(connection, run.id, names, -1, -1))
    said = newest(points, names, run.schema, {}) if points else {"step": 0, "epoch": 0, "latest": "{}"}
    change(connection, run.id, **said)


def points_of(curves: Curves) -> list[Point]:
    """The points of curves."""
    rows = zip(curves.steps.tolist(), curves.epochs.tolist(), curves.values.tolist(), strict=True)
    return [Point(step, epoch, tuple(values)) for step, epoch, values in rows]


def _packed(points: Sequence[Point], names: Sequence[str], run_id: int, before: int) -> list[bytes]:
    if wrong := next((point for point in points if len(point.values) != len(names)), None):
        raise ValueError(f"a point of this run has {len(names)} values, not {len(wrong.values)}")
    rows = np.zeros(len(points), _form(names))
    rows["step"], rows["epoch"] = [point.step for point in points], [point.epoch for point in points]
    rows["values"] = np.array([point.values for point in points]).reshape(len(points), len(names))
    rows["before"] = [before, *(point.step for point in points)][: len(points)]
    rows["checksum"] = _checksums(rows, run_id)
    return [row.tobytes() for row in rows]


def _checksums(rows: NDArray[Any], run_id: int) -> NDArray[np.uint64]:
    """The checksum of each row, [points], computed in chunks that fit a processor's cache."""
    words = rows.view("<u8").reshape(len(rows), rows.itemsize // 8)[:, :-1]
    weights = np.full(words.shape[1] + 1, _ODD, dtype=np.uint64).cumprod()
    sums = [_folded(words[at : at + _AT_ONCE]) @ weights[:-1] for at in range(0, len(words), _AT_ONCE)]
    return np.concatenate([*sums, np.empty(0, np.uint64)]) + weights[-1:] * np.uint64(run_id)


def _folded(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return words ^ (words >> np.uint64(32))


def _form(names: Sequence[str]) -> np.dtype[Any]:
    return np.dtype(
        [("step", "<i8"), ("epoch", "<i8"), ("values", "<f8", (len(names),)), ("before", "<i8"), ("checksum", "<u8")]
    )


def _sound(blobs: Sequence[bytes], run_id: int, names: Sequence[str], after_step: int) -> Curves | None:
    """The curves, or None when a checksum is wrong or a point is missing."""
    form = _form(names)
    if set(map(type, blobs)) != {bytes} or set(map(len, blobs)) != {form.itemsize}:
        return None
    points = np.frombuffer(b"".join(blobs), form)
    if not _fits(points, run_id):
        return None
    steps, before = (np.array(points[field], dtype=np.int64) for field in ("step", "before"))
    if before[0] > after_step or not np.array_equal(before[1:], steps[:-1]):
        return None
    return _curves(names, points, steps)


def _salvaged(rows: Sequence[tuple[Any, Any]], run_id: int, names: Sequence[str], after_step: int) -> Curves:
    """The sound points and the steps of the lost ones, checked one by one."""
    form, kept = _form(names), bytearray()
    lost: set[int] = set()
    last = after_step
    for key, data in rows:
        blob = data if isinstance(data, bytes) else b""
        sealed = len(blob) == form.itemsize and _fits(np.frombuffer(blob, form), run_id)
        old = len(blob) == form.itemsize - _TRAILER and _step(blob, 0) == key
        step = _step(blob, 0) if sealed or old else -1
        if step > last:
            before = _step(blob, -_TRAILER) if sealed else last
            lost |= {before} if before > last else set()
            kept += blob if sealed else blob + bytes(_TRAILER)
            last = step
        elif isinstance(key, int) and key > last:
            lost.add(key)
    points = np.frombuffer(bytes(kept), form)
    curves = _curves(names, points, np.array(points["step"], dtype=np.int64))
    curves.lost = tuple(sorted(lost - set(curves.steps.tolist())))
    return curves


def _fits(rows: NDArray[Any], run_id: int) -> bool:
    return bool(np.array_equal(rows["checksum"], _checksums(rows, run_id)))


def _step(blob: bytes, at: int) -> int:
    return int.from_bytes(blob[at:][:8], "little", signed=True)


def _curves(names: Sequence[str], points: NDArray[Any], steps: NDArray[np.int64]) -> Curves:
    return Curves(names, steps, np.array(points["epoch"], dtype=np.int64), points["values"])
