"""What is known of metrics that nobody declared: a run records them, and their names say how they are looked at.

Names that end in `_accuracy` are shares, those that end in `_loss` or `_norm` are read on a logarithmic scale, and what
differs only in `train_`, `validation_` or `test_` shares a chart. `name/layer` is the value of one layer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from wdtui.schema.chart import Chart, Tone, Trace
from wdtui.schema.metric import Metric
from wdtui.support.text import clean

SPEED = Metric(
    name="steps_per_second", label="speed", help="Training steps per second.", unit="steps/s", timing=True,
)  # fmt: skip
"""What every run records, as its last column."""
_ROLES = {"train_accuracy": "fit", "test_accuracy": "generalise"}
_SPLITS: dict[str, tuple[str, Tone]] = {
    "train": ("train", "train"), "validation": ("validation", "validation"), "valid": ("validation", "validation"),
    "val": ("validation", "validation"), "eval": ("validation", "validation"), "test": ("test", "test"),
}  # fmt: skip
MEASURED = {
    "weight_norm": Metric(
        name="weight_norm", label="weight norm", aliases=("norm",), log=True,
        help="L2 norm of all parameters that are trained. Per layer: of its weight.",
    ),
    "running_variance_min": Metric(
        name="running_variance_min", label="smallest running variance", log=True,
        help="Smallest over channels of the running variance of BatchNorm.",
    ),
    "running_variance_median": Metric(
        name="running_variance_median", label="median running variance", log=True,
        help="Median over channels of the running variance of BatchNorm.",
    ),
    "running_variance_below_epsilon": Metric(
        name="running_variance_below_epsilon", label="running variance below ε", share=True,
        help="Share of the channels of BatchNorm whose running variance is below the layer's ε.",
    ),
    "rotation": Metric(
        name="rotation", label="rotation", unit="rad", log=True, gaps=True,
        help="Angle by which a step turns a weight matrix W. Pooled: median over layers.",
    ),
    "rotation_of_equilibrium": Metric(
        name="rotation_of_equilibrium", label="rotation / equilibrium", gaps=True,
        help="Rotation, relative to the equilibrium predicted for scale-invariant layers. Pooled: median over layers.",
    ),
    "decay_share": Metric(
        name="decay_share", label="decay share", log=True, gaps=True,
        help="Length of the weight decay, relative to the whole update: δ‖W‖ / ‖ΔW‖, with δ = ηλ, or ηλ/(1−μ) "
        "where decay goes through the momentum μ of SGD, or that of a decay rule. Pooled: median over layers.",
    ),
    "scale_invariance": Metric(
        name="scale_invariance", label="cos(W, gradient)", gaps=True,
        help="Cosine of W and its gradient: 0 for a scale-invariant layer. Pooled: median over layers.",
    ),
    "effective_learning_rate": Metric(
        name="effective_learning_rate", label="effective learning rate", log=True,
        help="η / ‖W‖², which says how fast a scale-invariant layer turns (Lobacheva et al. 2021). "
        "Pooled: the largest.",
    ),
    "time_constant": Metric(
        name="time_constant", label="time constant of decay", unit="steps", log=True, gaps=True,
        help="Steps over which decay alone divides weights by e: 1/(ηλ), or (1−μ)/(ηλ) where decay goes through the "
        "momentum μ of SGD, or that of a decay rule. Of the first param group that decays.",
    ),
}  # fmt: skip
"""What wdtui measures itself in a training that it watches."""
_ORDER = ("accuracy", "loss", "norm")
"""The quantities whose charts come first."""
_LAST = "time_constant"
"""The quantity that is most often the same at all points."""


_METRIC = re.compile(r"[^\W\d][\w.\- ]*(/[^/]+)?")
_SPLIT_OF_LOGGERS = re.compile(r"(train|training|valid|validation|val|eval|test)[/.]", re.IGNORECASE)
_LONGEST_NAME = 60
Traits = Mapping[str, Mapping[str, Any]]
"""Properties of metrics by the names of columns, as they are found out where these are measured."""
SPARSE: Mapping[str, Any] = {"every": "log_every"}
"""The trait of what not every point has."""
OF_BATCHES: Mapping[str, Any] = {"of_batches": True}
"""The trait of what the steps of a training pass or return."""


def recorded(metrics: Mapping[str, Metric], columns: Iterable[str], traits: Traits | None = None) -> dict[str, Metric]:
    """The metrics with those added that columns show to be recorded, with their traits. The speed stays last."""
    found = dict(metrics)
    for column in columns:
        name, _, layer = column.partition("/")
        metric = found.get(name) or dataclasses.replace(
            _by_name(name), pooled=not layer, **(traits or {}).get(column, {})
        )
        if layer and not metric.layers:
            metric = dataclasses.replace(metric, layers="layer")
        if not layer and not metric.pooled:
            metric = dataclasses.replace(metric, pooled=True)
        found[name] = metric
    speed = found.pop(SPEED.name, SPEED)
    return found | {SPEED.name: speed}


@lru_cache(maxsize=10_000)
def metric_name(name: str) -> str:
    """A name as metrics can have it, `name` or `name/layer`; empty where it is one that wdtui itself records.

    `train/loss`, as some loggers write it, is `train_loss`.
    """
    plain = _SPLIT_OF_LOGGERS.sub(lambda split: f"{split[1]}_", clean(name).strip(), count=1)
    head, slash, layer = plain.partition("/")
    plain = re.sub(r"[^\w.\- ]", "_", head)[:_LONGEST_NAME] + slash + layer.replace("/", ".")[:120]
    plain = plain if _METRIC.fullmatch(plain) else re.sub(r"[^\w.\-]", "_", f"_{plain}")
    return "" if plain in (SPEED.name, "step", "epoch") else plain


def charts_of(metrics: Mapping[str, Metric]) -> tuple[Chart, ...]:
    """A chart for each quantity, with a curve for each split of it; the best known quantities come first."""
    groups: dict[str, list[Metric]] = {}
    for metric in metrics.values():
        groups.setdefault(_quantity(metric.name), []).append(metric)
    names = sorted(
        groups, key=lambda name: (groups[name][0].timing, name == _LAST, *(name != known for known in _ORDER))
    )
    return tuple(_chart(name, groups[name]) for name in names)


def _chart(quantity: str, metrics: list[Metric]) -> Chart:
    pooled = sorted((metric for metric in metrics if metric.pooled), key=lambda one: _place(one.name))
    layers = next((metric.name for metric in metrics if metric.layers), "")
    traces = tuple(
        Trace(
            metric.name, *_SPLITS.get(_split(metric.name), ("", "test") if len(pooled) == 1 else (metric.label, "test"))
        )
        for metric in pooled
    )
    return Chart(
        name=quantity,
        title=quantity.replace("_", " ") if len(metrics) > 1 else metrics[0].label,
        traces=traces,
        compared=(traces[0].metric, traces[-1].metric) if len(traces) > 1 else (),
        layers=layers,
        layers_title=f"{quantity.replace('_', ' ')} per layer" if layers else "",
        log=any(metric.log for metric in metrics),
        about=metrics[0].help,
    )


def _by_name(name: str) -> Metric:
    if name in MEASURED:
        return MEASURED[name]
    share = name == "accuracy" or name.endswith("_accuracy")
    return Metric(
        name=name,
        label=name.replace("_", " "),
        help=f"{name.replace('_', ' ').capitalize()}, as the training records it.",
        share=share,
        role=_ROLES.get(name, ""),  # type: ignore[arg-type]
        log=name in ("loss", "norm") or name.endswith(("_loss", "_norm")),
    )


def _split(name: str) -> str:
    return name.partition("_")[0] if "_" in name else ""


def _quantity(name: str) -> str:
    split = _split(name)
    return name.removeprefix(f"{split}_") if split in _SPLITS else name


def _place(name: str) -> int:
    """Where a curve lies among those of its chart: train below, test on top."""
    order = ("train", "validation", "test")
    split = _SPLITS.get(_split(name))
    return order.index(split[0]) if split else len(order)
