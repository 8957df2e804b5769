"""How well blow-ups can be predicted: prints the tables of docs/crash-forecast.md.

    python -m wdtui.bench.forecasts STORE [--horizon EPOCHS]…

Reads the runs of that experiment in a store. Unfinished runs are included up to their newest point. Thresholds are
chosen on the runs with the first λ and seed, which are therefore not used as a test.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.backtest import GAUGES, SLACK, Score, best_threshold, forecasts, ranking, score, sum_of
from wdtui.analysis.forecast import THRESHOLD
from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import format_value
from wdtui.store.store import Store
from wdtui.support.text import number

Runs = list[tuple[RunConfig, Curves]]


def main() -> None:
    parser = argparse.ArgumentParser("python -m wdtui.bench.forecasts", description="How well blow-ups are predicted.")
    parser.add_argument("store", type=Path)
    parser.add_argument("--horizon", type=int, action="append", help="Epochs ahead; may be given several times.")
    given = parser.parse_args()
    with Store(given.store) as store:
        found = [run for run in store.runs() if run.experiment == "crash-forecast"]
        runs = [(config, store.curves(run.id)) for run in found if isinstance(config := run.config, RunConfig)]
    if not runs:
        parser.error(f"{given.store} has no runs of the experiment crash-forecast.")
    runs.sort(key=lambda run: (run[0].bn_epsilon, run[0].weight_decay, run[0].seed))
    print("\n".join([*teeth(runs), "", *rankings(runs, 10), "", *ranges(runs[1:])]))
    for horizon in given.horizon or (10, 15, 30):
        print(
            "\n".join(
                ["", f"### Within {horizon} epochs (right up to {SLACK:g} times as many)", *scores(runs, horizon)]
            )
        )


def teeth(runs: Runs) -> Iterator[str]:
    """A Markdown table of the sharpness around the blow-ups of each run."""
    yield "| ε | λ | seed | every | fit | blow-ups | last before | second after | since the fit: 10, 50, 90 % |"
    yield "|---" * 9 + "|"
    for config, curves in runs:
        seen = milestones(curves, RunConfig.schema().judged)
        steps, values = curves.measured("sharpness")
        following = np.searchsorted(steps, seen.blowup_steps)
        before, after = values[following - 1], values[np.minimum(following + 1, len(values) - 1)]
        fitted = values[steps >= (seen.fit_step or 0)]
        spread = ", ".join(f"{value:.1f}" for value in np.quantile(fitted, (0.1, 0.5, 0.9)))
        yield (
            f"| {format_value(config.bn_epsilon)} | {format_value(config.weight_decay)} | {config.seed} "
            f"| {config.sharpness_every} epochs | {number(seen.fit_step)} "
            f"| {len(seen.blowup_steps)} | {_span(before)} | {_span(after)} | {spread} |"
        )


def _span(values: NDArray[np.float64]) -> str:
    return f"{np.median(values):.1f} ({values.min():.1f}–{values.max():.1f})" if len(values) else "–"


def rankings(runs: Runs, horizon: int) -> Iterator[str]:
    """A Markdown table of how well each gauge's value separates the moments before a blow-up from the others."""
    runs = [(config, curves) for config, curves in runs if milestones(curves, RunConfig.schema().judged).blowup_steps]
    yield f"| higher in the {horizon} epochs before a blow-up | " + " | ".join(_titles(runs)) + " |"
    yield "|---" * (len(runs) + 1) + "|"
    for name, gauge in GAUGES.items():
        shares = [ranking(curves, gauge, horizon * config.steps_per_epoch) for config, curves in runs]
        yield f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |"


def _titles(runs: Runs) -> list[str]:
    return [
        f"λ {format_value(config.weight_decay)} ε {format_value(config.bn_epsilon)} s{config.seed}"
        for config, _ in runs
    ]


def ranges(runs: Runs) -> Iterator[str]:
    """A Markdown table of the actual epochs until a blow-up, by the forecast number of epochs."""
    yield "| forecast, epochs | forecasts | actual epochs: 10, 50, 90 % | within the forecast range |"
    yield "|---|---|---|---|"
    rows = [
        (np.array([made.step, made.earliest, made.latest, came]) - made.made_at) / config.steps_per_epoch
        for config, curves in runs
        for made, came in forecasts(curves, GAUGES["sharpness"], THRESHOLD)
    ]
    for low, high in ((0, 5), (5, 10), (10, 20), (20, 40)):
        several = [row for row in rows if low <= row[0] < high]
        if several:
            _, earliest, latest, took = np.array(several).T
            quantiles = ", ".join(f"{value:.0f}" for value in np.quantile(took, (0.1, 0.5, 0.9)))
            inside = np.mean((earliest <= took) & (took <= latest))
            yield f"| {low} to {high} | {len(several)} | {quantiles} | {inside:.0%} |"


def scores(runs: Runs, horizon: int) -> Iterator[str]:
    """A Markdown table of each gauge's predictions: hits, false alarms and median lead, with seeds combined."""
    groups = _alike(runs)
    yield "| predictor | threshold | " + " | ".join(groups) + " | all but the first |"
    yield "|---" * (len(groups) + 3) + "|"
    for name, gauge in GAUGES.items():
        steps = horizon * runs[0][0].steps_per_epoch
        level = best_threshold([runs[0][1]], gauge, steps)
        each = [
            sum_of([score(curves, gauge, level, steps) for curves in curves_alike]) for curves_alike in groups.values()
        ]
        cells = [_cell(total, runs[0][0]) for total in [*each, sum_of(each[1:])]]
        yield f"| {name} | {level:.3g} | " + " | ".join(cells) + " |"


def _alike(runs: Runs) -> dict[str, list[Curves]]:
    """The first run, on which thresholds are chosen, and the others grouped by everything except the seed."""
    groups: dict[str, list[Curves]] = {f"{_titles(runs)[0]}, chosen on it": [runs[0][1]]}
    for config, curves in runs[1:]:
        title = f"λ {format_value(config.weight_decay)} ε {format_value(config.bn_epsilon)}"
        groups.setdefault(f"{title}, every {config.sharpness_every}", []).append(curves)
    return groups


def _cell(total: Score, config: RunConfig) -> str:
    lead = f", {np.median(total.leads) / config.steps_per_epoch:.0f} ahead" if total.leads else ""
    return f"{total.hits}/{total.blowups}, {total.false_alarms} false{lead}"


if __name__ == "__main__":
    main()
