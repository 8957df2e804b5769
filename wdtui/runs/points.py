"""Points as rows of the database: the bytes of a point, its checksum, and what a run's row says of its newest.

A point's bytes are little-endian: step and epoch as int64, the values as float64, the step of the point before it as
int64 (-1 for a run's first), four zero bytes, and the CRC-32 of the run's number and all that. So a point whose bits
have changed is found, and so is one that has vanished. Points from before there were checksums end with their values.
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from wdtui.metrics import Curves, Point
from wdtui.runs.rows import change

_TRAILER = 16
_RESIDUE = 0x2144DF1C
"""The CRC-32 of any bytes followed by their own CRC-32."""


def add_points(connection: sqlite3.Connection, run_id: int, points: Sequence[Point], names: Sequence[str]) -> None:
    """Insert points of a run, in order; raises ValueError when the values of one are not those of the names."""
    last = connection.execute("SELECT step FROM points WHERE run_id = ? ORDER BY step DESC LIMIT 1", (run_id,))
    before: int = (last.fetchone() or (-1,))[0]
    rows = []
    for point in points:
        rows.append((run_id, point.step, _packed(point, names, run_id, before)))
        before = point.step
    connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)


def read_points(
    connection: sqlite3.Connection,
    run_id: int,
    names: Sequence[str],
    after_step: int,
    newest_step: int,
    most: int = -1,
) -> Curves:
    """The sound points of a run after a step, and the steps of those that are damaged or missing.

    `newest_step` is that of the newest point as the run's row has it. `most` is how many are read; -1 for all.
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


def newest(point: Point, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a run's row that its newest point decides; per-layer values are left to the curves."""
    pooled = {name: value for name, value in zip(names, point.values, strict=True) if "/" not in name}
    latest = {name: value if math.isfinite(value) else None for name, value in pooled.items()}
    return {"step": point.step, "epoch": point.epoch, "latest": json.dumps(latest)}


def follow_points(connection: sqlite3.Connection, run_id: int, names: Sequence[str]) -> None:
    """Have the run's row say what its newest point says, where points were removed or copied."""
    curves = read_points(connection, run_id, names, -1, -1)
    said = newest(points_of(curves)[-1], names) if len(curves) else {"step": 0, "epoch": 0, "latest": "{}"}
    change(connection, run_id, **said)


def points_of(curves: Curves) -> list[Point]:
    """Curves as the points that they were made of."""
    rows = zip(curves.steps.tolist(), curves.epochs.tolist(), curves.values.tolist(), strict=True)
    return [Point(step, epoch, tuple(values)) for step, epoch, values in rows]


def _packed(point: Point, names: Sequence[str], run_id: int, before: int) -> bytes:
    if len(point.values) != len(names):
        raise ValueError(f"a point of this run has {len(names)} values, not {len(point.values)}")
    data = struct.pack(f"<qq{len(names)}dqI", point.step, point.epoch, *point.values, before, 0)
    return data + struct.pack("<I", crc32(data, _start(run_id)))


def _start(run_id: int) -> int:
    """What the checksums of a run's points begin with, so that no other run's point is taken for one of its own."""
    return crc32(struct.pack("<q", run_id))


def _form(names: Sequence[str]) -> np.dtype[Any]:
    return np.dtype(
        [("step", "<i8"), ("epoch", "<i8"), ("values", "<f8", (len(names),)), ("before", "<i8"), ("crc", "<i8")]
    )


def _sound(blobs: Sequence[bytes], run_id: int, names: Sequence[str], after_step: int) -> Curves | None:
    """The curves where every point has a checksum that fits and none is missing between them; else None.

    A hundred thousand points take tens of milliseconds: all that is done for each of them alone is its CRC-32.
    """
    if set(map(type, blobs)) != {bytes}:
        return None
    form, data = _form(names), b"".join(blobs)
    if len(data) != form.itemsize * len(blobs) or set(map(crc32, blobs, repeat(_start(run_id)))) != {_RESIDUE}:
        return None
    points = np.frombuffer(data, form)
    steps, before = (np.array(points[field], dtype=np.int64) for field in ("step", "before"))
    if before[0] > after_step or not np.array_equal(before[1:], steps[:-1]):
        return None
    return _curves(names, points, steps)


def _salvaged(rows: Sequence[tuple[Any, Any]], run_id: int, names: Sequence[str], after_step: int) -> Curves:
    """The points that are sound, and the steps of the others, a point at a time."""
    form, start, kept = _form(names), _start(run_id), bytearray()
    lost: set[int] = set()
    last = after_step
    for key, data in rows:
        blob = data if isinstance(data, bytes) else b""
        sealed = len(blob) == form.itemsize and crc32(blob, start) == _RESIDUE
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


def _step(blob: bytes, at: int) -> int:
    return int.from_bytes(blob[at:][:8], "little", signed=True)


def _curves(names: Sequence[str], points: NDArray[Any], steps: NDArray[np.int64]) -> Curves:
    return Curves(names, steps, np.array(points["epoch"], dtype=np.int64), points["values"])
