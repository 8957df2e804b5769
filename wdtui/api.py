"""The Python API: `wdtui.load` and `wdtui.train`, for notebooks and scripts of one's own.

`import wdtui` costs nothing; the first use of a name here imports what it needs, and only `train` imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wdtui.config import ConfigError, RunConfig
from wdtui.errors import DivergedError, WdtuiError
from wdtui.exchange.taken import Run, take
from wdtui.runs.store import Store, StoreError

__all__ = ["ConfigError", "DivergedError", "Run", "RunConfig", "StoreError", "WdtuiError", "load", "train"]


def load(run: str | int, store: str | Path | None = None) -> Run:
    """Read a run from the store: `run` is its number, its name or "last"; `store` a folder, by default the usual one.

    Its `curves` are numpy arrays [points] by metric name, with "step" and "epoch" beside them. Raises StoreError, a
    sentence that a person can act on.
    """
    with Store(Path(store) if store else None) as opened:
        return take(opened, run)


def train(
    config: RunConfig | Mapping[str, Any] | None = None, /, *, device: str = "cpu", **fields: Any
) -> Iterator[dict[str, float]]:
    """Train one network in this process and yield a point per logged epoch, keeping nothing in the store.

    Give a RunConfig or a mapping, or fields by name, or both: `fields` win over `config`, which wins over the defaults.
    A point has "step", "epoch" and every metric of `wdtui.metrics.columns(config)`, NaN where it was not measured.
    Raises ConfigError, before anything is trained, for a config that no run can have, and DivergedError, after the
    point of that epoch, when a loss is not finite.
    """
    given = config.to_mapping() if isinstance(config, RunConfig) else config or {}
    return _points(RunConfig.from_mapping(given, fields), device)


def _points(config: RunConfig, device: str) -> Iterator[dict[str, float]]:
    from wdtui.lab.devices import resolve_device
    from wdtui.lab.training import train as train_points

    names = "step", "epoch", *config.columns
    for point in train_points(config, resolve_device(device)):
        yield dict(zip(names, (point.step, point.epoch, *point.values), strict=True))
