"""What the tests of handing over and taking in share: a store with a run whose points are known."""

from __future__ import annotations

import math
from pathlib import Path

from wdtui.config import RunConfig
from wdtui.exchange.taken import Run, take
from wdtui.metrics import Point, columns
from wdtui.runs.records import Status
from wdtui.runs.store import Store

CONFIG = RunConfig(
    weight_decay=0.3,
    train_digits=(2,),
    test_digits=(2,),
    train_size=64,
    validation_size=16,
    test_size=16,
    width=8,
    epochs=3,
    sharpness_every=2,
)
NAMES = columns(CONFIG)


def stored_run(folder: Path, name: str = "mine") -> Run:
    """Three points with numbers that few digits cannot hold, the sharpness at the second only."""
    with Store(folder) as store:
        run_id = store.add_run(CONFIG, name=name)
        store.claim(run_id, device="cpu", threads=1, versions={"torch": "2.13.0"})
        points = [Point(epoch, epoch, tuple(_value(epoch, name) for name in NAMES)) for epoch in (1, 2, 3)]
        store.append(run_id, points, speed=100.0, milestones={})
        store.add_event(run_id, 2, "steered", {"field": "weight_decay", "old": 0.3, "new": 0.1})
        store.set_status(run_id, Status.DONE)
        return take(store, run_id)


def _value(epoch: int, name: str) -> float:
    if name == "sharpness" and epoch != 2:
        return math.nan
    return 1.0 if name == "train_accuracy" else 0.1 + epoch / 3 + 1e-9 * NAMES.index(name)
