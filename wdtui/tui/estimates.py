"""What is said about a run before it starts: its size, how long it will take, which λ the normalised rule suggests."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import islice

from wdtui.config import RunConfig, normalized_decay
from wdtui.runs.records import RunRecord
from wdtui.sizes import step_flops
from wdtui.text import duration, number

_LOOKED_AT = 200
"""How many of the newest runs are asked for their speed."""
_SHAPE = "architecture", "width", "blocks", "bits", "batch_size"
"""Of these hyperparameters the time of a step is made."""
_SUGGESTED = 0.05
"""The λ_norm that the suggestion uses: the upper end of what Loshchilov & Hutter advise."""


def arithmetic(config: RunConfig, runs: Iterable[RunRecord]) -> list[str]:
    """Lines that say what a run of this config amounts to; `runs`, newest first, know how fast this machine is."""
    seconds = config.steps / speed(config, runs)
    suggested = normalized_decay(config, _SUGGESTED)
    return [
        f"{number(config.parameters)} parameters",
        f"{number(config.steps)} steps · about {duration(seconds)}",
        f"λ_norm {_SUGGESTED:g} suggests λ = {number(round_two(suggested['pytorch']))}",
        f"(paper's convention {number(round_two(suggested['paper']))})",
    ]


def speed(config: RunConfig, runs: Iterable[RunRecord]) -> float:
    """Expected steps/s: the median of earlier runs of the same shape, or else a rough guess for one CPU."""
    shape = [getattr(config, name) for name in _SHAPE]
    speeds = [
        run.speed
        for run in islice(runs, _LOOKED_AT)
        if run.speed and [run.values.get(name) for name in _SHAPE] == shape
    ]
    return statistics.median(speeds) if speeds else _rough_speed(config)


def _rough_speed(config: RunConfig) -> float:
    """Fits what two CPU cores were measured at: 4,500 steps/s at width 32, 3,300 at 64, 750 at 256.

    For the transformer at width 128 it is too high by half: 12 steps/s were measured, 27 with 16 bits.
    """
    return 1 / (2e-4 + step_flops(config) / 1e11)


def round_two(value: float) -> float:
    return float(f"{value:.2g}")
