"""What weight decay does to each layer of a run, from the gauges that it has recorded: a table, and sentences.

The gauges belong to single steps, so a value here is the median over the last ten points. An equilibrium of its
rotation is predicted for a scale-invariant layer alone (Kosson et al. 2023, arXiv 2305.17212): other layers have none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from wdtui.schema.curves import Curves
from wdtui.schema.decay import TimeConstant
from wdtui.support.text import clean, number, percent

_GAUGES = ("weight_norm", "rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance")
_RECENT = 10
"""The number of points whose median is shown."""
_INVARIANT = 0.001
"""The largest |cos(W, ∇W)| of a scale-invariant layer, at all of the recent points: one alone may be small by chance.

Measured in small networks: below 2e-4 before a normalisation, above 0.02 elsewhere, and between them where a variance
is near ε, which makes the rotation smaller.
"""
_NEAR = 1.25
"""A rotation is near its equilibrium if neither is larger than the other by this factor."""
_SMALL, _LARGE = 0.1, 0.5
"""A decay share below the first is small, and one above the second is the main part of an update."""
_UNNAMED = "the time constant of decay"
_Floats = NDArray[np.float64]


class Layer(NamedTuple):
    """One weight matrix. What was not measured of it is NaN."""

    name: str
    norm: float
    """‖W‖ at the last point."""
    rotation: float
    """In radians per step."""
    equilibrium: float
    """The rotation relative to its predicted equilibrium; NaN if the layer is not scale-invariant."""
    decay_share: float
    """ηλ‖W‖ / ‖ΔW‖, where ΔW is the update."""
    cosine: float
    """The largest |cos(W, ∇W)|."""
    invariant: bool | None
    """Whether it is scale-invariant; None while that is unknown."""

    @property
    def deviation(self) -> float:
        """How far its rotation is from the equilibrium: |ln(ratio)|, NaN if it has none."""
        return abs(math.log(self.equilibrium)) if self.equilibrium > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class Decay:
    """The layers of a run in the order of its network, its time constant, and what matters."""

    layers: tuple[Layer, ...]
    constant: TimeConstant | None
    sentences: tuple[str, ...]
    line: str


ORDERS: Mapping[str, Callable[[Layer], float]] = {
    "deviation": lambda layer: layer.deviation,
    "share": lambda layer: layer.decay_share,
    "network": lambda layer: math.nan,
}
"""By what layers can be ordered, largest first. Layers without a value come last, in the order of the network."""


def ordered(layers: Sequence[Layer], order: str, grain: float = 0.0) -> list[Layer]:
    """The layers in one of the ORDERS. Of those whose values differ by less than a grain the first stays first."""
    values = {layer.name: ORDERS[order](layer) for layer in layers}
    keys = {name: round(value / grain) if grain and math.isfinite(value) else value for name, value in values.items()}
    return sorted(layers, key=lambda layer: (math.isnan(keys[layer.name]), -keys[layer.name]))


def matching(layers: Sequence[Layer], pattern: str) -> list[Layer]:
    """The layers whose names contain a pattern, in any case; * stands for anything."""
    return [layer for layer in layers if _has(layer.name, pattern)] if pattern.strip() else list(layers)


def _has(name: str, pattern: str) -> bool:
    return fnmatchcase(name.lower(), f"*{pattern.strip().lower()}*")


def gauged(curves: Curves) -> bool:
    """Whether the run has decay gauges of layers: more than their norms, at some point at least.

    A run that was begun by an older version has gained the columns, without values.
    """
    recorded = any(place >= 0 for places in _places(curves.names).values() for place in places[1:])
    return recorded and ("rotation" not in curves or bool(np.isfinite(curves["rotation"]).any()))


def norms(curves: Curves, layer: str, most: int) -> _Floats:
    """The norm of a layer at no more than `most` points, evenly spread over the run."""
    _, values = curves.measured(f"weight_norm/{layer}")
    spread: NDArray[np.intp] = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(np.intp)
    return values[spread]


_extremes: WeakKeyDictionary[Curves, dict[tuple[str, str, int], tuple[list[str], int]]] = WeakKeyDictionary()
"""What `extremes` found. One figure asks several times, and a cache of the arguments would keep old curves alive."""


def extremes(curves: Curves, metric: str, pattern: str, most: int) -> tuple[list[str], int]:
    """The columns of those layers whose values of a metric are largest and smallest now, and how many there are.

    At most `most`, in the order of the network, of the layers whose names have the pattern.
    """
    found = _extremes.setdefault(curves, {})
    if (metric, pattern, most) not in found:
        found[metric, pattern, most] = _found_extremes(curves, metric, pattern, most)
    return found[metric, pattern, most]


def _found_extremes(curves: Curves, metric: str, pattern: str, most: int) -> tuple[list[str], int]:
    columns = _columns(curves.names, metric, pattern)
    places = np.array([*columns.values()], dtype=np.intp)
    if len(places) > most:
        now = _median(curves.values[_recent(curves, metric)][:, places])
        ranks = np.argsort(now)[: np.isfinite(now).sum()]  # NaN is last
        places = np.sort(places[np.union1d(ranks[: most // 2], ranks[-(most - most // 2) :])])
    return [curves.names[place] for place in places], len(columns)


def decay(curves: Curves, steps: int, declared: TimeConstant | None = None) -> Decay:
    """What decay does in a run of so many steps. `declared` is its time constant by its hyperparameters."""
    layers = _layers(curves)
    constant = _constant(curves, declared)
    done = int(curves.steps[-1]) if len(curves) else 0
    settled = [layer for layer in layers if not math.isnan(layer.deviation)]
    shares = [layer for layer in layers if not math.isnan(layer.decay_share)]
    sentences = [
        *_reach(constant, steps),
        *(_too_early(constant, done) if settled else ()),
        *(_equilibrium(settled) if settled and not (constant and constant.steps > done) else ()),
        *_without_equilibrium(layers),
        *(_share(shares) if shares else ()),
        *_below_epsilon(curves),
    ]
    parts = [f"{constant.formula} {number(constant.steps)} steps"] if constant and math.isfinite(constant.steps) else []
    parts += [f"rotation {_ratio(_middle([one.equilibrium for one in settled]))} of equilibrium"] if settled else []
    parts += [f"decay share {percent(_middle([one.decay_share for one in shares]))}"] if shares else []
    return Decay(tuple(layers), constant, tuple(f"{sentence}." for sentence in sentences), " · ".join(parts))


def _layers(curves: Curves) -> list[Layer]:
    places = _places(curves.names)
    if not places or not len(curves):
        return []
    at = np.array([*places.values()])
    blocks = (curves.values[_recent(curves, "weight_norm")], *[curves.values[_recent(curves, "rotation")]] * 4)
    by_gauge = [
        np.where(at[:, index] >= 0, summary(block[:, at[:, index]]), np.nan)
        for index, (block, summary) in enumerate(zip(blocks, (_last, _median, _median, _median, _largest), strict=True))
    ]
    cosines = by_gauge[-1]
    enough = np.isfinite(blocks[-1][:, at[:, -1]]).sum(axis=0) >= _RECENT
    free, bound = (cosines <= _INVARIANT) & enough, cosines > _INVARIANT
    by_gauge[2] = np.where(free, by_gauge[2], np.nan)
    rows = zip(places, np.stack(by_gauge, axis=1).tolist(), free.tolist(), bound.tolist(), strict=True)
    return [
        Layer(name, norm, rotation, ratio, share, cosine, True if is_free else False if is_bound else None)
        for name, (norm, rotation, ratio, share, cosine), is_free, is_bound in rows
    ]


def _recent(curves: Curves, metric: str) -> NDArray[np.intp]:
    """The last points that have a metric. Gauges are not measured at every point; their pooled value says at which."""
    pooled = metric in curves
    return np.flatnonzero(np.isfinite(curves[metric]) if pooled else np.ones(len(curves)))[-_RECENT:]


@lru_cache(maxsize=16)
def _places(names: tuple[str, ...]) -> dict[str, list[int]]:
    """For each layer the column of each gauge, -1 for none."""
    places: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        gauge, _, layer = name.partition("/")
        if layer and gauge in _GAUGES:
            places.setdefault(layer, [-1] * len(_GAUGES))[_GAUGES.index(gauge)] = column
    return places


@lru_cache(maxsize=64)
def _columns(names: tuple[str, ...], metric: str, pattern: str) -> dict[str, int]:
    """The places of a metric's columns for the layers whose names have a pattern."""
    return {
        layer: place
        for place, (name, _, layer) in enumerate(one.partition("/") for one in names)
        if layer and name == metric and _has(layer, pattern)
    }


