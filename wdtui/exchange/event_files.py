"""Imports TensorBoard event files of the article's original code and of wdtui's export.

Needs the extra `tensorboard`.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.error import HParamsError

from wdtui.analysis.milestones import milestones
from wdtui.exchange.exported import ExchangeError
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves, Point
from wdtui.schema.hyperparameters import ConfigError, format_value
from wdtui.store.records import Status
from wdtui.store.rescue import whole
from wdtui.store.store import Store
from wdtui.store.sweeps import fingerprint, fingerprint_of
from wdtui.support.errors import WdtuiError
from wdtui.support.files import check_regular
from wdtui.support.text import clean

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
"""The tags of the original code. Its second validation set has the digit counts that are not trained."""
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
"""The original's "adam" is PyTorch's AdamW."""
_MOST_BYTES = 1_000_000_000
"""The size limit of an event file. A point of the original takes a few hundred bytes."""
_MOST_EPOCHS = int(RunConfig.fields()["epochs"].le or 0)


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A run read from event files."""

    path: Path
    config: RunConfig
    """The hyperparameters in the files, and defaults for the others."""
    points: list[Point]
    known: tuple[str, ...]
    """The names of the hyperparameters in the files."""
    remarks: tuple[str, ...]
    """What could not be read, or was changed on import, one sentence each."""


class _BrokenError(WdtuiError):
    """The rest of an event file cannot be read. The message continues a sentence that starts with the file's name."""


def read(folder: Path) -> tuple[list[Recorded], list[str]]:
    """Read the runs in a folder and its subfolders; returns them and a sentence for each that cannot be read.

    The event files of one folder are one run. If a resumed training measured a step again, the later value counts. A
    truncated or damaged file is read up to that point, with a remark. Links below the folder are not followed. Raises
    ExchangeError if the folder contains no event files with known metrics.
    """
    if not folder.is_dir():
        raise ExchangeError(f"{folder} is not a folder. Give a folder that contains TensorBoard event files.")
    files: dict[Path, list[Path]] = {}
    refused: list[str] = []
    for file in sorted(folder.rglob("*tfevents*")):
        if file.is_dir() and not file.is_symlink():
            continue
        try:
            check_regular(file, _MOST_BYTES, links=False)
        except OSError as error:
            refused.append(f"{file} cannot be read as an event file: {error.strerror}.")
        else:
            files.setdefault(file.parent, []).append(file)
    found = []
    for path in files:
        try:
            if recorded := _recorded(path, files[path]):
                found.append(recorded)
        except ExchangeError as error:
            refused.append(str(error))
    if not found and not refused:
        raise ExchangeError(f"{folder} has no event files with metrics such as train/loss or train_accuracy in them.")
    return found, refused


def imported_before(store: Store, recorded: Recorded) -> int | None:
    """The run that an earlier import of the same config and points created, or None."""
    curves = Curves.of(recorded.config.columns, recorded.points)
    config = fingerprint_of(recorded.config)
    for run in store.runs():
        if run.damaged or run.schema.problem != recorded.config.problem or run.step != recorded.points[-1].step:
            continue
        if fingerprint(run.schema, run.config_text) == config:
            other = store.curves(run.id)
            names = {*curves.names, *other.names}  # another version may have recorded others
            same = np.array_equal(curves.steps, other.steps) and all(
                np.array_equal(curves[name], other[name], equal_nan=True) for name in names
            )
            if same and any(event.kind == "imported" for event in store.events(run.id)):
                return run.id
    return None


def add(store: Store, recorded: Recorded) -> int:
    """Add the run to the store as finished; returns its number. It is not used as evidence for claims.

    Raises StoreError if the store cannot take all of it, and then leaves nothing behind.
    """
    run_id = store.add_run(recorded.config, name=f"{clean(recorded.path.name)}, imported")
    with whole(store, run_id):
        _fill(store, run_id, recorded)
    return run_id


def _fill(store: Store, run_id: int, recorded: Recorded) -> None:
    config, points = recorded.config, recorded.points
    source = {"from": clean(str(recorded.path)), "hyperparameters recorded": ", ".join(recorded.known) or "none"}
    source |= {"remarks": " ".join(recorded.remarks)} if recorded.remarks else {}
    claim = store.claim(run_id, device="", threads=1, versions={})
    store.add_event(claim, 0, "imported", source)
    seen = milestones(Curves.of(config.columns, points), config.schema().judged).to_json()
    store.append(claim, points, speed=None, milestones=seen)
    store.set_status(claim, Status.DONE)


def _recorded(path: Path, files: Sequence[Path]) -> Recorded | None:
    hparams, scalars, remarks = _events(files)
    values = _values(path, hparams)
    try:
        config = RunConfig.from_mapping(values)
    except ConfigError as error:
        raise ExchangeError(f"{path} contains a run that wdtui does not know: {error}") from error
    names = config.columns
    rows: dict[int, dict[str, float]] = {}
    for tag in sorted(scalars, key=len):  # tags of a second validation set are longer and override the shared ones
        if (name := _METRICS.get(tag, tag)) in names or tag == "epoch":
            for step, value in scalars[tag].items():
                rows.setdefault(step, {})[name] = value
    rows = {step: row for step, row in rows.items() if row.keys() - {"epoch"}}
    if not rows and remarks:
        raise ExchangeError(f"{path} has no metrics that can be read: {remarks[0]}")
    if not rows:
        return None
    ordered = sorted(rows.items())
    epochs, counted = _epochs(path, ordered, _first_epoch(scalars))
    if counted:
        remarks.append(
            f"At {counted:,} of {len(ordered):,} points the epoch is not a number. These epochs were counted."
        )
    points = [
        Point(step, epoch, tuple(row.get(name, math.nan) for name in names))
        for (step, row), epoch in zip(ordered, epochs, strict=True)
    ]
    if "epochs" not in values:
        config = config.replace(epochs=max(1, points[-1].epoch))
    return Recorded(path, config, points, tuple(sorted(values)), tuple(remarks))


