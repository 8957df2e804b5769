"""Grids: what axes mean, and the order in which their runs show the shape of the whole early."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import at_once

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.hyperparameters import ConfigError
from wdtui.studies.grid import Grid, axes_over, coarse_to_fine, read_axes, read_axis

SCHEMA = RunConfig.schema()
QUICK = settings(max_examples=60, deadline=None)
DECAY, WIDTH = RunConfig.fields()["weight_decay"], RunConfig.fields()["width"]
POSITIVE = st.floats(1e-6, 1e5)
WIDTHS = st.lists(st.integers(1, 64), min_size=1, max_size=6)
DECAYS = st.lists(st.floats(0, 10), min_size=1, max_size=6)


@QUICK
@given(POSITIVE, POSITIVE, st.integers(2, 40), st.sampled_from(["linspace", "logspace"]))
def test_spaced_values_ascend_and_stay_near_their_positions(a: float, b: float, count: int, kind: str) -> None:
    values = [float(str(value)) for value in read_axis(SCHEMA, "weight_decay", f"{kind}({a},{b},{count})")]
    low, high = sorted((a, b))
    place = math.log10 if kind == "logspace" else float
    step = (place(high) - place(low)) / (count - 1)
    if step < 1e-9 * max(abs(place(low)), abs(place(high)), 1e-3):
        return
    assert (values[0], values[-1], len(values)) == (low, high, count)
    assert values == sorted(set(values))
    for index, value in enumerate(values):
        assert abs(place(value) - place(low) - index * step) <= 0.1001 * step + 1e-12 * abs(place(value))


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        ("weight_decay", "0.1, 0.01,0.1", (0.01, 0.1)),
        ("weight_decay", "logspace(0.01,1,5)", (0.01, 0.03, 0.1, 0.3, 1)),
        ("weight_decay", "0,logspace(1e-3,1,4),3", (0, 1e-3, 1e-2, 0.1, 1, 3)),
        ("label_noise", "linspace(0,1,6)", (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ("width", "logspace(8,512,7)", (8, 16, 32, 64, 128, 256, 512)),
        ("train_size", "logspace(100, 10000, 5)", (100, 300, 1000, 3000, 10_000)),
        ("blocks", "range(1,4)", (1, 2, 3)),
        ("blocks", "range(0, 9, 4)", (0, 4, 8)),
        ("blocks", "linspace(1,3,9)", (1, 2, 3)),
        ("optimizer", "sgd,adamw,sgd", ("sgd", "adamw")),
        ("batch_norm", "true, false", (True, False)),
        ("normalized_weight_decay", "none,0.05", (None, 0.05)),
    ],
)
def test_an_axis_is_read(field: str, text: str, values: tuple[object, ...]) -> None:
    assert read_axis(SCHEMA, field, text) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weight_decay", "give FIELD=V1,V2,…"),
        ("wieght_decay=1", "did you mean weight_decay?"),
        ("log_every=1,2", "log_every cannot be an axis; these can: weight_decay"),
        ("weight_decay=0.1,-1", "weight_decay: -1 is not allowed; give a number ≥ 0"),
        ("weight_decay=0.1,,1", "nothing is not allowed"),
        ("weight_decay=", "nothing is not allowed"),
        ("weight_decay=lgspace(1,2,3)", "did you mean logspace?"),
        ("weight_decay=logspace(1,2)", "should be logspace(a,b,n)"),
        ("weight_decay=logspace(0,1,5)", "cannot begin at 0"),
        ("weight_decay=logspace(0.1,1,1)", "2 to 10,000"),
        ("weight_decay=logspace(0.1,1,-3)", "2 to 10,000"),
        ("weight_decay=logspace(0.1,nan,3)", "weight_decay: nan"),
        ("weight_decay=linspace(1,2,3", "linspace(1"),
        ("loss=linspace(1,2,3)", "give mse or cross_entropy"),
        ("blocks=range(3,1)", "has no values"),
        ("blocks=range(1,3,0)", "a step not 0"),
        ("blocks=range(1,3.5)", "whole numbers"),
        ("width=range(1,100000)", "more than 10,000 values"),
        (f"seed=range(0,{10**23})", "more than 10,000 values"),
        ("width=linspace(8,64.5,3)", "width: 64.5"),
    ],
)
def test_an_invalid_axis_gives_a_one_sentence_error(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_axes(SCHEMA, [text])
    assert said in str(error.value)
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)


def test_an_axis_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="weight_decay is given twice"):
        read_axes(SCHEMA, ["weight_decay=1", "weight-decay=2"])


@QUICK
@given(WIDTHS, DECAYS, st.integers(1, 3), st.integers(0, 9))
def test_cells_are_all_combinations_each_once(
    widths: list[int], decays: list[float], seeds: int, base_seed: int
) -> None:
    grid = Grid.of(RunConfig(seed=base_seed), {"width": widths, "weight_decay": decays}, seeds)
    cells = grid.cells()
    expected = set(itertools.product(widths, decays, range(base_seed, base_seed + seeds)))
    assert {(cell.config.width, cell.config.weight_decay, cell.config.seed) for cell in cells} == expected
    assert len(cells) == len(expected) == grid.size
    assert all(cell.values == (cell.config.width, cell.config.weight_decay) for cell in cells)
    assert [cell.config.seed for cell in cells] == sorted(cell.config.seed for cell in cells)
    corners = 2 if len(set(widths)) > 1 else 1, 2 if len(set(decays)) > 1 else 1
    early = {cell.values for cell in cells[: math.prod(3 if ends == 2 else 1 for ends in corners)]}
    assert set(itertools.product({min(widths), max(widths)}, {min(decays), max(decays)})) <= early


@QUICK
@given(st.integers(0, 200), st.integers(1, 200))
def test_coarse_to_fine_leaves_no_wide_gap(count: int, taken: int) -> None:
    order = coarse_to_fine(count)
    assert sorted(order) == list(range(count))
    seen = sorted(order[:taken])
    if len(seen) >= 3:
        gaps = [b - a for a, b in itertools.pairwise(seen)]
        assert seen[0] == 0 and seen[-1] == count - 1
        assert max(gaps) <= 2 * min(gaps) + 2


def test_ends_and_middle_come_first_and_further_seeds_last() -> None:
    grid = Grid.of(RunConfig(), {"blocks": [1, 2, 3, 4, 5]}, 2)
    assert [(cell.config.blocks, cell.config.seed) for cell in grid.cells()] == [
        (blocks, seed) for seed in (0, 1) for blocks in (1, 3, 5, 2, 4)
    ]


def test_an_axis_of_seeds_repeats_the_grid() -> None:
    grid = Grid.of(RunConfig(), {"seed": [5, 3], "width": [8]})
    assert grid.seeds == (3, 5) and list(grid.axes) == ["width"]
    with pytest.raises(ConfigError, match="seed is already an axis"):
        Grid.of(RunConfig(), {"seed": [1]}, 2)


def test_an_axis_over_lambda_replaces_the_normalised_rule() -> None:
    grid = Grid.of(RunConfig(normalized_weight_decay=0.05), {"weight_decay": [0.2, 1]})
    assert [(cell.config.weight_decay, cell.config.normalized_weight_decay) for cell in grid.cells()] == [
        (0.2, None),
        (1.0, None),
    ]


def test_equal_configs_are_one_cell() -> None:
    rule = RunConfig(normalized_weight_decay=0.0).weight_decay
    cells = Grid.of(RunConfig(), {"weight_decay": [0.1, 0.1], "normalized_weight_decay": [None]}).cells
    assert rule == 0
    with pytest.raises(ConfigError, match="clash"):
        Grid.of(RunConfig(), {"weight_decay": [0.1], "normalized_weight_decay": [0.05]}).cells()
    assert len(cells()) == 1


def test_a_grid_round_trips_through_json() -> None:
    grid = Grid.of(RunConfig(normalized_weight_decay=0.05, train_digits=(2, 5)), {"epochs": [3, 9], "loss": ["mse"]}, 3)
    again = Grid.from_mapping(json.loads(json.dumps(grid.to_mapping())))
    assert again == grid and again.cells() == grid.cells()
    assert grid.title == "epochs 3, 9 × loss mse × 3 seeds"


def test_a_grid_that_is_too_large_or_clashes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"make 40,000 runs; at most 10,000"):
        Grid.of(RunConfig(), {"width": range(1, 201), "weight_decay": [value / 7 for value in range(200)]})
    with pytest.raises(ConfigError, match="train_size 5000 and batch_size 6000 clash"):
        Grid.of(RunConfig(), {"batch_size": [64, 6000]}).cells()


def test_given_axes_replace_those_of_an_experiment() -> None:
    axes = {"width": [8, 16], "weight_decay": [0, 1]}
    assert axes_over(RunConfig, axes, {"width": 32}, {}) == {"weight_decay": [0, 1]}
    assert axes_over(RunConfig, axes, {"normalized_weight_decay": 0.1}, {}) == {"width": [8, 16]}
    assert axes_over(RunConfig, axes, {}, {"width": (4,)}) == {"weight_decay": [0, 1], "width": (4,)}
    with pytest.raises(ConfigError, match="both as a value and as an axis"):
        axes_over(RunConfig, axes, {"width": 32}, {"width": (4,)})


def test_narrow_runs_of_a_grid_are_batched_by_default() -> None:
    axes = {"width": [12, 16, 64, 80]}
    cells = Grid.of(RunConfig(), axes).cells()
    engines = {cell.config.width: cell.config.engine for cell in cells}
    assert engines == {12: "auto", 16: "ensemble", 64: "ensemble", 80: "auto"}
    assert {cell.config.engine for cell in Grid.of(RunConfig(engine="alone"), axes).cells()} == {"alone"}
    assert [cell.config.engine for cell in Grid.of(RunConfig(width=16), {}).cells()] == ["auto"]


def test_the_values_of_an_axis_are_counted_while_they_are_expanded() -> None:
    with pytest.raises(ConfigError, match=r"The axis seed has more than 10,000 values"):
        at_once(lambda: read_axis(SCHEMA, "seed", ",".join(["range(0,9999)"] * 60_000)))


def test_a_long_list_of_values_is_read_quickly() -> None:
    with pytest.raises(ConfigError, match=r"The axis seed has more than 10,000 values"):
        at_once(lambda: read_axis(SCHEMA, "seed", "1," * 400_000 + "1"))
