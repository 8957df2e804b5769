"""Tables of sweeps: medians and ranges over seeds, whatever is missing, and the interpolation threshold."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.analysis.sweep_table import MILESTONES, Spread, Table, label, quantity
from wdtui.problems.addition.config import RunConfig

SCHEMA = RunConfig.schema()


@dataclasses.dataclass
class Run:
    """As much of a run as tables need."""

    latest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    milestones: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    status: str = "done"
    steered: bool = False
    step: int = 50
    steps: int = 100


def fitted(step: int | None, status: str = "done") -> Run:
    return Run({}, {"milestones": {"fit_step": step}}, status)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9))
def test_a_spread_is_median_and_range(values: list[float]) -> None:
    table = Table.of(SCHEMA, {"width": [8]}, [((8,), Run({"test_loss": value})) for value in values])
    expected = Spread(statistics.median(values), min(values), max(values), len(values))
    assert table.rows[0].spread("test_loss") == expected


def test_only_finished_unsteered_runs_with_finite_values_count() -> None:
    runs = [
        Run({"test_loss": 1.0}),
        Run({"test_loss": 9.0}, status="running"),
        Run({"test_loss": math.nan}, status="diverged"),
        Run({"test_loss": 3.0}, status="diverged"),
        Run({"test_loss": 7.0}, status="failed"),
        Run({"test_loss": 5.0}, steered=True),
        Run({"test_loss": 6.0}, status="running", steered=True),
        None,
    ]
    (row,) = Table.of(SCHEMA, {}, [((), run) for run in runs]).rows
    assert row.spread("test_loss") == Spread(2.0, 1.0, 3.0, 2)
    assert row.spread("train_loss") is None
    assert row.states == {"done": 1, "running": 2, "diverged": 2, "failed": 1, "steered": 1, "missing": 1}


def test_a_row_without_finished_runs_has_the_values_so_far() -> None:
    runs = [
        Run({"test_loss": 9.0}, status="running"),
        Run({"test_loss": 5.0}, status="interrupted"),
        Run({"test_loss": 1.0}, status="running", steered=True),
        Run(status="queued"),
        None,
    ]
    (row,) = Table.of(SCHEMA, {}, [((), run) for run in runs]).rows
    assert row.spread("test_loss") is None and row.so_far("test_loss") == Spread(7.0, 5.0, 9.0, 2)
    (row,) = Table.of(SCHEMA, {}, [((), run) for run in [*runs, Run({"test_loss": 4.0})]]).rows
    assert row.so_far("test_loss") == row.spread("test_loss") == Spread(4.0, 4.0, 4.0, 1)


def test_rows_are_in_the_order_of_the_axes() -> None:
    axes = {"width": (8, 16), "loss": ("mse", "cross_entropy")}
    table = Table.of(
        SCHEMA,
        axes,
        [((16, "mse"), None), ((8, "cross_entropy"), None), ((8, "mse"), None), ((8, "mse"), None)],
    )
    assert [row.values for row in table.rows] == [(8, "mse"), (8, "cross_entropy"), (16, "mse")]
    assert [len(row.runs) for row in table.rows] == [2, 1, 1]
    assert table.row((16, "cross_entropy")) is None


def test_a_table_can_be_sliced_at_a_value() -> None:
    table = Table.of(SCHEMA, {"width": (8, 16), "blocks": (1, 2)}, [((w, b), None) for w in (8, 16) for b in (1, 2)])
    cut = table.at({"width": 16})
    assert list(cut.axes) == ["blocks"] and [row.values for row in cut.rows] == [(1,), (2,)]


def test_milestones_can_be_quantities() -> None:
    run = Run(
        {"weight_norm": 5.0},
        {
            "milestones": {"fit_step": 10, "generalise_step": None, "delay": None},
            "blowups": {"count": 2, "median_period": 3.5},
        },
    )
    found = {name: quantity(run, name) for name in [*MILESTONES, "weight_norm"]}
    assert found == {"fit_step": 10, "generalise_step": None, "delay": None, "blowups": 2, "blowup_period": 3.5} | {
        "weight_norm": 5.0
    }
    assert quantity(Run(), "fit_step") is None
    assert (label(SCHEMA, "fit_step"), label(SCHEMA, "weight_norm")) == (
        "fit step",
        "weight norm",
    )


@pytest.mark.parametrize(
    ("axis", "steps", "threshold"),
    [
        ("weight_decay", {0.0: [5], 0.1: [6], 1.0: [None]}, 0.1),
        ("weight_decay", {0.1: [6, None], 1.0: [None, None, 3]}, 0.1),
        ("weight_decay", {0.1: [None]}, None),
        ("width", {8: [None], 16: [9], 32: [5]}, 16),
        ("seed", {0: [4]}, None),
    ],
)
def test_the_interpolation_threshold_is_the_last_value_that_fits(
    axis: str, steps: dict[Any, list[int | None]], threshold: float | None
) -> None:
    measured = [((value,), fitted(step)) for value, own in steps.items() for step in own]
    assert Table.of(SCHEMA, {axis: tuple(steps)}, measured).threshold() == threshold


def test_a_table_converts_to_json() -> None:
    table = Table.of(SCHEMA, {"width": (8, 16)}, [((8,), Run({"test_loss": 0.5})), ((16,), None)])
    assert json.loads(json.dumps(table.to_json(["test_loss"]))) == [
        {
            "axes": {"width": 8},
            "states": {"done": 1},
            "test_loss": {"median": 0.5, "low": 0.5, "high": 0.5, "count": 1},
        },
        {"axes": {"width": 16}, "states": {"missing": 1}, "test_loss": None},
    ]
