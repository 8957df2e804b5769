"""How long training will take here, from what the store knows of earlier runs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable
from itertools import islice
from typing import Any

from wdtui.config import RunConfig
from wdtui.runs.records import RunRecord
from wdtui.sizes import step_flops

_LOOKED_AT = 200
"""How many of the newest runs are asked for their speed."""
_SHAPE = "architecture", "width", "blocks", "bits", "batch_size"
"""Of these hyperparameters the time of a step is made."""


def expected_speed(config: RunConfig, runs: Iterable[RunRecord]) -> float:
    """Expected steps/s: the median of earlier runs of the same shape, newest first, or a rough guess for one CPU."""
    shape = list(_shape(config))
    speeds = [
        run.speed
        for run in islice(runs, _LOOKED_AT)
        if run.speed and [run.values.get(name) for name in _SHAPE] == shape
    ]
    return statistics.median(speeds) if speeds else _rough_speed(config)


def expected_seconds(
    work: Iterable[tuple[RunConfig, int]], runs: Iterable[RunRecord], *, workers: int | None, threads: int | None
) -> float:
    """How long it takes to train configs for so many steps each, several at once, on the CPU."""
    runs = list(islice(runs, _LOOKED_AT))
    seconds: dict[tuple[Any, ...], float] = {}
    total = 0.0
    for config, steps in work:
        shape = _shape(config)
        if shape not in seconds:
            seconds[shape] = 1 / expected_speed(config, runs)
        total += steps * seconds[shape]
    return total / (workers or max((os.cpu_count() or 1) // (threads or 1), 1))


def _shape(config: RunConfig) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in _SHAPE)


def _rough_speed(config: RunConfig) -> float:
    """Fits what two CPU cores were measured at: 4,500 steps/s at width 32, 3,300 at 64, 750 at 256.

    For the transformer at width 128 it is too high by half: 12 steps/s were measured, 27 with 16 bits.
    """
    return 1 / (2e-4 + step_flops(config) / 1e11)
