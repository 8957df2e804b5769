"""What the tests of handing over and taking in share: a store with a run whose points are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from wdtui.exchange.exported import Run, load
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.store.store import Store

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
NAMES = CONFIG.columns
ORIGINAL = {
    "l2_norm": 0.3, "hidden_dim": 128, "num_layers": 2, "loss": "mse", "optimizer": "adam", "lr": 1e-3,
    "momentum": 0.95, "batch_size": 64, "train_size": 5000, "val_size": 500, "seed": 0, "train_range": "[2, 4]",
    "val_range": "[3]", "input_dim": "(32, 2)",
}  # fmt: skip
"""Hyperparameters as the original records them."""


def stored_run(folder: Path, name: str = "mine") -> Run:
    """Three points with numbers that few digits cannot hold, the sharpness at the second only."""
    with Store(folder) as store:
        run_id = store.add_run(CONFIG, name=name)
        store.claim(run_id, device="cpu", threads=1, versions={"torch": "2.13.0"})
        points = [Point(epoch, epoch, tuple(_value(epoch, name) for name in NAMES)) for epoch in (1, 2, 3)]
        store.append(store.run(run_id).claim, points, speed=100.0, milestones={})
        store.add_event(store.run(run_id).claim, 2, "steered", {"field": "weight_decay", "old": 0.3, "new": 0.1})
        store.set_status(store.run(run_id).claim, Status.DONE)
        return load(store, run_id)


def _value(epoch: int, name: str) -> float:
    if name == "sharpness" and epoch != 2:
        return math.nan
    return 1.0 if name == "train_accuracy" else 0.1 + epoch / 3 + 1e-9 * NAMES.index(name)


def write_original(folder: Path, hparams: dict[str, Any] | None = None) -> None:
    """Three epochs of 78 steps as the original logs them, with no loss on the second validation set."""
    scalars = {}
    for epoch in range(3):
        scalars[78 * (epoch + 1) - 1] = {
            "train/loss": 0.25 - epoch / 100,
            "train/accuracy": epoch / 4,
            "train/l2_norm": 116.0 - epoch,
            "val/accuracy/dataloader_idx_0": epoch / 8,
            "val/accuracy/dataloader_idx_1": epoch / 16,
            "epoch": epoch,
            "hp_metric": -1.0,
        }
    write_events(folder, scalars, hparams=hparams)


def write_events(
    folder: Path, scalars: dict[int, dict[str, float]], *, hparams: dict[str, Any] | None = None, time: float = 1.0
) -> Path:
    """One event file with scalars by step and tag, a second after another from `time` on; returns its path."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    before = set(folder.glob("*"))
    writer = EventFileWriter(str(folder), filename_suffix=f".{len(before)}")
    if hparams:
        writer.add_event(Event(wall_time=time, summary=hparams_pb(hparams, "trial", time)))
    for place, (step, row) in enumerate(scalars.items(), start=1):
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        writer.add_event(Event(step=step, wall_time=time + place, summary=Summary(value=values)))
    writer.close()
    (written,) = set(folder.glob("*")) - before
    return written


def taken_in(folder: Path, store: Store) -> list[int]:
    from wdtui.exchange import event_files

    found, refused = event_files.read(folder)
    assert not refused
    return [event_files.add(store, one) for one in found]
