"""Runs of models with many layers, with the gauges that a watched training records, made up without training."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from wdtui.problems.declared import Problem, config_of, declared
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import knob
from wdtui.store.records import Claim
from wdtui.store.store import Store

_MATRICES = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.fc1", "mlp.fc2")
_EVERY = 50
_TIME_CONSTANT = 1000.0


class Transformer(Problem):
    """A transformer with QK-norm"""

    lr: float = knob(0.001, ge=0, affects="live")
    weight_decay: float = knob(1.0, ge=0, affects="live")


class Layered:
    """A run in a store whose points are appended on request."""

    def __init__(self, store: Store, layers: int, steps: int = 10_000) -> None:
        self._store, self._steps = store, itertools.count(_EVERY, _EVERY)
        schema = dataclasses.replace(declared(Transformer, None), watched=True)
        config = config_of(schema).from_mapping({"steps": steps, "log_every": _EVERY})
        self.run_id = store.add_run(config, name=f"{layers} layers")
        self.claim: Claim = store.claim(self.run_id, device="cpu", threads=1, versions={})
        names = itertools.chain(["wte"], (f"blocks.{at}.{name}" for at in itertools.count() for name in _MATRICES))
        self._layers = [*itertools.islice(names, layers - 1), "head"]
        self._random = np.random.default_rng(0)
        self._columns = ("train_loss", "weight_norm", "rotation", "time_constant", *self._per_layer())
        self._columns = store.add_columns(self.claim, self._columns)

    def _per_layer(self) -> Iterator[str]:
        gauges = ("weight_norm", "rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance")
        others = ("effective_learning_rate", "running_variance_min", "running_variance_median")
        yield from (f"{gauge}/{layer}" for gauge in (*gauges, *others) for layer in self._layers)

    def append(self, points: int = 1) -> None:
        """Measure so many more points."""
        measured = [self._point(next(self._steps)) for _ in range(points)]
        self._store.append(self.claim, measured, speed=100.0, milestones={})

    def _point(self, step: int) -> Point:
        random, count = self._random, len(self._layers)
        left, place = math.exp(-step / _TIME_CONSTANT), np.arange(count)
        invariant = np.array([name.endswith((".q", ".k")) for name in self._layers])
        norm = 4 + place % 7 + (6 - place % 5) * left
        ratio = (0.85 + 0.3 * (place % 11) / 10) * (1 - 0.7 * left) * random.normal(1, 0.02, count)
        ratio = np.where(invariant, ratio, 0.4 * ratio)
        share = np.where(invariant, 0.02, 0.1 + 0.8 * (place % 13) / 12) * random.normal(1, 0.02, count)
        cosine = np.where(invariant, 1e-6, 0.05) * random.normal(1, 0.5, count)
        values = [3 * left + 0.1, float(np.linalg.norm(norm)), float(np.median(0.01 * ratio)), _TIME_CONSTANT]
        by_gauge = (norm, 0.01 * ratio, ratio, share, cosine, 0.001 / norm**2, 0.1 + norm, 0.2 + norm)
        return Point(step, step, (*values, *np.concatenate(by_gauge).tolist(), 100.0))
