"""METRICS: which values make up a point, and the curves that points make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.metrics import METRICS
from wdtui.problems.addition.sizes import layer_names
from wdtui.schema.curves import Curves, Point

NORMS = {name for name, metric in METRICS.items() if metric.layers in ("norm", "invariant")}


def points(config: RunConfig, count: int, first: int = 0) -> list[Point]:
    """Points whose values tell where they belong: 1000 · point + column."""
    width = len(config.columns)
    numbers = range(first, first + count)
    return [Point(10 * i, i, tuple(1000.0 * i + column for column in range(width))) for i in numbers]


@given(st.integers(0, 5), st.booleans())
def test_every_column_is_a_metric_or_layer_and_occurs_once(blocks: int, batch_norm: bool) -> None:
    names = RunConfig(blocks=blocks, batch_norm=batch_norm, sharpness_every=1).columns
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == set(METRICS) - (set() if blocks and batch_norm else NORMS)
    assert names[-1] == "steps_per_second"


def test_a_metric_that_is_switched_off_has_no_values() -> None:
    assert "sharpness" not in RunConfig(sharpness_every=0).columns
    assert set(RunConfig(sharpness_every=7).columns) == {*RunConfig().columns, "sharpness"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_metrics_that_are_rarely_measured_or_not_always_defined_may_be_nan(value: float) -> None:
    config = RunConfig(sharpness_every=5)
    gauges = "rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance", "time_constant"
    names = config.columns
    for name in names:
        point = Point(1, 1, tuple(value if other == name else 1.0 for other in names))
        assert config.finite(point) == (name.partition("/")[0] in ("sharpness", *gauges))


def test_the_measurements_of_a_metric_are_its_points_with_a_finite_value() -> None:
    steps = np.array([10, 20, 30, 40])
    curves = Curves(("sharpness",), steps, steps, np.array([[np.nan], [1.5], [np.inf], [2.5]]))
    assert [part.tolist() for part in curves.measured("sharpness")] == [[20, 40], [1.5, 2.5]]
    assert [len(part) for part in curves.measured("never measured")] == [0, 0]


def test_the_layers_of_the_articles_network_have_names() -> None:
    config = RunConfig()
    hidden = ("block1.linear1", "block1.linear2", "block2.linear1", "block2.linear2")
    assert layer_names(config, "linear") == ("input", *hidden, "output")
    assert layer_names(config, "invariant") == hidden
    assert layer_names(config, "norm") == ("block1.norm1", "block1.norm2", "block2.norm1", "block2.norm2")


def test_values_of_layers_follow_the_one_of_the_network() -> None:
    names = RunConfig(blocks=1).columns
    start = names.index("bn_variance_min")
    assert names[start : start + 3] == (
        "bn_variance_min",
        "bn_variance_min/block1.norm1",
        "bn_variance_min/block1.norm2",
    )
    assert "weight_norm/input" in names and "weight_norm_squared/input" not in names


def test_without_batch_norm_there_are_no_batch_norm_metrics() -> None:
    names = RunConfig(batch_norm=False).columns
    assert not any("norm1" in name or name.startswith(("bn_", "running_", "effective_")) for name in names)
    assert "weight_norm/block2.linear2" in names


def test_every_metric_has_a_description() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name and metric.label and metric.help.endswith(".")
    assert [name for name, metric in METRICS.items() if metric.timing] == ["steps_per_second"]


def test_curves_hold_each_value_under_its_name() -> None:
    config = RunConfig(blocks=1)
    curves = Curves.of(config.columns, iter(points(config, 3)))
    assert len(curves) == 3 and curves.steps.tolist() == [0, 10, 20] and curves.epochs.tolist() == [0, 1, 2]
    for column, name in enumerate(config.columns):
        assert name in curves and curves[name].tolist() == [column, 1000 + column, 2000 + column]
    assert curves.last() == {name: 2000.0 + column for column, name in enumerate(config.columns)}


def test_a_metric_that_was_not_measured_is_nan_throughout() -> None:
    config = RunConfig(blocks=0)
    curves = Curves.of(config.columns, points(config, 2))
    assert "bn_variance_min" not in curves
    assert curves["bn_variance_min"].shape == (2,) and np.isnan(curves["bn_variance_min"]).all()


def test_curves_without_points_are_empty() -> None:
    curves = Curves.of(RunConfig().columns, [])
    assert len(curves) == 0 and curves.last() == {} and curves["test_accuracy"].shape == (0,)
    assert curves["nothing of the kind"].shape == (0,)


def test_a_point_with_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Curves.of(RunConfig().columns, [Point(1, 1, (0.5,))])


def test_downsampling_a_long_run_keeps_every_crash() -> None:
    rng = np.random.default_rng(0)
    crashes = rng.choice(50_000, 20, replace=False)
    accuracy = np.ones(50_000)
    accuracy[crashes] = rng.uniform(0, 0.9, 20)
    steps = np.arange(1, 50_001)
    curves = Curves(("train_accuracy",), steps, steps, accuracy[:, None])
    kept = curves.downsample(32, ["train_accuracy", "test_accuracy", "sharpness"])
    assert set(crashes) <= set(kept) and {0, 49_999} <= set(kept)
    assert len(kept) < 50_000 / 3 and (np.diff(kept) > 0).all()


def test_downsampling_keeps_extremes_of_rare_measurements() -> None:
    values = np.full(64, np.nan)
    values[[5, 10, 15, 37, 42]] = [2.0, 7.0, 3.0, 1.0, 4.0]
    steps = np.arange(64)
    curves = Curves(("sharpness",), steps, steps, values[:, None])
    assert {5, 10, 37, 42} <= set(
        curves.downsample(32, ["train_accuracy", "test_accuracy", "sharpness"])
    ) and 15 not in curves.downsample(32, ["train_accuracy", "test_accuracy", "sharpness"])
