"""What the decay gauges show: prints the tables of docs/gauges.md.

    python -m wdtui.bench.decay STORE

Reads the finished runs in a store: those of docs/examples/equilibrium.py, and those of the addition problem that have
the residual network and a point per epoch.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.backtest import GAUGES, Gauge, ranking
from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import format_value
from wdtui.store.store import Status, Store

Run = tuple[RunConfig, Curves]

LAST = 50
"""Epochs at the end of a run over which gauges are averaged."""
BEFORE = (40, 30, 20, 10, 5, 3, 2, 1, 0)
"""Epochs before a blow-up."""
_HORIZONS = 20, 5


def main() -> None:
    parser = argparse.ArgumentParser("python -m wdtui.bench.decay", description="What the decay gauges show.")
    parser.add_argument("store", type=Path)
    given = parser.parse_args()
    with Store(given.store) as store:
        done = [(run, store.curves(run.id)) for run in store.runs() if run.status == Status.DONE]
    examples = [(run.values, curves) for run, curves in done if run.schema.problem == "Equilibrium"]
    runs = [(config, curves) for run, curves in done if isinstance(config := run.config, RunConfig)]
    runs = [run for run in runs if run[0].architecture == "residual" and run[0].log_every == 1]
    runs.sort(key=lambda run: (run[0].bn_epsilon, run[0].weight_decay, run[0].seed))
    crashing = [run for run in runs if len(milestones(run[1], RunConfig.schema().judged).blowup_steps) > 1]
    tables = [deviations(examples)] if examples else []
    tables += [standing(runs)] if runs else []
    tables += [approach(crashing), rises(crashing), rankings(crashing)] if crashing else []
    if not tables:
        parser.error(f"{given.store} has no such runs.")
    print("\n\n".join("\n".join(table) for table in tables))


def deviations(runs: Sequence[tuple[Mapping[str, Any], Curves]]) -> Iterator[str]:
    """A Markdown table of how the rotation of two layers deviates from the prediction; means over the last third.

    A cell has the value of each seed.
    """
    columns = {
        "rotation / prediction": "rotation_of_equilibrium/{}.0",
        "correlation of successive updates": "update_correlation/{}",
        "median running variance": "running_variance_median/{}.1",
        "cos(W, ∇W)": "scale_invariance/{}.0",
    }
    yield f"| η | λ | ε | layer | {' | '.join(columns)} |"
    yield "|---" * (4 + len(columns)) + "|"
    groups: dict[tuple[Any, ...], list[tuple[int, Curves]]] = {}
    for values, curves in runs:
        key = values["learning_rate"], values["weight_decay"], values["bn_epsilon"]
        groups.setdefault(key, []).append((values["seed"], curves))
    for (setting, alike), layer in itertools.product(sorted(groups.items()), ("first", "second")):
        seeds = [curves for _, curves in sorted(alike, key=lambda one: one[0])]
        cells = [
            ", ".join(f"{curves[name.format(layer)][-len(curves) // 3 :].mean():.3g}" for curves in seeds)
            for name in columns.values()
        ]
        yield f"| {' | '.join(map(format_value, setting))} | {layer} | {' | '.join(cells)} |"


def standing(runs: Sequence[Run]) -> Iterator[str]:
    """A Markdown table of where the layers stand at the end: a row per ε, λ and gauge; means over the last epochs.

    A cell is the median over the seeds, with the smallest and the largest. The share of channels below ε is that of the
    BatchNorm after the layer.
    """
    layers = runs[0][0].layer_names("linear")
    yield f"| ε | λ | seeds | steps / time constant | mean of the last {LAST} epochs | {' | '.join(layers)} |"
    yield "|---" * (5 + len(layers)) + "|"
    for (epsilon, decay), alike in _grouped(runs).items():
        times = np.median([config.steps / curves["time_constant"][-1] for config, curves in alike])
        for gauge in ("rotation_of_equilibrium", "scale_invariance", "decay_share", "bn_below_epsilon"):
            cells = [_spread([_mean(curves, gauge, layer) for _, curves in alike]) for layer in layers]
            yield f"| {epsilon} | {decay} | {len(alike)} | {times:.1f} | `{gauge}` | {' | '.join(cells)} |"


def _mean(curves: Curves, gauge: str, layer: str) -> float:
    """That of a layer, or of the norm after it, at the end; NaN if there is none."""
    name = f"{gauge}/{layer.replace('linear', 'norm') if gauge.startswith('bn_') else layer}"
    return float(curves[name][-LAST:].mean())


def approach(runs: Sequence[Run]) -> Iterator[str]:
    """A Markdown table of gauges before blow-ups, as medians over the blow-ups of all runs."""
    count = sum(len(_blow_ups(curves)) for _, curves in runs)
    yield f"| median of {count} blow-ups, epochs before | {' | '.join(map(str, BEFORE))} |"
    yield "|---" * (1 + len(BEFORE)) + "|"
    for name in _shown(runs[0][0]):
        rows = [[curves[name][at - before] for before in BEFORE] for _, curves in runs for at in _blow_ups(curves)]
        yield f"| `{name}` | {' | '.join(f'{value:.3g}' for value in np.median(np.array(rows), axis=0))} |"


def rises(runs: Sequence[Run]) -> Iterator[str]:
    """A Markdown table of how often gauges rise before a blow-up, and in the other epochs between blow-ups.

    A rise is the median of the 4th to 2nd epoch before an epoch, divided by that of the 22nd to 18th. A jump is the
    value one epoch before, divided by the same median. Other epochs lie 32 or more after a blow-up and 9 or more before
    the next.
    """
    yield "| gauge | seed | rise | above 1.2 | elsewhere | jump | above 1.5 | elsewhere |"
    yield "|---" * 8 + "|"
    layers = [f"rotation/{layer}" for layer in runs[0][0].layer_names("invariant")]
    for name, (config, curves) in itertools.product(("train_loss", "effective_learning_rate", *layers), runs):
        values, blow_ups = curves[name], _blow_ups(curves)
        others = [at for a, b in itertools.pairwise([0, *blow_ups]) for at in range(max(a + 32, 80), b - 8)]
        pairs = zip(_changes(values, blow_ups), _changes(values, others), (1.2, 1.5), strict=True)
        cells = [
            f"{np.median(before):.2f} | {_share(before > level)} | {_share(other > level)}"
            for before, other, level in pairs
        ]
        yield f"| `{name}` | {config.seed} | {' | '.join(cells)} |"


def _changes(values: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
    """Rises and jumps, [2, places]."""
    near = np.array([np.median(values[at - 4 : at - 1]) for at in places])
    far = np.array([np.median(values[at - 22 : at - 17]) for at in places])
    return np.array([near / far, values[np.array(places) - 1] / near])


def _share(found: NDArray[np.bool_]) -> str:
    return f"{found.sum()} of {len(found)}"


def rankings(runs: Sequence[Run]) -> Iterator[str]:
    """A Markdown table of how well the level of a gauge separates the epochs before a blow-up from the others."""
    titles = [f"{horizon} epochs, s{config.seed}" for horizon in _HORIZONS for config, _ in runs]
    yield f"| higher within | {' | '.join(titles)} |"
    yield "|---" * (1 + len(titles)) + "|"
    baselines = {name: gauge for name, gauge in GAUGES.items() if name.startswith("steps")}
    for name, gauge in (baselines | {f"`{name}`": _read(name) for name in _shown(runs[0][0])}).items():
        shares = [
            ranking(curves, gauge, horizon * config.steps_per_epoch) for horizon in _HORIZONS for config, curves in runs
        ]
        yield f"| {name} | {' | '.join(f'{share:.2f}' for share in shares)} |"


def _shown(config: RunConfig) -> list[str]:
    gauges = "rotation_of_equilibrium", "decay_share", "scale_invariance"
    layers = [f"{gauge}/{layer}" for gauge in gauges for layer in config.layer_names("linear")]
    return ["train_accuracy", "train_loss", "bn_variance_min", "effective_learning_rate", *layers]


def _read(name: str) -> Gauge:
    def read(curves: Curves) -> NDArray[np.float64]:
        return curves[name]

    return read


def _blow_ups(curves: Curves) -> list[int]:
    """The indices of the points at which blow-ups begin, of those that are late enough to look back from."""
    found = np.searchsorted(curves.steps, milestones(curves, RunConfig.schema().judged).blowup_steps)
    return [int(at) for at in found if at >= max(BEFORE)]


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Runs that differ in the seed alone, by ε and λ."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for config, curves in runs:
        groups.setdefault((format_value(config.bn_epsilon), format_value(config.weight_decay)), []).append(
            (config, curves)
        )
    return groups


def _spread(values: list[float]) -> str:
    return "–" if np.isnan(values).any() else f"{np.median(values):.2g} ({min(values):.2g}…{max(values):.2g})"


if __name__ == "__main__":
    main()
