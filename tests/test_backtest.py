"""Scores of forecasts, on runs in which right and wrong alarms can be counted by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from wdtui.analysis.backtest import GAUGES, Score, best_threshold, forecasts, ranking, score, sum_of
from wdtui.bench.forecasts import ranges, rankings, scores, teeth
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves

EPOCH = 80
SHARPNESS = GAUGES["sharpness"]


def saw(
    teeth: int, length: int = 40, low: float = 1.0, high: float = 6.0, crash: Callable[[int], bool] = lambda i: True
) -> Curves:
    """Teeth of so many epochs that climb from `low` to `high`, of which those that `crash` end in a blow-up."""
    sharpness, accuracy = [], []
    for tooth in range(teeth):
        sharpness += [low * (high / low) ** (i / (length - 1)) for i in range(length)]
        accuracy += [*([1.0] * (length - 1)), 1.0]
        accuracy[-length] = 0.5 if tooth and crash(tooth - 1) else 1.0
    epochs = np.arange(1, teeth * length + 1)
    measured = np.where(epochs % 5 == 0, sharpness, math.nan)
    drifting = np.exp(-epochs / 100)
    values = np.array([accuracy, measured, drifting, drifting]).T
    return Curves(
        ("train_accuracy", "sharpness", "bn_variance_min", "effective_learning_rate"), epochs * EPOCH, epochs, values
    )


def test_every_blowup_of_a_regular_saw_tooth_is_predicted() -> None:
    seen = score(saw(5), SHARPNESS, 6.0, 10 * EPOCH)
    assert (seen.blowups, seen.hits, seen.false_alarms, seen.success) == (4, 4, 0, 1.0)
    assert all(0 < lead <= 15 * EPOCH for lead in seen.leads)


def test_a_tooth_that_falls_without_a_blowup_is_a_false_alarm() -> None:
    seen = score(saw(5, crash=lambda tooth: tooth != 2), SHARPNESS, 6.0, 10 * EPOCH)
    assert (seen.blowups, seen.hits, seen.false_alarms) == (3, 3, 1)


def test_a_high_level_misses_and_a_low_level_gives_false_alarms() -> None:
    first_only = saw(2)
    assert score(first_only, SHARPNESS, 1e6, 5 * EPOCH).hits == 0
    early = score(first_only, SHARPNESS, 1.5, 5 * EPOCH)
    assert early.false_alarms > 1


def test_a_run_without_fit_or_blowups_has_an_empty_score() -> None:
    calm = saw(3, low=1.0, high=1.2, crash=lambda tooth: False)
    assert score(calm, SHARPNESS, 6.0, 10 * EPOCH) == Score()
    calm.values[:, 0] = 0.5
    assert score(calm, SHARPNESS, 0.1, 10 * EPOCH) == Score()


def test_the_best_threshold_predicts_all_blowups_if_one_can() -> None:
    runs = [saw(4), saw(3, high=7.0)]
    level = best_threshold(runs, SHARPNESS, 10 * EPOCH)
    assert sum_of(score(run, SHARPNESS, level, 10 * EPOCH) for run in runs).success == 1.0


def test_a_clock_predicts_a_regular_run_and_a_drift_always_warns() -> None:
    regular = saw(8)
    clock = score(regular, GAUGES["steps since the last blow-up"], math.exp(0.32), 10 * EPOCH)
    drift = score(regular, GAUGES["steps since the start"], math.exp(0.32), 10 * EPOCH)
    assert clock.success > 0.8 > drift.success
    assert drift.false_alarms >= 7


def test_a_gauge_ranks_high_if_it_is_higher_before_blowups() -> None:
    regular = saw(5)
    assert ranking(regular, SHARPNESS, 10 * EPOCH) == 1.0
    assert ranking(regular, lambda curves: 1 / curves["sharpness"], 10 * EPOCH) == 0.0
    assert ranking(regular, lambda curves: np.ones(len(curves)), 10 * EPOCH) == 0.5
    assert math.isnan(ranking(saw(3, crash=lambda tooth: False), SHARPNESS, 10 * EPOCH))


def test_the_tables_have_a_column_for_each_run_and_a_row_for_each_gauge() -> None:
    runs = [(RunConfig(seed=seed, sharpness_every=5), saw(5)) for seed in (0, 1)]
    tables = [list(teeth(runs)), list(rankings(runs, 10)), list(scores(runs, 10))]
    for table in tables:
        assert len({line.replace("---|", "|").count("|") for line in table}) == 1
    assert [len(table) - 2 for table in tables] == [2, len(GAUGES), len(GAUGES)]
    assert tables[0][2].startswith("| 0.01 | 0.1 | 0 | 5 epochs |") and "| 4 |" in tables[0][2]
    assert "4/4, 0 false" in tables[2][2]
    foretold = list(ranges(runs))
    assert foretold[2].startswith("| 0 to 5 | ") and foretold[2].endswith("100% |")


def test_forecasts_of_a_regular_saw_tooth_are_correct() -> None:
    made = list(forecasts(saw(5), SHARPNESS, 6.0))
    assert {came for _, came in made} <= {EPOCH * (40 * tooth + 1) for tooth in range(1, 5)}
    assert len(made) > 8
    assert all(one.made_at < came and abs(one.step - came) <= 6 * EPOCH for one, came in made)