def _last(block: _Floats) -> _Floats:
    """The last number of each column; NaN if there is none."""
    if not len(block):
        return np.full(block.shape[1], np.nan)
    from_end = np.isfinite(block)[::-1].argmax(axis=0)
    last: _Floats = block[::-1][from_end, np.arange(block.shape[1])]
    return last


def _median(block: _Floats) -> _Floats:
    """The median of the numbers of each column; NaN if there is none."""
    if not len(block):
        return np.full(block.shape[1], np.nan)
    count, columns = np.isfinite(block).sum(axis=0), np.arange(block.shape[1])
    ascending = np.sort(np.where(np.isfinite(block), block, np.nan), axis=0)  # NaN last
    middle: _Floats = (ascending[(count - 1) // 2, columns] + ascending[count // 2 - (count == 0), columns]) / 2
    return middle


def _largest(block: _Floats) -> _Floats:
    """The largest size of the numbers of each column; NaN if there is none."""
    largest = np.where(np.isfinite(block), abs(block), -1.0).max(axis=0, initial=-1.0)
    return np.where(largest >= 0, largest, np.nan)


def _constant(curves: Curves, declared: TimeConstant | None) -> TimeConstant | None:
    """The time constant as it was measured, or else as declared; where η or λ changes, over all steps so far."""
    steps, values = curves.measured("time_constant")
    if not len(values):
        unknown = declared is None or (gauged(curves) and math.isfinite(declared.steps))
        return None if unknown else declared  # a rule of its own divides decay by something else, as Adam's does
    spans = np.diff(steps, prepend=0)
    mean = float(spans.sum() / (spans / values).sum())
    if values.max() > values.min() * 1.001:
        return TimeConstant(mean, f"the mean of {declared.formula if declared else _UNNAMED}")
    known = declared is not None and math.isclose(declared.steps, mean, rel_tol=1e-3)
    return TimeConstant(mean, declared.formula if known and declared else _UNNAMED)


def _reach(constant: TimeConstant | None, steps: int) -> Iterator[str]:
    if constant and steps:
        yield constant.reach(steps) or "λ is 0: nothing decays"


def _too_early(constant: TimeConstant | None, done: int) -> Iterator[str]:
    if constant and done < constant.steps < math.inf:
        yield f"Layers come to equilibrium after {number(constant.steps)} steps or more, and {number(done)} are done"


def _equilibrium(layers: Sequence[Layer]) -> Iterator[str]:
    worst = ordered(layers, "deviation")[0]
    near = sum(layer.deviation <= math.log(_NEAR) for layer in layers)
    if len(layers) > 1 and near in (0, len(layers)):
        low, high = (_ratio(which(layer.equilibrium for layer in layers)) for which in (min, max))
        yield f"All {len(layers)} scale-invariant layers rotate at {low} to {high} of their equilibrium"
        return
    yield f"Layer {clean(worst.name)} rotates at {_ratio(worst.equilibrium)} of its equilibrium"
    if len(layers) > 1:
        yield f"{near} of {len(layers)} scale-invariant layers rotate near their equilibrium"


def _without_equilibrium(layers: Sequence[Layer]) -> Iterator[str]:
    if layers and all(layer.invariant is False for layer in layers):
        yield "No layer is scale-invariant, so none has an equilibrium of its rotation"


def _share(layers: Sequence[Layer]) -> Iterator[str]:
    most = ordered(layers, "share")[0]
    if most.decay_share < _SMALL:
        yield f"Decay makes at most {percent(most.decay_share)} of an update"
    elif most.decay_share > 1:
        yield f"Decay is {number(round(most.decay_share, 1))} times as long as the update of layer {clean(most.name)}"
    else:
        middle = percent(_middle([layer.decay_share for layer in layers]))
        others = f"; the median is {middle}" if len(layers) > 1 and most.decay_share < _LARGE else ""
        yield f"Decay makes {percent(most.decay_share)} of the update of layer {clean(most.name)}{others}"


def _below_epsilon(curves: Curves) -> Iterator[str]:
    """The layer with the largest share of channels whose variance is below ε."""
    columns = _epsilon_columns(curves.names)
    last = {name: values[-1] for name in columns if len(values := curves.measured(name)[1]) and values[-1] > 0}
    if last:
        most = max(last, key=lambda name: last[name])
        share, layer = percent(float(last[most])), clean(most.partition("/")[2])
        if len(last) > 1:
            yield f"Channels are below ε in {len(last)} layers: {share} of those of {layer}"
        else:
            yield f"{share} of the channels of {layer} are below ε"


@lru_cache(maxsize=16)
def _epsilon_columns(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if "below_epsilon/" in name]


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values))
