"""The Python API: `wdtui.load` and `wdtui.train`, for notebooks and scripts.

`import wdtui` is cheap. The first use of a name here imports what it needs. Only `train` imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wdtui.exchange import exported
from wdtui.exchange.exported import Run
from wdtui.problems import registry
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.store import Store, StoreError
from wdtui.support.errors import DivergedError, WdtuiError

__all__ = ["ConfigError", "DivergedError", "Run", "RunConfig", "StoreError", "WdtuiError", "load", "train"]


def load(run: str | int, store: str | Path | None = None) -> Run:
    """Read a run from the store.

    `run` is its number, its name or "last". `store` is a folder, by default the configured one. The run's `curves` are
    numpy arrays of shape [points] by metric name, and also have "step", and "epoch" if the problem has epochs. Raises
    StoreError.
    """
    with Store(Path(store) if store else None) as opened:
        return exported.load(opened, run)


def train(
    config: Config | Mapping[str, Any] | None = None,
    /,
    *,
    problem: str = registry.DEFAULT,
    device: str = "cpu",
    **fields: Any,
) -> Iterator[dict[str, float]]:
    """Train one network in this process and yield a point per logged epoch. Nothing is written to the store.

    Give a config or a mapping, or fields by name, or both. `fields` override `config`, and `config` overrides the
    defaults. `problem` names the problem to train if `config` is not a Config. A point has "step", "epoch" and every
    metric that was found so far. A metric that was not measured is NaN.

    Raises ConfigError before training if the config is invalid, and DivergedError after the point of the epoch in
    which the loss is no longer finite.
    """
    if isinstance(config, Config):
        return _points(config.replace(**fields), device)
    return _points(registry.find(problem).config.from_mapping(config or {}, fields), device)


def _points(config: Config, device: str) -> Iterator[dict[str, float]]:
    from wdtui.training import trainer
    from wdtui.training.devices import resolve_device

    session = trainer(config).open_session(config, resolve_device(device), ())
    for point in session.points():
        yield dict(zip(("step", "epoch", *session.columns), (point.step, point.epoch, *point.values), strict=True))
