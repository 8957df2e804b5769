"""METRICS: every quantity that a run measures, defined once, and the curves that a run's points make.

Plain Python and numpy: no torch, no UI. `lab/measure.py` computes the values; the store, the charts and the exports
know them only through this list.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from wdtui.config import RunConfig
from wdtui.sizes import layer_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured quantity."""

    name: str
    label: str
    help: str
    unit: str = ""
    log: bool = False
    """Whether it is best read on a logarithmic scale."""
    pooled: bool = True
    """Whether one value for the whole network is recorded."""
    layers: str = ""
    """Of which layers a value each is recorded too: "linear", "norm" (BatchNorm), "invariant" (linear before one)."""
    timing: bool = False
    """Whether it depends on the machine's mood, so that two equal runs differ in it."""
    every: str = ""
    """The hyperparameter that says how often it is measured: NaN at the points in between, no values at all at 0."""

    def columns(self, config: RunConfig) -> Iterator[str]:
        """The names under which its values are recorded, `name` and `name/layer`."""
        if self.every and not getattr(config, self.every):
            return
        layers = layer_names(config, self.layers) if self.layers else ()
        if self.pooled and (layers or self.layers in ("", "linear")):
            yield self.name
        yield from (f"{self.name}/{layer}" for layer in layers)


def _performance() -> Iterator[Metric]:
    kinds = {
        "train": ("training", "mean over the epoch's batches, in training mode, as the steps are taken"),
        "validation": ("validation", "on held-out pairs with the digit counts of training, in evaluation mode"),
        "test": ("test", "on pairs with digit counts that training never shows, in evaluation mode"),
    }
    for kind, (label, how) in kinds.items():
        yield Metric(name=f"{kind}_loss", label=f"{label} loss", log=True, help=f"Loss {how}.")
        yield Metric(
            name=f"{kind}_accuracy",
            label=f"{label} accuracy",
            help=f"Share of pairs with every output bit right, {how}.",
        )
        yield Metric(
            name=f"{kind}_bit_accuracy", label=f"{label} bit accuracy", help=f"Share of output bits right, {how}."
        )


_VARIANCE = "over channels of the variance within a batch, averaged over the epoch's batches"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_performance(),
        Metric(
            name="weight_norm",
            label="weight norm",
            log=True,
            layers="linear",
            help="Sum over parameter tensors of their L2 norms, as in the article's figure; per layer, the matrix's.",
        ),
        Metric(
            name="weight_norm_squared",
            label="squared weight norm",
            log=True,
            help="Sum of all squared parameters, as in the article's text.",
        ),
        Metric(
            name="gradient_norm",
            label="gradient norm",
            log=True,
            help="L2 norm of the gradient at the epoch's last step.",
        ),
        Metric(
            name="update_norm",
            label="update norm",
            log=True,
            help="L2 norm of the change of all parameters in the epoch's last step, decay included.",
        ),
        Metric(
            name="effective_learning_rate",
            label="effective learning rate",
            log=True,
            layers="invariant",
            help="lr / ‖W‖² of a layer whose ‖W‖ a BatchNorm cancels; overall, the largest (Lobacheva et al. 2021).",
        ),
        Metric(
            name="bn_variance_min",
            label="smallest BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Smallest {_VARIANCE}.",
        ),
        Metric(
            name="bn_variance_median",
            label="median BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Median {_VARIANCE}.",
        ),
        Metric(
            name="bn_variance_max",
            label="largest BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Largest {_VARIANCE}.",
        ),
        Metric(
            name="bn_below_epsilon",
            label="channels below ε",
            layers="norm",
            help="Share of channels whose batch variance, averaged over the epoch, is below ε.",
        ),
        Metric(
            name="running_variance_min",
            label="smallest running variance",
            log=True,
            layers="norm",
            help="Smallest over channels of the running variance that evaluation uses.",
        ),
        Metric(
            name="sharpness",
            label="sharpness",
            every="sharpness_every",
            help="Learning rate · largest eigenvalue of the Hessian of the training loss on a few fixed batches, "
            "preconditioned as Adam does (Cohen et al. 2022).",
        ),
        Metric(
            name="steps_per_second",
            label="speed",
            unit="steps/s",
            timing=True,
            help="Steps per second since the last point.",
        ),
    )
}


def columns(config: RunConfig) -> tuple[str, ...]:
    """The names of the values that make up one point of such a run, in order."""
    return tuple(column for metric in METRICS.values() for column in metric.columns(config))


def finite(config: RunConfig, point: Point) -> bool:
    """Whether all that is measured at every point is a finite number."""
    sparse = {column for metric in METRICS.values() if metric.every for column in metric.columns(config)}
    return all(math.isfinite(x) for name, x in zip(columns(config), point.values, strict=True) if name not in sparse)


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """What was measured at the end of one logged epoch; `values` are in the order of `columns(config)`."""

    step: int
    epoch: int
    values: tuple[float, ...]

    def under(self, names: Sequence[str], others: Sequence[str]) -> Point:
        """This point, whose values have `names`, with the values that have other names; NaN where there is none."""
        if tuple(names) == tuple(others):
            return self
        known = dict(zip(names, self.values, strict=True))
        return Point(self.step, self.epoch, tuple(known.get(name, math.nan) for name in others))


class Curves:
    """The points of one run as arrays: `curves["test_accuracy"]` is float64 [points], all NaN where not measured."""

    def __init__(
        self, names: Sequence[str], steps: NDArray[np.int64], epochs: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        self.names = tuple(names)
        self.steps = steps
        self.epochs = epochs
        self.values = values
        """Shape [points, metrics]."""

    @classmethod
    def of(cls, config: RunConfig, points: Iterable[Point]) -> Curves:
        """Collect points as a training yields them."""
        points = list(points)
        names = columns(config)
        values = np.array([point.values for point in points], dtype=np.float64).reshape(len(points), len(names))
        steps = np.array([point.step for point in points], dtype=np.int64)
        return cls(names, steps, np.array([point.epoch for point in points], dtype=np.int64), values)

    def __len__(self) -> int:
        return len(self.steps)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        if name not in self.names:
            return np.full(len(self), np.nan)
        return self.values[:, self.names.index(name)]

    def measured(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and values of a metric at the points that have a finite one, [measurements] each."""
        values = self[name]
        finite = np.isfinite(values)
        return self.steps[finite], values[finite]

    def last(self) -> dict[str, float]:
        """The newest point, by metric; empty before the first."""
        return dict(zip(self.names, self.values[-1].tolist(), strict=True)) if len(self) else {}

    def telling(self, bucket: int) -> NDArray[np.intp]:
        """Indices of the points without which a chart would look different, of a long run's many.

        Of every `bucket` points: the first, and those at which one of the main metrics is smallest or largest.
        """
        whole = len(self) // bucket * bucket
        first = np.arange(0, whole, bucket)
        kept = [first, np.arange(whole, len(self))]
        for name in ("train_accuracy", "test_accuracy", "train_loss", "bn_variance_min", "sharpness"):
            rows = self[name][:whole].reshape(-1, bucket)
            gap = ~np.isfinite(rows)
            kept += [first + np.where(gap, np.inf, rows).argmin(1), first + np.where(gap, -np.inf, rows).argmax(1)]
        return np.unique(np.concatenate(kept))
