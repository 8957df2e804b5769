"""Runs taken in from TensorBoard event files: those of the article's original code, and those that wdtui exported.

Needs the extra `tensorboard`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata

from wdtui.config import FIELDS, RunConfig
from wdtui.exchange.taken import ExchangeError
from wdtui.hyperparameters import ConfigError, format_value
from wdtui.milestones import milestones
from wdtui.runs.records import Status
from wdtui.runs.store import Store, StoreError
from wdtui.runs.sweep_store import fingerprint
from wdtui.schema.curves import Curves, Point

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
    """Read every folder at or below this one that has event files with known metrics. Raises ExchangeError.

    The event files of one folder are one run. Where a resumed training has measured a step again, the later
    measurement counts; a file that was cut off, as by a kill, is read as far as it goes.
    """
    if not folder.is_dir():
        raise ExchangeError(f"{folder} is no folder; give one with TensorBoard event files in it or below it.")
    files: dict[Path, list[Path]] = {}
    for file in sorted(folder.rglob("*tfevents*")):
        if file.is_file():
            files.setdefault(file.parent, []).append(file)
    found = [recorded for path in files if (recorded := _recorded(path, files[path]))]
    if not found:
        raise ExchangeError(f"{folder} has no event files with metrics such as train/loss or train_accuracy in them.")
    return found


def taken_before(store: Store, recorded: Recorded) -> int | None:
    """The run that was made when the same config and points were taken in before; None where the store has none."""
    curves = Curves.of(recorded.config.columns, recorded.points)
    config = fingerprint(json.dumps(recorded.config.to_mapping()))
    for run in store.runs():
        if run.step == recorded.points[-1].step and fingerprint(run.config_text) == config:
            other = store.curves(run.id)
            same = np.array_equal(curves.steps, other.steps) and np.array_equal(curves.values, other.values, True)
            if same and any(event.kind == "imported" for event in store.events(run.id)):
                return run.id
    return None


def add(store: Store, recorded: Recorded) -> int:
    """Add it to the store as a finished run, which counts as evidence for no claim; return its number.

    Raises StoreError, and leaves no half of a run, where the store cannot take it.
    """
    run_id = store.add_run(recorded.config, name=f"{recorded.path.name}, imported")
    try:
        _fill(store, run_id, recorded)
    except StoreError:
        with contextlib.suppress(StoreError):
            store.set_status(run_id, Status.FAILED)  # a live one cannot be deleted
            store.delete([run_id])
        raise
    return run_id


def _fill(store: Store, run_id: int, recorded: Recorded) -> None:
    config, points = recorded.config, recorded.points
    source = {"from": str(recorded.path), "hyperparameters recorded": ", ".join(recorded.known) or "none"}
    store.add_event(run_id, 0, "imported", source)
    store.claim(run_id, device="", threads=1, versions={})
    seen = milestones(Curves.of(config.columns, points)).to_json()
    store.append(run_id, points, speed=None, milestones=seen)
    store.set_status(run_id, Status.DONE)


def _recorded(path: Path, files: Sequence[Path]) -> Recorded | None:
    hparams, scalars = _events(files)
    values = _values(path, hparams)
    try:
        config = RunConfig.from_mapping(values)
    except ConfigError as error:
        raise ExchangeError(f"{path} is of a run that wdtui cannot describe: {error}") from error
    names = config.columns
    rows: dict[int, dict[str, float]] = {}
    for tag in sorted(scalars, key=len):  # what a second validation set says comes after what may be either's
        if (name := _METRICS.get(tag, tag)) in names or tag == "epoch":
            for step, value in scalars[tag].items():
                rows.setdefault(step, {})[name] = value
    rows = {step: row for step, row in rows.items() if row.keys() - {"epoch"}}
    if not rows:
        return None
    first = _first_epoch(scalars)
    points = [
        Point(step, _epoch(row, place) + first, tuple(row.get(name, math.nan) for name in names))
        for place, (step, row) in enumerate(sorted(rows.items()))
    ]
    if "epochs" not in values:
        config = config.replace(epochs=max(1, points[-1].epoch))
    return Recorded(path, config, points, tuple(sorted(values)))


def _events(files: Sequence[Path]) -> tuple[Mapping[str, Any], dict[str, dict[int, float]]]:
    """The hyperparameters, and every scalar tag's values by step, of the event files of one run. Raises ExchangeError.

    TensorBoard's own EventAccumulator would go by the order of the files' names, and by what their writers say of
    restarts, which Lightning's do not.
    """
    hparams: Mapping[str, Any] = {}
    latest: dict[str, dict[int, tuple[float, float]]] = {}
    for file in files:
        try:
            for event in LegacyEventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        steps, timed = latest.setdefault(value.tag, {}), (event.wall_time, value.simple_value)
                        if event.step not in steps or event.wall_time >= steps[event.step][0]:
                            steps[event.step] = timed
                    elif value.tag == metadata.SESSION_START_INFO_TAG:
                        content = value.metadata.plugin_data.content
                        hparams = metadata.parse_session_start_info_plugin_data(content).hparams
        except (OSError, DecodeError) as error:
            raise ExchangeError(f"{file} cannot be read as an event file: {error}.") from error
    return hparams, {tag: {step: value for step, (_, value) in steps.items()} for tag, steps in latest.items()}


def _epoch(row: Mapping[str, float], place: int) -> int:
    """The epoch that was recorded with a point, or else how many points came before it."""
    recorded = row.get("epoch", math.nan)
    return int(recorded) if math.isfinite(recorded) else place


def _first_epoch(tags: Mapping[str, Any]) -> int:
    """What to add to the recorded epochs: the original counts them from 0, as do points of which nothing is known."""
    return 0 if "epoch" in tags and "train_loss" in tags else 1


def _values(path: Path, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that the files say, under wdtui's names. Raises ExchangeError."""
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
