"""A run as a folder of TensorBoard: a scalar per metric under its own name, and the config as hyperparameters.

Needs the extra `tensorboard`. TensorBoard keeps scalars as float32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from wdtui.analysis import sweep_table
from wdtui.exchange.exported import Run
from wdtui.schema.hyperparameters import format_value

PATTERN = "events.out.tfevents.*.wdtui"
"""The event files that `write` creates in a folder."""


def write(run: Run, path: Path) -> None:
    """Write one event file into a folder. A gap (NaN) has no event."""
    writer = EventFileWriter(str(path), filename_suffix=Path(PATTERN).suffix)
    try:
        for event in _events(run):
            writer.add_event(event)
    finally:
        writer.close()


def _events(run: Run) -> Iterator[Any]:
    points = _timed(run)
    first = next(points, None)
    started = first[0] if first else run.record.created
    hyperparameters = {name: _hyperparameter(getattr(run.config, name)) for name in run.config.fields()}
    config = hparams_config_pb(list(map(HParam, hyperparameters)), list(map(Metric, _tabled(run))), started)
    yield Event(wall_time=started, summary=config)
    yield Event(wall_time=started, summary=hparams_pb(hyperparameters, run.name or f"run-{run.id}", started))
    last = first
    for last in itertools.chain([first] if first else [], points):
        time, step, values = last
        yield _scalars(step, time, values)
    if last:
        seen = run.milestones
        found: dict[str, float | None] = {
            "fit_step": seen.fit_step,
            "generalise_step": seen.generalise_step,
            "blowups": len(seen.blowup_steps),
        }
        reached = {f"milestones/{name}": value for name, value in found.items() if value is not None}
        yield _scalars(last[1], last[0], reached)


def _tabled(run: Run) -> list[str]:
    """The scalars whose last values TensorBoard's table of runs shows beside the hyperparameters."""
    seen = {*sweep_table.MILESTONES}
    return [f"milestones/{name}" if name in seen else name for name in sweep_table.columns(run.record.schema)]


def _scalars(step: int, time: float, values: dict[str, float]) -> Any:
    shown = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if not math.isnan(value)]
    return Event(step=step, wall_time=time, summary=Summary(value=shown))


def _timed(run: Run) -> Iterator[tuple[float, int, dict[str, float]]]:
    """The time of each point in unix seconds, its step and its values. Times follow from the speeds, without pauses."""
    time, before = run.record.started or run.record.created, 0
    for step, *row in run.rows():
        values = dict(zip(run.columns[1:], row, strict=True))
        speed = values.get("steps_per_second", math.nan)
        time += (step - before) / speed if speed > 0 else 0
        yield time, int(step), values
        before = int(step)


def _hyperparameter(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else format_value(value)
