"""Forecasts of blow-ups, on teeth whose next blow-up is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.analysis.forecast import THRESHOLD, Forecast, expected_blowup, forecast, threshold
from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves

SCHEMA = RunConfig.schema()
EVERY = 400


def climb(low: float, rate: float, count: int, first: int = 0) -> tuple[list[int], list[float]]:
    """Measurements of an exponential climb by `rate` per step."""
    return [first + EVERY * i for i in range(count)], [low * math.exp(rate * EVERY * i) for i in range(count)]


def told(
    steps: Sequence[int], values: Sequence[float], blowups: Sequence[int] = (), level: float = 5.0
) -> Forecast | None:
    return forecast(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64), blowups, level)


def teeth(peaks: Sequence[float], rate: float = 5e-4) -> tuple[list[int], list[float], list[int]]:
    """Climbs from 1 to each of some peaks, each of which a blow-up ends one step later."""
    steps: list[int] = []
    values: list[float] = []
    blowups = []
    for peak in peaks:
        first = steps[-1] + EVERY if steps else 0
        climbed = climb(1.0, rate, 1 + round(math.log(peak) / rate / EVERY), first)
        steps, values = steps + climbed[0], values + climbed[1]
        blowups.append(steps[-1] + 1)
    return steps, values, blowups


@given(st.floats(2e-4, 2e-3), st.floats(0.5, 2), st.integers(4, 10))
def test_an_exponential_rise_is_extrapolated_to_the_level(rate: float, low: float, count: int) -> None:
    steps, values = climb(low, rate, count)
    level = values[-1] * math.exp(rate * EVERY)
    expected = told(steps, values, level=level)
    assert expected is not None
    assert expected.step == pytest.approx(steps[-1] + EVERY, abs=2)
    assert expected.earliest <= expected.step <= expected.latest
    assert (expected.made_at, expected.value, expected.threshold) == (steps[-1], values[-1], level)


def test_a_gauge_above_the_level_forecasts_now() -> None:
    steps, values = climb(2.0, 1e-3, 5)
    expected = told(steps, values, level=3.0)
    assert expected and expected.step == expected.earliest == steps[-1]
    assert told(steps, values, level=values[-1] * 1.01).earliest == steps[-1]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [1.0, 2.0, 3.0], [1.0] * 6, [3.0, 2.5, 2.2, 2.1, 2.05], [1.0, 2.0, 1.2, 1.9, 1.1, 2.0], [0.0] * 5],
)
def test_there_is_no_forecast_without_a_clear_rise(values: list[float]) -> None:
    assert told([EVERY * i for i in range(len(values))], values) is None


def test_there_is_no_forecast_if_the_level_is_far_away() -> None:
    steps, values = climb(1.0, 1e-5, 8)
    assert told(steps, values, level=5.0) is None


def test_noise_widens_the_range() -> None:
    steps, values = climb(1.0, 5e-4, 5)
    noisy = [value * factor for value, factor in zip(values, (1, 1.1, 0.9, 1.1, 1), strict=True)]
    clean, blurred = told(steps, values), told(steps, noisy)
    assert clean and blurred
    assert blurred.latest - blurred.earliest > clean.latest - clean.earliest


@pytest.mark.parametrize("blowups", [True, False], ids=["counted", "too shallow to be counted"])
def test_the_slope_uses_only_the_current_tooth(blowups: bool) -> None:
    steps, values, came = teeth([6.0])
    tail = climb(1.0, 5e-4, 3, first=steps[-1] + EVERY)
    assert told(steps + tail[0], values + tail[1], came if blowups else ()) is None, "three measurements are too few"
    tail = climb(1.0, 5e-4, 5, first=steps[-1] + EVERY)
    expected = told(steps + tail[0], values + tail[1], came if blowups else (), level=6.0)
    assert expected
    assert expected.step == pytest.approx(tail[0][0] + math.log(expected.threshold) / 5e-4, abs=2)


def test_after_blowups_the_level_is_the_median_of_the_runs_own() -> None:
    steps, values, came = teeth([3.0, 8.0, 4.0])
    tail = climb(1.0, 5e-4, 5, first=steps[-1] + EVERY)
    expected = told(steps + tail[0], values + tail[1], came, level=100.0)
    assert expected and expected.threshold == pytest.approx(4.0, rel=0.2)


def test_later_measurements_do_not_change_a_forecast() -> None:
    steps, values, came = teeth([6.0, 5.0, 7.0])
    for end in range(1, len(steps)):
        known = [step for step in came if step <= steps[end - 1]]
        cut = told(steps[:end], values[:end], known)
        assert cut is None or cut.made_at == steps[end - 1]


def curves_of(sharpness: Sequence[float], accuracy: Sequence[float]) -> Curves:
    steps = 80 * np.arange(1, len(sharpness) + 1)
    return Curves(("train_accuracy", "sharpness"), steps, steps // 80, np.array([accuracy, sharpness]).T)


def test_a_forecast_uses_only_points_with_a_measurement() -> None:
    every_fifth = [math.nan] * 50
    every_fifth[4::5] = [math.exp(0.15 * i) for i in range(10)]
    curves = curves_of(every_fifth, [1.0] * 50)
    expected = expected_blowup(curves, milestones(curves, SCHEMA.judged))
    assert expected and expected.made_at == 4000 and expected.threshold == THRESHOLD
    assert expected.step == pytest.approx(400 * (1 + math.log(THRESHOLD) / 0.15), abs=2)


def test_before_the_fit_and_without_measurements_there_is_no_forecast() -> None:
    climbing = [math.exp(0.1 * i) for i in range(16)]
    unfitted, unmeasured = curves_of(climbing, [0.5] * 16), curves_of([math.nan] * 16, [1.0] * 16)
    for curves in (unfitted, unmeasured):
        assert expected_blowup(curves, milestones(curves, SCHEMA.judged)) is None
        assert threshold(curves, milestones(curves, SCHEMA.judged)) == THRESHOLD