def _events(files: Sequence[Path]) -> tuple[Mapping[str, Any], dict[str, dict[int, float]], list[str]]:
    """The hyperparameters, the values of each scalar tag by step, and remarks, from the event files of one run.

    TensorBoard's EventAccumulator is not used: it orders events by file name, needs restart markers that Lightning
    does not write, and skips unreadable data silently. Raises ExchangeError.
    """
    hparams: Mapping[str, Any] = {}
    latest: dict[str, dict[int, tuple[float, float]]] = {}
    remarks = []
    for file in files:
        try:
            for event in map(Event.FromString, _records(file)):
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        steps, timed = latest.setdefault(value.tag, {}), (event.wall_time, value.simple_value)
                        if event.step not in steps or event.wall_time >= steps[event.step][0]:
                            steps[event.step] = timed
                    elif value.tag == metadata.SESSION_START_INFO_TAG:
                        content = value.metadata.plugin_data.content
                        hparams = metadata.parse_session_start_info_plugin_data(content).hparams
        except _BrokenError as error:
            remarks.append(f"{file.name} {error}")
        except (OSError, DecodeError, HParamsError) as error:
            raise ExchangeError(f"{file} cannot be read as an event file: {error}.") from error
    return hparams, {tag: {step: value for step, (_, value) in steps.items()} for tag, steps in latest.items()}, remarks


def _records(path: Path) -> Iterator[bytes]:
    """The records of an event file: length, its checksum, data, its checksum. Raises _BrokenError at a bad record.

    The format is that of TensorFlow's TFRecord documentation. TensorBoard's own reader stops silently at a bad record.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while (good := file.tell()) < size:
            read = f"{good:,} of {size:,} bytes were read."
            head = _part(file, 12, read)
            if struct.unpack("<I", head[8:])[0] != masked_crc32c(head[:8]):
                raise _BrokenError(f"is damaged: {read}")
            (length,) = struct.unpack("<Q", head[:8])
            data = _part(file, min(length + 4, size), read)
            if struct.unpack("<I", data[-4:])[0] != masked_crc32c(data[:-4]):
                raise _BrokenError(f"is damaged: {read}")
            yield data[:-4]


def _part(file: BinaryIO, length: int, read: str) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise _BrokenError(f"ends in the middle of a record: {read}")
    return data


def _epochs(path: Path, rows: Sequence[tuple[int, Mapping[str, float]]], first: int) -> tuple[list[int], int]:
    """The epoch of each point, `first` plus the recorded one, and how many were not recorded and had to be counted.

    Raises ExchangeError for impossible steps and epochs.
    """
    epochs: list[int] = []
    counted = 0
    for step, row in rows:
        recorded = row.get("epoch", math.nan)
        before = epochs[-1] if epochs else first - 1
        epoch = int(recorded) + first if math.isfinite(recorded) else before + 1
        counted += "epoch" in row and not math.isfinite(recorded)
        if step < 0:
            raise ExchangeError(f"{path} records the step {step:,}: steps are whole numbers from 0 on.")
        if not 0 <= epoch <= _MOST_EPOCHS:
            raise ExchangeError(
                f"{path} records the epoch {recorded:g} at step {step:,}: epochs are numbers from 0 "
                f"to {_MOST_EPOCHS:,}."
            )
        if epochs and epoch < before:
            raise ExchangeError(
                f"{path} records the epoch {recorded:g} at step {step:,} after {before - first}: epochs never "
                "decrease, so this folder may contain two runs."
            )
        epochs.append(epoch)
    return epochs, counted


def _first_epoch(tags: Mapping[str, Any]) -> int:
    """What to add to recorded epochs. The original code counts from 0, and so do points without metrics of training."""
    return 0 if "epoch" in tags and "train_loss" in tags else 1


def _values(path: Path, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded hyperparameters under wdtui's names. Raises ExchangeError."""
    values: dict[str, Any] = {}
    for given, value in hparams.items():
        name = _FIELDS.get(given, given)
        if name in RunConfig.fields() and name != "normalized_weight_decay":
            text = _text(value)
            text = _OPTIMIZERS.get(text, text) if "l2_norm" in hparams and name == "optimizer" else text
            try:
                values[name] = RunConfig.fields()[name].parse(text)
            except ConfigError as error:
                raise ExchangeError(f"{path} records {given} {text}, which wdtui does not know: {error}") from error
    return values


def _text(value: Any) -> str:
    """A recorded value as text. Whole numbers are stored as floats."""
    kind = value.WhichOneof("kind")
    plain = getattr(value, kind)
    if kind == "string_value":
        return str(plain)
    return format_value(int(plain) if isinstance(plain, float) and plain.is_integer() else plain)
