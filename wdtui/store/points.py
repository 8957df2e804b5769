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
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves, Point
from wdtui.store.records import Report
from wdtui.store.rows import change, change_all, columns_of_all

_TRAILER = 16
_AT_ONCE = 1024
_ODD = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio. Its powers have no pattern."""


def add_points(connection: sqlite3.Connection, points: Mapping[int, Sequence[Point]], names: Sequence[str]) -> None:
    """Insert points by the number of their run, each run's in order. All have the same names of values.

    Raises ValueError for a point with another number of values.
    """
    last = "(SELECT MAX(step) FROM points WHERE run_id = value)"
    before = dict(connection.execute(f"SELECT value, {last} FROM json_each(?)", (json.dumps([*points]),)))
    owned = [(run_id, point) for run_id, of_run in points.items() for point in of_run]
    befores = []
    for run_id, point in owned:
        befores.append(-1 if before[run_id] is None else before[run_id])
        before[run_id] = point.step
    packed = _packed([point for _, point in owned], names, [run_id for run_id, _ in owned], befores)
    rows = [(run_id, point.step, data) for (run_id, point), data in zip(owned, packed, strict=True)]
    connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)


def add_measured(connection: sqlite3.Connection, reports: Sequence[Report]) -> None:
    """Add the points of runs, and what their rows say of the newest of them; counts as a heartbeat."""
    if not reports:
        return
    alike: dict[tuple[str, ...], list[Report]] = defaultdict(list)
    columns = columns_of_all(connection, [report.claim.run_id for report in reports])
    for report in reports:
        alike[columns[report.claim.run_id]].append(report)
    rows = []
    for names, some in alike.items():
        add_points(connection, {report.claim.run_id: report.points for report in some}, names)
        for report in some:
            about = {
                "heartbeat": time.time(),
                "speed": report.speed,
                "batched": report.batched,
                "milestones": json.dumps(dict(report.milestones)),
                **_newest(report.points[-1], names, report.latest),
            }
            rows.append((report.claim.run_id, about))
    change_all(connection, rows, also="beats = beats + 1")


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


def _newest(point: Point, names: Sequence[str], before: Mapping[str, float] = MappingProxyType({})) -> dict[str, Any]:
    """The columns of a run's row that come from its newest point. Per-layer values are left out.

    `before` are earlier values of metrics that not every point has.
    """
    values = point.values
    latest = {name: values[at] if math.isfinite(values[at]) else before.get(name) for at, name in _pooled(tuple(names))}
    return {"step": point.step, "epoch": point.epoch, "latest": json.dumps(latest)}


@lru_cache
def _pooled(names: tuple[str, ...]) -> list[tuple[int, str]]:
    """The place and the name of each value that is not of one layer."""
    return [(at, name) for at, name in enumerate(names) if "/" not in name]


def follow_points(connection: sqlite3.Connection, run_id: int, names: Sequence[str]) -> None:
    """Update the run's row from its newest point after points were removed or copied."""
    curves = read_points(connection, run_id, names, -1, -1)
    latest = _newest(points_of(curves)[-1], names) if len(curves) else {"step": 0, "epoch": 0, "latest": "{}"}
    change(connection, run_id, **latest)


def points_of(curves: Curves) -> list[Point]:
    """The points of curves."""
    rows = zip(curves.steps.tolist(), curves.epochs.tolist(), curves.values.tolist(), strict=True)
    return [Point(step, epoch, tuple(values)) for step, epoch, values in rows]


def _packed(
    points: Sequence[Point], names: Sequence[str], run_ids: Sequence[int], befores: Sequence[int]
) -> list[bytes]:
    """The bytes of points, given the run of each and the step of the point before it."""
    if wrong := next((point for point in points if len(point.values) != len(names)), None):
        raise ValueError(f"a point of this run has {len(names)} values, not {len(wrong.values)}")
    rows = np.zeros(len(points), _form(names))
    rows["step"], rows["epoch"] = [point.step for point in points], [point.epoch for point in points]
    rows["values"] = np.array([point.values for point in points]).reshape(len(points), len(names))
    rows["before"] = befores
    rows["checksum"] = _checksums(rows, np.array(run_ids, np.uint64))
    data, size = rows.tobytes(), rows.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def _checksums(rows: NDArray[Any], run_ids: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The checksum of each row, [points], computed in chunks that fit a processor's cache.

    `run_ids` are the number of one run, or [points].
    """
    words = rows.view("<u8").reshape(len(rows), rows.itemsize // 8)[:, :-1]
    weights = np.full(words.shape[1] + 1, _ODD, dtype=np.uint64).cumprod()
    sums = [_folded(words[at : at + _AT_ONCE]) @ weights[:-1] for at in range(0, len(words), _AT_ONCE)]
    return np.concatenate([*sums, np.empty(0, np.uint64)]) + weights[-1:] * run_ids


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
    return bool(np.array_equal(rows["checksum"], _checksums(rows, np.uint64(run_id))))


def _step(blob: bytes, at: int) -> int:
    return int.from_bytes(blob[at:][:8], "little", signed=True)


def _curves(names: Sequence[str], points: NDArray[Any], steps: NDArray[np.int64]) -> Curves:
    return Curves(names, steps, np.array(points["epoch"], dtype=np.int64), points["values"])
