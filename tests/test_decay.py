"""What decay does to each layer, from recorded gauges: the table, its orders, and the sentences."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from wdtui.analysis.decay import Decay, decay, extremes, gauged, matching, norms, ordered
from wdtui.plots.terminal.inline import bar, sparkline
from wdtui.schema.curves import Curves
from wdtui.schema.decay import TimeConstant

DECLARED = TimeConstant(100.0, "1/(ηλ)")


def curves(values: Mapping[str, Sequence[float] | float], points: int = 20, every: int = 10) -> Curves:
    """A run with these columns, each a value for all points or one for each."""
    steps = np.arange(1, points + 1) * every
    table = np.stack([np.broadcast_to(np.asarray(column, float), points) for column in values.values()], axis=1)
    return Curves(tuple(values), steps, steps, table)


def layer(name: str, *, norm: float = 5, ratio: float = 1, share: float = 0.02, cosine: float = 0) -> dict[str, float]:
    """The columns of a layer."""
    named = {"weight_norm": norm, "rotation": 0.01 * ratio, "rotation_of_equilibrium": ratio, "decay_share": share}
    return {f"{gauge}/{name}": value for gauge, value in (named | {"scale_invariance": cosine}).items()}


def of(*layers: dict[str, float], steps: int = 200, constant: float | None = 100.0) -> Decay:
    columns: dict[str, float] = {"rotation": 0.01} | ({"time_constant": constant} if constant else {})
    for one in layers:
        columns |= one
    return decay(curves(columns), steps, DECLARED)


def test_the_layers_are_those_of_the_run_in_the_order_of_the_network() -> None:
    found = of(layer("b", norm=3, ratio=0.9, share=0.1), layer("a", norm=4, cosine=-0.2)).layers
    assert [one.name for one in found] == ["b", "a"]
    assert found[0][1:] == pytest.approx((3, 0.009, 0.9, 0.1, 0, True))
    assert found[0].invariant and found[1].invariant is False
    assert found[1].cosine == pytest.approx(0.2)


def test_only_a_scale_invariant_layer_has_an_equilibrium() -> None:
    free, bound = of(layer("free"), layer("bound", cosine=0.05)).layers
    assert free.equilibrium == 1 and math.isnan(bound.equilibrium) and math.isnan(bound.deviation)


def test_one_point_with_another_cosine_is_enough_for_no_equilibrium() -> None:
    columns = {"rotation": [0.01] * 20} | {name: [value] * 20 for name, value in layer("a").items()}
    columns["scale_invariance/a"][-4] = -0.06
    (found,) = decay(curves(columns), 200).layers
    assert found.invariant is False


def test_a_layer_is_called_scale_invariant_once_ten_points_agree() -> None:
    columns = {"rotation": 0.01, **layer("free"), **layer("bound", cosine=0.2)}
    nine, ten = (decay(curves(columns, points=points), 200).layers for points in (9, 10))
    assert [one.invariant for one in nine] == [None, False]
    assert [one.invariant for one in ten] == [True, False]
    assert math.isnan(nine[0].equilibrium) and ten[0].equilibrium == 1


def test_values_are_medians_of_the_last_ten_points_that_have_them() -> None:
    gaps = [math.nan if at % 2 else float(at) for at in range(40)]
    found = decay(curves({"rotation": gaps, "rotation/a": gaps, "weight_norm/a": range(40)}, points=40), 400).layers
    assert found[0].rotation == np.median(range(20, 40, 2))
    assert found[0].norm == 39
    assert math.isnan(found[0].decay_share) and found[0].invariant is None


def test_a_layer_without_any_value_is_listed_with_none() -> None:
    (found,) = decay(curves({"rotation/a": math.nan}), 200).layers
    assert all(value is None or math.isnan(value) for value in found[1:])


@pytest.mark.parametrize("points", [0, 1])
def test_a_run_that_has_just_begun_has_no_surprises(points: int) -> None:
    found = decay(curves({"rotation": 0.01, **layer("a")}, points=points), 1000, DECLARED)
    assert len(found.layers) == points


def test_layers_are_ordered_by_deviation_share_or_network() -> None:
    layers = of(
        layer("slow", ratio=0.25, share=0.1), layer("bound", cosine=0.3, share=0.9),
        layer("fast", ratio=2, share=0.3), layer("still", ratio=1),
    ).layers  # fmt: skip
    orders = {order: [one.name for one in ordered(layers, order)] for order in ("deviation", "share", "network")}
    assert orders == {
        "deviation": ["slow", "fast", "still", "bound"],
        "share": ["bound", "fast", "slow", "still"],
        "network": ["slow", "bound", "fast", "still"],
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("", 4), ("ATTN", 2), ("1", 2), ("0*q", 1), ("nothing", 0), (" mlp ", 2)],
)
def test_layers_are_found_by_a_part_of_their_names(pattern: str, expected: int) -> None:
    names = ("blocks.0.attn.q", "blocks.0.mlp", "blocks.1.attn.k", "blocks.1.mlp")
    assert len(matching(of(*map(layer, names)).layers, pattern)) == expected


def sentence(found: Decay, part: str) -> str:
    (said,) = [one for one in found.sentences if part in one]
    return said


def test_a_time_constant_beyond_the_run_means_that_decay_hardly_acts_and_no_equilibrium_is_compared() -> None:
    found = of(layer("a", ratio=0.3), steps=200, constant=1000)
    assert found.sentences[:2] == (
        "λ hardly acts: the time constant of decay is 1,000 steps, this run has 200.",
        "Layers come to equilibrium after 1,000 steps or more, and 200 are done.",
    )
    assert not any("rotates" in one for one in found.sentences)


def test_the_time_constant_has_the_name_of_its_formula_where_they_agree() -> None:
    assert sentence(of(layer("a")), "1/(ηλ)") == "1/(ηλ) is 100 steps, 50 % of this run."


def test_a_scheduled_rate_gives_the_mean_over_the_steps() -> None:
    columns = {"rotation": 0.01, "time_constant": [100.0] * 10 + [300.0] * 10, **layer("a")}
    assert sentence(decay(curves(columns), 200, DECLARED), "mean") == (
        "the mean of 1/(ηλ) is 150 steps, 75 % of this run."
    )


@pytest.mark.parametrize(
    ("gauges", "declared", "expected"),
    [
        ({}, DECLARED, "1/(ηλ) is 100 steps, 50 % of this run."),
        ({"rotation": 0.01, "rotation/a": 0.01}, DECLARED, ""),  # an Adam divides its decay
        ({"rotation": 0.01, "rotation/a": 0.01}, TimeConstant.of(0.1, 0), "λ is 0: nothing decays."),
        ({}, None, ""),
    ],
)
def test_without_a_measured_time_constant_the_hyperparameters_count_unless_the_gauges_contradict(
    gauges: dict[str, float], declared: TimeConstant | None, expected: str
) -> None:
    found = decay(curves({"train_loss": 1.0, **gauges}), 200, declared)
    assert " ".join(found.sentences) == expected


def test_the_layer_furthest_from_its_equilibrium_is_named() -> None:
    found = of(layer("a"), layer("block1.conv2", ratio=0.7), layer("b", ratio=1.1), layer("head", cosine=0.3))
    assert sentence(found, "block1") == "Layer block1.conv2 rotates at 0.70 of its equilibrium."
    assert sentence(found, "2 of 3") == "2 of 3 scale-invariant layers rotate near their equilibrium."


def test_layers_near_their_equilibrium_are_counted() -> None:
    found = of(layer("a", ratio=0.9), layer("b", ratio=1.1))
    assert "All 2 scale-invariant layers rotate at 0.90 to 1.10 of their equilibrium." in found.sentences


def test_layers_that_are_all_far_from_their_equilibrium_are_counted() -> None:
    found = of(layer("a", ratio=0.3), layer("b", ratio=0.6))
    assert "All 2 scale-invariant layers rotate at 0.30 to 0.60 of their equilibrium." in found.sentences


def test_a_network_without_scale_invariant_layers_has_no_equilibrium_to_compare_with() -> None:
    found = of(layer("a", cosine=0.2), layer("b", cosine=-0.1))
    assert sentence(found, "invariant").startswith("No layer is scale-invariant")
    assert not any("rotates" in one for one in found.sentences)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.03, 0.01), "Decay makes at most 3.0 % of an update."),
        ((0.2, 0.4), "Decay makes 40.0 % of the update of layer 1; the median is 30.0 %."),
        ((0.85, 0.1), "Decay makes 85.0 % of the update of layer 0."),
        ((0.5, 3.21), "Decay is 3.2 times as long as the update of layer 1."),
    ],
)
def test_the_largest_decay_share_is_named(shares: tuple[float, ...], expected: str) -> None:
    found = of(*(layer(str(at), share=share) for at, share in enumerate(shares)))
    assert sentence(found, "update") == expected


def test_channels_below_epsilon_are_counted() -> None:
    found = of({"bn_below_epsilon": 0.1, "bn_below_epsilon/bn1": 0.0, "bn_below_epsilon/bn2": 0.047})
    assert found.sentences[-1] == "4.7 % of the channels of bn2 are below ε."
    found = of({"running_variance_below_epsilon/bn1": 0.01, "running_variance_below_epsilon/bn2": 0.25})
    assert found.sentences[-1] == "Channels are below ε in 2 layers: 25.0 % of those of bn2."


def test_one_line_tells_the_whole_network() -> None:
    found = of(layer("a", ratio=0.8, share=0.1), layer("b", ratio=1.2, share=0.3))
    assert found.line == "1/(ηλ) 100 steps · rotation 1.00 of equilibrium · decay share 20.0 %"
    assert decay(curves({"loss": 1.0}), 200).line == ""


def test_norms_alone_are_no_gauges() -> None:
    assert not gauged(curves({"weight_norm/a": 1.0}))
    assert gauged(curves({"rotation/a": 1.0}))


def test_the_curve_of_norms_covers_the_whole_run() -> None:
    one = curves({"weight_norm/a": [math.nan, *np.linspace(9, 1, 19)]})
    assert norms(one, "a", 3).tolist() == pytest.approx([9, 5, 1])
    assert norms(one, "b", 3).tolist() == []


@pytest.mark.parametrize("every", [1, 25])
def test_the_largest_and_smallest_are_those_of_the_last_points_with_values(every: int) -> None:
    """Gauges may be measured at few points only."""
    gap = [math.nan if at % every else 1.0 for at in range(100)]
    columns = {"rotation": gap} | {f"rotation/{at}": [value * at for value in gap] for at in range(20)}
    found, known = extremes(curves(columns, points=100), "rotation", "", 4)
    assert (found, known) == ([f"rotation/{at}" for at in (0, 1, 18, 19)], 20)
    assert extremes(curves(columns, points=100), "rotation", "1?", 4) == (
        [f"rotation/{at}" for at in (10, 11, 18, 19)],
        10,
    )


def test_curves_whose_extremes_were_found_are_not_kept_in_memory() -> None:
    one = curves({f"rotation/{at}": float(at) for at in range(20)})
    assert extremes(one, "rotation", "", 4)[1] == 20
    kept = weakref.ref(one)
    del one
    gc.collect()
    assert kept() is None


def test_layers_without_any_value_have_no_extremes() -> None:
    found, known = extremes(curves({f"rotation/{at}": math.nan for at in range(20)}), "rotation", "", 4)
    assert (found, known) == ([], 20)


def test_two_thousand_layers_are_no_different() -> None:
    found = of(*(layer(str(at), ratio=1 + at / 1e4) for at in range(2000)))
    assert len(found.layers) == 2000
    assert ordered(found.layers, "deviation")[0].name == "1999"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "    │  "), (0.65, "━━╸ │  "), (0.9, "━━━╸│  "), (1, "━━━━│  "), (1.3, "━━━━┿  "), (9, "━━━━┿━▸"),
     (math.nan, "    │  ")],
)  # fmt: skip
def test_a_bar_ends_beside_its_mark(value: float, expected: str) -> None:
    assert bar(value, 1, 7, 1.75) == expected


def test_a_curve_is_drawn_in_blocks_between_its_extremes() -> None:
    assert sparkline([1, 2, 3]) == "▁▄▇"
    assert sparkline([100, 100.1]) == "▁▁"
    assert sparkline([]) == ""
