"""Milestones: fit, generalisation and blow-ups, as the reference counts them."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.analysis.milestones import blowups, milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.schema.recorded import OF_BATCHES

SCHEMA = RunConfig.schema()
DATA = Path(__file__).parent / "data"
THRESHOLDS = [0.0, 0.5, 0.95, 0.99, 0.999, 1.0]
accuracies = st.lists(
    st.one_of(
        st.sampled_from([*THRESHOLDS, *(math.nextafter(x, way) for x in THRESHOLDS[1:-1] for way in (0, 1))]),
        st.floats(0.9, 1),
        st.just(math.nan),
    ),
    max_size=60,
)


def curves_of(train: Sequence[float], test: Sequence[float] | None = None) -> Curves:
    """Curves of these accuracies, a point every 10 steps."""
    test = [0.0] * len(train) if test is None else test
    steps = np.arange(1, len(train) + 1, dtype=np.int64) * 10
    values = np.array([train, test], dtype=np.float64).T.reshape(len(train), 2)
    return Curves(("train_accuracy", "test_accuracy"), steps, steps // 10, values)


def blowups_by_hand(train: Sequence[float]) -> list[int]:
    """The definition, word by word."""
    counted: list[int] = []
    fitted = may_count = False
    for index, accuracy in enumerate(train):
        if not fitted:
            fitted = may_count = accuracy > 0.999
        elif may_count and accuracy < 0.95:
            counted.append(index)
            may_count = False
        elif accuracy > 0.99:
            may_count = True
    return counted


def recorded(epsilon: str) -> Curves:
    with open(DATA / f"accuracies-epsilon-{epsilon}.csv", newline="") as file:
        rows = [[float(number) for number in row] for row in list(csv.reader(file))[1:]]
    steps = np.array([row[0] for row in rows], dtype=np.int64)
    return Curves(("train_accuracy", "test_accuracy"), steps, steps // 78, np.array(rows)[:, 1:])


@given(accuracies)
def test_blowups_are_counted_as_defined(train: list[float]) -> None:
    assert blowups(np.array(train, dtype=np.float64)).tolist() == blowups_by_hand(train)


@given(accuracies, accuracies)
def test_fit_and_generalisation_are_the_first_points_past_their_thresholds(
    train: list[float], test: list[float]
) -> None:
    points = min(len(train), len(test))
    train, test = train[:points], test[:points]
    seen = milestones(curves_of(train, test), SCHEMA.judged)
    assert seen.fit_step == next((10 * i for i, x in enumerate(train, 1) if x > 0.999), None)
    assert seen.generalise_step == next((10 * i for i, x in enumerate(test, 1) if x >= 0.95), None)


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        ([1, 0.94, 1, 0.94], (20, 40)),
        ([1, 0.95], ()),
        ([1, 0.94, 0.5, 0.2], (20,)),
        ([1, 0.94, 0.98, 0.94], (20,)),
        ([1, 0.94, 0.99, 0.94], (20,)),
        ([1, 0.94, 0.991, 0.97, 0.94], (20, 50)),
        ([1, 0.97, 0.94], (30,)),
        ([0.995, 0.5, 0.995, 0.5], ()),
        ([0.5, 1, 0.5, 1], (30,)),
        ([0.999, 0.5], ()),
        ([1, math.nan, 0.5, math.nan, 1, 0.5], (30, 60)),
        ([1, math.nan, math.nan], ()),
        ([math.nan], ()),
        ([], ()),
    ],
    ids=str,
)
def test_a_blowup_is_a_fall_after_the_fit_and_the_next_needs_a_recovery(
    train: list[float], steps: tuple[int, ...]
) -> None:
    assert milestones(curves_of(train), SCHEMA.judged).blowup_steps == steps


def test_a_run_without_points_has_no_milestones() -> None:
    seen = milestones(curves_of([]), SCHEMA.judged)
    assert (seen.fit_step, seen.generalise_step, seen.delay, seen.blowup_period) == (None, None, None, None)
    assert seen.to_json() == {
        "milestones": {"fit_step": None, "generalise_step": None, "delay": None},
        "blowups": {"count": 0, "steps": [], "median_period": None},
    }


def test_curves_without_accuracies_have_no_milestones() -> None:
    steps = np.array([1, 2], dtype=np.int64)
    seen = milestones(Curves(("train_loss",), steps, steps, np.ones((2, 1))), SCHEMA.judged)
    assert seen == milestones(curves_of([]), SCHEMA.judged)


def test_the_delay_runs_from_fit_to_generalisation_and_may_be_negative() -> None:
    assert milestones(curves_of([0, 1, 1, 1], [0, 0, 0.94, 0.95]), SCHEMA.judged).delay == 20
    assert milestones(curves_of([0, 0, 1], [0.95, 0, 0]), SCHEMA.judged).delay == -20
    assert milestones(curves_of([0, 0, 0], [1, 1, 1]), SCHEMA.judged).delay is None
    assert milestones(curves_of([1, 1, 1], [0, 0, 0]), SCHEMA.judged).delay is None


def test_the_blowup_period_is_the_median_gap() -> None:
    assert milestones(curves_of([1, 0]), SCHEMA.judged).blowup_period is None
    assert milestones(curves_of([1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0]), SCHEMA.judged).blowup_period == 30


def test_the_recorded_run_at_epsilon_1e_2_fits_and_generalises_without_a_blowup() -> None:
    seen = milestones(recorded("1e-2"), SCHEMA.judged)
    assert seen.fit_step == 3666
    assert seen.generalise_step is not None and seen.generalise_step > 20_000
    assert seen.blowup_steps == () and seen.blowup_period is None


def test_the_recorded_run_at_epsilon_1e_5_blows_up_ten_times() -> None:
    seen = milestones(recorded("1e-5"), SCHEMA.judged)
    assert len(seen.blowup_steps) == 10 and seen.blowup_steps[0] == 8892
    assert seen.blowup_period == 3042
    assert seen.to_json()["blowups"] == {"count": 10, "steps": list(seen.blowup_steps), "median_period": 3042.0}


@pytest.mark.parametrize(("traits", "expected"), [(OF_BATCHES, 0), ({}, 1)])
def test_the_noise_of_batches_is_no_blow_up(traits: Mapping[str, Any], expected: int) -> None:
    """As a step on 32 examples has it that is right for 99 % of all: one error is 97 %, two are 94 %."""
    schema = RunConfig.schema()
    schema = dataclasses.replace(schema, metrics={}).recording(["train_accuracy"], {"train_accuracy": traits})
    right = np.random.default_rng(0).binomial(32, 0.99, 500) / 32
    assert len(milestones(curves_of(right), schema.judged).blowup_steps) >= 10 * expected
    assert bool(milestones(curves_of(right), schema.judged).blowup_steps) == bool(expected)
    collapsed = [*[1.0] * 20, 0.2, 0.4, 0.9, *[1.0] * 20]
    assert len(milestones(curves_of(collapsed), schema.judged).blowup_steps) == expected
