"""A run as a folder of TensorBoard: a scalar per metric under its own name, and the config as hyperparameters.

Needs the extra `tensorboard`. TensorBoard keeps scalars as float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from wdtui.config import FIELDS
from wdtui.exchange.taken import Run
from wdtui.hyperparameters import format_value

_SUFFIX = ".wdtui"
_TABLED = "train_accuracy", "test_accuracy", "test_loss", "weight_norm", *(
    f"milestones/{name}" for name in ("fit_step", "generalise_step", "blowups")
)  # fmt: skip
"""The scalars whose last values stand beside the hyperparameters in TensorBoard's table of runs."""


def write(run: Run, path: Path) -> None:
    """Write the folder of one run, in place of what was written there for it before; a gap (NaN) is no event."""
    for before in path.glob(f"events.out.tfevents.*{_SUFFIX}"):
        before.unlink()
    writer = EventFileWriter(str(path), filename_suffix=_SUFFIX)
    try:
        for event in _events(run):
            writer.add_event(event)
    finally:
        writer.close()


def _events(run: Run) -> Iterator[Any]:
    steps, times = run.curves["step"].tolist(), _times(run)
    begun = times[0] if times else run.record.created
    hyperparameters = {name: _hyperparameter(getattr(run.config, name)) for name in FIELDS}
    config = hparams_config_pb([HParam(name) for name in FIELDS], [Metric(tag) for tag in _TABLED], begun)
    yield Event(wall_time=begun, summary=config)
    yield Event(wall_time=begun, summary=hparams_pb(hyperparameters, run.name or f"run-{run.id}", begun))
    names = [name for name in run.curves if name != "step"]
    for step, time, row in zip(steps, times, run.rows(), strict=True):
        values = dict(zip(run.curves, row, strict=True))
        yield _scalars(step, time, {name: values[name] for name in names})
    if steps:
        seen = run.milestones
        found: dict[str, float | None] = {
            "fit_step": seen.fit_step,
            "generalise_step": seen.generalise_step,
            "blowups": len(seen.blowup_steps),
        }
        reached = {f"milestones/{name}": value for name, value in found.items() if value is not None}
        yield _scalars(steps[-1], times[-1], reached)


def _scalars(step: int, time: float, values: dict[str, float]) -> Any:
    shown = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items() if not math.isnan(value)]
    return Event(step=step, wall_time=time, summary=Summary(value=shown))


def _times(run: Run) -> list[float]:
    """When each point was measured, in unix seconds, as if the run had never rested: its speeds tell."""
    gaps: NDArray[np.float64] = np.diff(run.curves["step"], prepend=0).astype(np.float64)
    speeds = run.curves.get("steps_per_second", np.full(len(run), np.nan))
    seconds = np.divide(gaps, speeds, out=np.zeros(len(run)), where=speeds > 0)
    begun = run.record.started or run.record.created
    return [begun + passed for passed in np.cumsum(seconds).tolist()]


def _hyperparameter(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else format_value(value)
