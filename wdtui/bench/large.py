"""A store as it is after months of work, made up without training: many runs, most of them in sweeps, a long one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from wdtui.problems.declared import Problem, config_of, declared
from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import knob
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies.grid import Grid

_WEIGHT_DECAYS = 0.0, 0.001, 0.01, 0.1, 0.3, 1.0
_SEEDS = 3
_POINTS, _EVERY = 20, 50
_AT_ONCE = 50_000
_METRICS = "train_loss", "test_loss", "test_accuracy", "weight_norm"


class Classifier(Problem):
    """A classifier"""

    lr: float = knob(0.001, ge=0, affects="live")
    weight_decay: float = knob(1.0, ge=0, affects="live")


def fill(store: Store, runs: int, sweeps: int, points: int) -> None:
    """Add this many runs, of which so many sweeps of 18 hold the oldest ones, and one more with this many points."""
    base = config_of(declared(Classifier, None)).from_mapping({"steps": _POINTS * _EVERY, "log_every": _EVERY})
    for number in range(sweeps):
        grid = Grid.of(base, {"weight_decay": _WEIGHT_DECAYS}, _SEEDS)
        sweep_id = store.sweeps.add(grid, name=f"sweep of a series {number}")
        for place, cell in enumerate(grid.cells()):
            store.sweeps.attach(sweep_id, place, _add(store, cell.config, _POINTS))
    for number in range(runs - sweeps * len(_WEIGHT_DECAYS) * _SEEDS):
        _add(store, base, _POINTS, f"run of a series {number}")
    long = config_of(declared(Classifier, None)).from_mapping({"steps": points * _EVERY, "log_every": _EVERY})
    _add(store, long, points, f"{points:,} points")


def _add(store: Store, config: Config, points: int, name: str = "") -> int:
    run_id = store.add_run(config, name=name)
    claim = store.claim(run_id, device="cpu", threads=1, versions={})
    columns = store.add_columns(claim, _METRICS)
    for measured in _measured(columns, points, np.random.default_rng(run_id)):
        store.append(claim, measured, speed=100.0, milestones={})
    store.set_status(claim, Status.DONE)
    return run_id


def _measured(columns: tuple[str, ...], points: int, random: np.random.Generator) -> Iterator[list[Point]]:
    """The points of a run, in parts."""
    for first in range(0, points, _AT_ONCE):
        place = np.arange(first + 1, min(first + _AT_ONCE, points) + 1)
        left, noise = np.exp(-5 * place / points), partial(random.normal, 1, 0.02, len(place))
        known = {
            "train_loss": (3 * left + 0.01) * noise(),
            "test_loss": (3 * np.sqrt(left) + 0.1) * noise(),
            "test_accuracy": np.clip((1 - left) * noise(), 0, 1),
            "weight_norm": (20 + 30 * left) * noise(),
        }
        nothing = np.full(len(place), math.nan)
        values = np.stack([known.get(name, nothing) for name in columns], axis=1)
        yield [
            Point(step, step, tuple(row)) for step, row in zip((place * _EVERY).tolist(), values.tolist(), strict=True)
        ]
