"""Runs taken in from TensorBoard event files: those of the article's original code, and those that wdtui exported.

Needs the extra `tensorboard`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from wdtui.config import FIELDS, RunConfig
from wdtui.exchange.taken import ExchangeError
from wdtui.hyperparameters import ConfigError, format_value
from wdtui.metrics import Curves, Point, columns
from wdtui.milestones import milestones
from wdtui.runs.records import Status
from wdtui.runs.store import Store

_METRICS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "train/l2_norm": "weight_norm",
    "val/loss/dataloader_idx_0": "validation_loss",
    "val/accuracy/dataloader_idx_0": "validation_accuracy",
    "val/loss/dataloader_idx_1": "test_loss",
    "val/accuracy/dataloader_idx_1": "test_accuracy",
    "val/loss": "test_loss",
    "val/accuracy": "test_accuracy",
}
"""The original's tags; its second validation set has the digit counts that training never shows."""
_FIELDS = {
    "l2_norm": "weight_decay",
    "hidden_dim": "width",
    "num_layers": "blocks",
    "lr": "learning_rate",
    "val_size": "validation_size",
    "train_range": "train_digits",
    "val_range": "test_digits",
}
_OPTIMIZERS = {"adam": "adamw"}
"""What the original calls adam is PyTorch's AdamW."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    """One run as event files tell it."""

    path: Path
    config: RunConfig
    """What the files say; what they leave open is as the defaults have it."""
    points: list[Point]
    known: tuple[str, ...]
    """The hyperparameters that the files say."""


def read(folder: Path) -> list[Recorded]:
    """Read every folder at or below this one that has event files with known metrics. Raises ExchangeError."""
    if not folder.is_dir():
        raise ExchangeError(f"{folder} is no folder; give one with TensorBoard event files in it or below it.")
    paths = sorted({file.parent for file in folder.rglob("*tfevents*") if file.is_file()})
    found = [recorded for path in paths if (recorded := _recorded(path))]
    if not found:
        raise ExchangeError(f"{folder} has no event files with metrics such as train/loss or train_accuracy in them.")
    return found


def add(store: Store, recorded: Recorded) -> int:
    """Add it to the store as a finished run, which counts as evidence for no claim; return its number."""
    config, points = recorded.config, recorded.points
    run_id = store.add_run(config, name=f"imported {recorded.path.name}")
    source = {"from": str(recorded.path), "hyperparameters recorded": ", ".join(recorded.known) or "none"}
    store.add_event(run_id, 0, "imported", source)
    store.claim(run_id, device="", threads=1, versions={})
    seen = milestones(Curves.of(config, points)).to_json()
    store.append(run_id, points, speed=None, milestones=seen)
    store.set_status(run_id, Status.DONE)
    return run_id


def _recorded(path: Path) -> Recorded | None:
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags: list[str] = accumulator.Tags()["scalars"]
    values = _values(path, accumulator)
    try:
        config = RunConfig.from_mapping(values)
    except ConfigError as error:
        raise ExchangeError(f"{path} is of a run that wdtui cannot describe: {error}") from error
    names = columns(config)
    rows: dict[int, dict[str, float]] = {}
    for tag in sorted(tags, key=len):  # what a second validation set says comes after what may be either's
        if (name := _METRICS.get(tag, tag)) in names or tag == "epoch":
            for scalar in accumulator.Scalars(tag):
                rows.setdefault(scalar.step, {})[name] = scalar.value
    rows = {step: row for step, row in rows.items() if row.keys() - {"epoch"}}
    if not rows:
        return None
    first = _first_epoch(tags)
    points = [
        Point(step, int(row.get("epoch", place)) + first, tuple(row.get(name, math.nan) for name in names))
        for place, (step, row) in enumerate(sorted(rows.items()))
    ]
    if "epochs" not in values:
        config = config.replace(epochs=max(1, points[-1].epoch))
    return Recorded(path, config, points, tuple(sorted(values)))


def _first_epoch(tags: list[str]) -> int:
    """What to add to the recorded epochs: the original counts them from 0, as do points of which nothing is known."""
    return 0 if "epoch" in tags and "train_loss" in tags else 1


def _values(path: Path, accumulator: Any) -> dict[str, Any]:
    """The hyperparameters that the files say, under wdtui's names. Raises ExchangeError."""
    recorded = accumulator.summary_metadata.get(metadata.SESSION_START_INFO_TAG)
    if recorded is None:
        return {}
    hparams: Mapping[str, Any] = metadata.parse_session_start_info_plugin_data(recorded.plugin_data.content).hparams
    values: dict[str, Any] = {}
    for given, value in hparams.items():
        name = _FIELDS.get(given, given)
        if name in FIELDS and name != "normalized_weight_decay":
            text = _text(value)
            text = _OPTIMIZERS.get(text, text) if "l2_norm" in hparams and name == "optimizer" else text
            try:
                values[name] = FIELDS[name].parse(text)
            except ConfigError as error:
                raise ExchangeError(f"{path} records {given} {text}, which wdtui does not know: {error}") from error
    return values


def _text(value: Any) -> str:
    """A recorded value as a person would type it; whole numbers come as floats."""
    kind = value.WhichOneof("kind")
    plain = getattr(value, kind)
    if kind == "string_value":
        return str(plain)
    return format_value(int(plain) if isinstance(plain, float) and plain.is_integer() else plain)
