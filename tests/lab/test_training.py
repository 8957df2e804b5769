"""A training: what its points say, that it repeats itself, and that it can be stopped, resumed and steered."""

from __future__ import annotations

import copy
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from calls import comparable
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wdtui.bench.plain import plain_network, plain_optimizer
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import epoch as epoch_module
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.tasks import Split, make_task
from wdtui.problems.addition.engine.training import DivergedError, Training
from wdtui.problems.addition.sizes import layer_names
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Steering
from wdtui.training.gauges import Gauges

SMALL = RunConfig(width=16, train_size=205, validation_size=30, test_size=20, batch_size=20, epochs=4, bn_epsilon=1e-3)
"""Ten steps an epoch."""
EASY = RunConfig(
    width=32, train_digits=(2,), test_digits=(1,), bits=8, train_size=70, validation_size=20, test_size=9,
    batch_size=10, epochs=20, learning_rate=1e-2, weight_decay=1.0, bn_epsilon=2e-2,
)  # fmt: skip
"""So easy that its training accuracy is soon neither 0 nor 1."""
TINY = EASY.replace(train_digits=(1,), bits=5, train_size=6, validation_size=3, batch_size=3)
"""So easy that its validation and test accuracies are."""
PLAIN = [
    EASY,
    TINY.replace(loss="cross_entropy", blocks=1, seed=3),
    EASY.replace(optimizer="sgd", learning_rate=0.3, batch_norm=False),
    EASY.replace(optimizer="adam", label_noise=0.1, bn_momentum=0.5),
]

GAUGES = "rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def float64() -> Iterator[None]:
    """Rounding out of the way, what should be equal is equal to nine digits after hundreds of steps."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def window_of(steps: int) -> Iterator[None]:
    """Let an epoch fill several windows, as a long one does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_module, "_WINDOW_STEPS", steps)
        yield


def by_name(config: RunConfig, point: Point) -> dict[str, float]:
    return dict(zip(config.columns, point.values, strict=True))


def measured(points: list[Point]) -> list[tuple[Any, ...]]:
    """All of the points but their speed."""
    return [(point.step, point.epoch, *comparable(point.values[:-1])) for point in points]


def snapshot(training: Training) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a checkpoint holds, as JSON and copies would bring it back."""
    state = {name: tensor.clone() for name, tensor in training.state().items()}
    return state, json.loads(json.dumps(training.position()))


def until(training: Training, step: int) -> Callable[[], bool]:
    return lambda: training.step < step


# What the points say, against a plain network in the plain loop.


def evaluated(config: RunConfig, network: nn.Module, kind: str, split: Split) -> dict[str, float]:
    network.eval()
    with torch.no_grad():
        logits = network(split.inputs)
        right = (torch.sigmoid(logits) > 0.5) == split.targets.bool()
        loss = loss_value(config.loss, logits, split.targets).item()
    network.train()
    accuracy = sum(all(row) for row in right.tolist()) / len(split)
    return {f"{kind}_loss": loss, f"{kind}_accuracy": accuracy, f"{kind}_bit_accuracy": right.double().mean().item()}


def steer_plainly(network: nn.Module, optimizer: torch.optim.Optimizer, changes: Mapping[str, float]) -> None:
    names = {"learning_rate": "lr", "weight_decay": "weight_decay"}
    optimizer.param_groups[0].update({names[name]: changes[name] for name in changes if name in names})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d) and "bn_epsilon" in changes:
            module.eps = changes["bn_epsilon"]


def over_channels(values: Tensor, names: tuple[str, ...], statistic: str) -> dict[str, float]:
    """A statistic of [layers, width] for the network and each layer, the lower one for a median."""
    if statistic == "median":
        results = [sorted(x.flatten().tolist())[(x.numel() - 1) // 2] for x in (values, *values)]
    else:
        results = [getattr(x, statistic)().item() for x in (values, *values)]
    return dict(zip(("", *(f"/{name}" for name in names)), results, strict=True))


def watch_variance(norm: nn.Module, seen: list[Tensor]) -> None:
    """Note the biased variance of each training batch that comes to a BatchNorm."""

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if module.training:
            seen.append(inputs[0].detach().var(0, unbiased=False))

    norm.register_forward_hook(note)


@functools.cache
def plain_points(config: RunConfig, steering: tuple[tuple[int, str, float], ...] = ()) -> list[dict[str, float]]:
    """Every value but the speed, epoch by epoch, measured on an nn.Module; steering is (epoch, field, value)."""
    task = make_task(config)
    network = plain_network(config)
    optimizer = plain_optimizer(config, network, fused=False)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    seen: list[list[Tensor]] = [[] for _ in norms]
    for norm, variances in zip(norms, seen, strict=True):
        watch_variance(norm, variances)
    knobs = {name: getattr(config, name) for name in ("learning_rate", "weight_decay", "bn_epsilon")}
    points = []
    for number in range(config.epochs):
        changes = {field: value for at, field, value in steering if at == number}
        knobs |= changes
        steer_plainly(network, optimizer, changes)
        for variances in seen:
            variances.clear()
        losses, accuracies, bit_accuracies = [], [], []
        for start in range(0, config.steps_per_epoch * config.batch_size, config.batch_size):
            inputs = task.train.inputs[start : start + config.batch_size]
            targets = task.train.targets[start : start + config.batch_size]
            optimizer.zero_grad()
            logits = network(inputs)
            loss = loss_value(config.loss, logits, targets)
            torch.autograd.backward(loss)
            before = [parameter.detach().clone() for parameter in network.parameters()]
            gauges = Gauges({"": network}, [optimizer])
            optimizer.step()
            right = (logits > 0) == targets.bool()
            losses.append(loss.item())
            accuracies.append(right.all(1).double().mean().item())
            bit_accuracies.append(right.double().mean().item())
        point = {
            "train_loss": sum(losses) / config.steps_per_epoch,
            "train_accuracy": sum(accuracies) / config.steps_per_epoch,
            "train_bit_accuracy": sum(bit_accuracies) / config.steps_per_epoch,
        }
        point |= evaluated(config, network, "validation", task.validation)
        point |= evaluated(config, network, "test", task.test)
        after = [parameter.detach() for parameter in network.parameters()]
        gradients = [parameter.grad for parameter in network.parameters()]
        tensor_norms = {name: tensor.detach().norm().item() for name, tensor in network.named_parameters()}
        linear = {
            name.replace("blocks.0.", "block1.").replace("blocks.1.", "block2.").removesuffix(".weight"): norm
            for name, norm in tensor_norms.items()
            if name.endswith(".weight") and "norm" not in name
        }
        point["weight_norm"] = sum(tensor_norms.values())
        point |= {f"weight_norm/{name}": norm for name, norm in linear.items()}
        point["weight_norm_squared"] = sum(norm**2 for norm in tensor_norms.values())
        point["gradient_norm"] = math.sqrt(sum(g.square().sum().item() for g in gradients if g is not None))
        gauged = {name: float(value) for name, value in gauges.measure().items()}
        columns = [f"{name}{of}" for name in GAUGES for of in ("", *(f"/{layer}" for layer in linear))]
        point |= {name: gauged.get(name, math.nan) for name in (*columns, "time_constant")}
        point["update_norm"] = math.sqrt(sum((x - y).square().sum().item() for x, y in zip(after, before, strict=True)))
        if norms:
            names = layer_names(config, "norm")
            rates = {name: knobs["learning_rate"] / linear[name] ** 2 for name in layer_names(config, "invariant")}
            point["effective_learning_rate"] = max(rates.values())
            point |= {f"effective_learning_rate/{name}": rate for name, rate in rates.items()}
            variance = torch.stack([torch.stack(variances).mean(0) for variances in seen])
            running = torch.stack([norm.running_var for norm in norms if norm.running_var is not None])
            for metric, values, statistic in (
                ("bn_variance_min", variance, "min"),
                ("bn_variance_median", variance, "median"),
                ("bn_variance_max", variance, "max"),
                ("bn_below_epsilon", (variance < knobs["bn_epsilon"]).double(), "mean"),
                ("running_variance_min", running, "min"),
            ):
                point |= {metric + end: value for end, value in over_channels(values, names, statistic).items()}
        points.append(point)
    return points


@functools.cache
def engine_points(config: RunConfig) -> list[dict[str, float]]:
    with float64(), window_of(3):
        return [by_name(config, point) for point in Training(config).points()]


@pytest.mark.parametrize(
    "metrics",
    [
        ("train_loss", "train_accuracy", "train_bit_accuracy"),
        ("validation_loss", "validation_accuracy", "validation_bit_accuracy"),
        ("test_loss", "test_accuracy", "test_bit_accuracy"),
        ("bn_variance_min", "bn_variance_median", "bn_variance_max", "bn_below_epsilon", "running_variance_min"),
        ("weight_norm", "weight_norm_squared", "gradient_norm", "update_norm", "effective_learning_rate"),
        (*GAUGES, "time_constant"),
    ],
    ids=lambda metrics: metrics[0],
)
@pytest.mark.parametrize("config", PLAIN, ids=["adamw", "cross_entropy", "sgd", "adam"])
def test_points_say_what_a_plain_network_shows(config: RunConfig, metrics: tuple[str, ...]) -> None:
    with float64():
        expected = plain_points(config)
    for point, plain in zip(engine_points(config), expected, strict=True):
        assert point.keys() - {"steps_per_second"} == plain.keys()
        for name, value in plain.items():
            if name.partition("/")[0] in metrics:
                assert point[name] == pytest.approx(value, rel=1e-5, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adamw"}, 1 / (0.01 * 0.5)),
        ({"optimizer": "sgd", "decay": "decoupled"}, 1 / (0.01 * 0.5)),
        ({"optimizer": "sgd", "decay": "l2", "momentum": 0.8}, 0.2 / (0.01 * 0.5)),
        ({"optimizer": "adam"}, math.nan),
        ({"weight_decay": 0.0}, math.nan),
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["plain", "ensemble"])
def test_the_time_constant_is_that_of_the_optimisers_decay(
    changes: dict[str, Any], expected: float, engine: str
) -> None:
    config = SMALL.replace(**{"learning_rate": 0.01, "weight_decay": 0.5, "epochs": 1} | changes)
    training = Training(config) if engine == "plain" else Ensemble([config]).sessions[0]
    (point,) = training.points()
    assert by_name(config, point)["time_constant"] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(by_name(config, point)["rotation_of_equilibrium/input"]) == math.isnan(expected)


@pytest.mark.parametrize("metric", ["train_accuracy", "validation_accuracy", "test_accuracy", "bn_below_epsilon"])
def test_the_comparison_with_a_plain_network_is_not_of_zeros_and_ones_alone(metric: str) -> None:
    assert any(0.05 < point.get(metric, 0) < 0.95 for config in PLAIN for point in engine_points(config))


def test_weight_norm_is_the_articles_at_its_start() -> None:
    config = RunConfig(epochs=1)
    training = Training(config)
    assert sum(tensor.norm().item() for tensor in training.network.named.values()) == pytest.approx(116.8, abs=0.5)
    (point,) = training.points()
    assert by_name(config, point)["weight_norm"] == pytest.approx(116.8, abs=0.5)


# Points come when they should, and again the same.


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_norm": False}, {"blocks": 0}, {"optimizer": "sgd"}, {"shuffle": True}, {"loss": "cross_entropy"}],
    ids=str,
)
def test_equal_configs_give_equal_points_bit_for_bit(changes: dict[str, Any]) -> None:
    config = SMALL.replace(**changes)
    points, again = list(Training(config).points()), list(Training(config).points())
    assert measured(points) == measured(again)
    for point in points:
        assert len(point.values) == len(config.columns) and all(map(math.isfinite, point.values))
        assert point.step == point.epoch * config.steps_per_epoch
        assert by_name(config, point)["steps_per_second"] > 0
    assert measured(list(Training(config.replace(seed=1)).points())) != measured(points)


@pytest.mark.parametrize(("log_every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (99, [5])])
def test_points_come_every_so_many_epochs_and_at_the_last(log_every: int, epochs: list[int]) -> None:
    all_points = {point.epoch: point for point in Training(SMALL.replace(epochs=5)).points()}
    points = list(Training(SMALL.replace(epochs=5, log_every=log_every)).points())
    assert [point.epoch for point in points] == epochs
    assert measured(points) == measured([all_points[epoch] for epoch in epochs])


@pytest.mark.parametrize("size", [1, 3, 10])
def test_how_many_steps_are_summed_at_once_makes_no_difference(size: int) -> None:
    points = [by_name(SMALL, point) for point in Training(SMALL).points()]
    with window_of(size):
        for point, other in zip(points, Training(SMALL).points(), strict=True):
            assert by_name(SMALL, other) | {"steps_per_second": 0} == pytest.approx(
                point | {"steps_per_second": 0}, rel=1e-5
            )


def batches(config: RunConfig, epoch: int) -> Tensor:
    training = Training(config)
    training.move_to(epoch, 0)
    inputs, targets = training.batches()
    assert inputs.shape == (config.steps_per_epoch, config.batch_size, config.inputs)
    return torch.cat([inputs, targets], 2).flatten(0, 1).cpu()


def test_without_shuffle_every_epoch_takes_the_pairs_in_the_order_of_the_split() -> None:
    pairs = make_task(SMALL).train
    expected = torch.cat([pairs.inputs, pairs.targets], 1)[:200]
    assert torch.equal(batches(SMALL, 0), expected) and torch.equal(batches(SMALL, 3), expected)


def test_shuffle_draws_a_new_order_of_the_same_pairs_each_epoch() -> None:
    config = SMALL.replace(shuffle=True, train_size=200)
    pairs = make_task(config).train
    orders = [batches(config, epoch) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == sorted(torch.cat([pairs.inputs, pairs.targets], 1).tolist())
    assert not any(torch.equal(orders[i], orders[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(batches(config, 2), orders[2])
    assert not torch.equal(batches(config.replace(seed=1), 2), orders[2])


def test_shuffle_leaves_out_other_pairs_each_epoch() -> None:
    config = SMALL.replace(shuffle=True)
    seen = {tuple(row) for epoch in range(8) for row in batches(config, epoch).tolist()}
    assert len({tuple(row) for row in batches(config, 0).tolist()}) == 200 and len(seen) == 205


# Divergence.

DIVERGING = SMALL.replace(optimizer="sgd", decay="decoupled", learning_rate=100.0, epochs=50)


def run_until_it_diverges(
    training: Training, poll_commands: Callable[[], bool] = lambda: True
) -> tuple[list[Point], int]:
    points = []
    with pytest.raises(DivergedError) as diverged:
        for point in training.points(poll_commands):
            points.append(point)
    assert f"step {diverged.value.step:,}" in str(diverged.value)
    return points, diverged.value.step


def first_step_without_a_finite_loss(config: RunConfig) -> int:
    """By taking an epoch of one step at a time, in the engine's own float32."""
    training = Training(config)
    found: list[int] = []

    def look() -> bool:
        row = (training.batch - 1) % training.record.size
        if training.batch and not found and not training.record.logits[row].isfinite().all():
            found.append(training.step)
        return not found

    list(training.points(look))
    return found[0]


@pytest.mark.parametrize("size", [1, 3, 128])
def test_a_loss_that_is_not_finite_ends_the_run_after_the_point_of_its_epoch(size: int) -> None:
    with window_of(size):
        expected = first_step_without_a_finite_loss(DIVERGING)
        points, step = run_until_it_diverges(Training(DIVERGING))
    assert step == expected
    assert points[-1].step - 10 < step <= points[-1].step
    assert math.isnan(by_name(DIVERGING, points[-1])["train_loss"])
    assert all(math.isfinite(by_name(DIVERGING, point)["train_loss"]) for point in points[:-1])


def test_the_point_of_a_diverged_epoch_comes_although_it_was_not_to_be_logged() -> None:
    points, step = run_until_it_diverges(Training(DIVERGING.replace(log_every=1000)))
    assert len(points) == 1 and points[0].step - 10 < step <= points[0].step


def test_a_run_interrupted_in_the_epoch_in_which_it_diverged_still_says_at_which_step() -> None:
    with window_of(1):
        _, step = run_until_it_diverges(Training(DIVERGING))
        training = Training(DIVERGING)
        list(training.points(until(training, step + 1)))
        resumed = Training(DIVERGING)
        resumed.restore(*snapshot(training))
        assert run_until_it_diverges(training)[1] == step
        assert run_until_it_diverges(resumed)[1] == step


# Stopping and going on.


@pytest.mark.parametrize("stop", [0, 1, 9, 10, 11, 25])
def test_a_training_stops_between_two_steps_when_told_to(stop: int) -> None:
    training = Training(SMALL)
    points = list(training.points(until(training, stop)))
    assert training.step == stop and len(points) == stop // 10
    assert (training.epoch, training.batch) == divmod(stop, 10)
    position = training.position()
    assert (position["epoch"], position["batch"]) == divmod(stop, 10)
    assert (position["plan"], position["diverged_at"]) == ([], None)


RESUMED = [
    SMALL,
    SMALL.replace(shuffle=True, optimizer="adam"),
    SMALL.replace(optimizer="sgd", batch_norm=False, log_every=3),
    SMALL.replace(loss="cross_entropy", decay="l2", blocks=0, shuffle=True, seed=2),
]


@functools.cache
def uninterrupted(config: RunConfig, window: int) -> tuple[list[tuple[Any, ...]], Tensor]:
    with window_of(window):
        training = Training(config)
        return measured(list(training.points())), training.network.parameters


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(RESUMED),
    st.sampled_from((1, 3, 4, 128)),
    st.lists(st.integers(0, SMALL.steps), min_size=1, max_size=3).map(sorted),
)
def test_a_training_resumed_at_any_step_goes_on_bit_for_bit(config: RunConfig, window: int, stops: list[int]) -> None:
    expected, parameters = uninterrupted(config, window)
    points = []
    with window_of(window):
        training = Training(config)
        for stop in stops:
            points += list(training.points(until(training, stop)))
            kept = snapshot(training)
            training = Training(config)
            training.restore(*kept)
        points += list(training.points())
    assert measured(points) == expected
    assert torch.equal(training.network.parameters, parameters)


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_step_counters_are_float32_in_float64_too_and_old_ones_of_float64_are_taken_over(optimizer: str) -> None:
    config = SMALL.replace(optimizer=optimizer)
    with float64():
        training = Training(config)
        list(training.points(until(training, 15)))
        state, position = snapshot(training)
        assert state["optimizer.steps"].dtype == torch.float32 and state["optimizer.mean"].dtype == torch.float64
        for resumed in (Training(config), Ensemble([config]).sessions[0]):
            resumed.restore(state | {"optimizer.steps": state["optimizer.steps"].double()}, position)
            assert resumed.state()["optimizer.steps"].dtype == torch.float32
            assert resumed.state()["optimizer.steps"] == 15


def test_a_training_may_be_taken_back_to_an_earlier_step() -> None:
    with window_of(3):
        training = Training(SMALL)
        list(training.points(until(training, 15)))
        kept = snapshot(training)
        rest = measured(list(training.points()))
        training.restore(*kept)
        assert measured(list(training.points())) == rest


def test_a_training_that_has_ended_has_no_more_points() -> None:
    training = Training(SMALL)
    assert len(list(training.points())) == 4 and list(training.points()) == []


# Steering.


@pytest.mark.parametrize("asked_at", [0, 1, 5, 9, 10])
def test_steering_takes_effect_at_the_next_epoch_and_is_reported_once(asked_at: int) -> None:
    begins = 10 * math.ceil(asked_at / 10)
    training = Training(SMALL)
    knobs: dict[int, dict[str, float]] = {}

    def poll_commands() -> bool:
        if training.step == asked_at:
            knobs[-1] = training.live_values
            training.steer(weight_decay=0.7, bn_epsilon=0.05)
        knobs[training.step] = training.live_values
        return True

    points = list(training.points(poll_commands))
    last_as_before = begins if asked_at < begins else begins - 1  # between two epochs it is done at once
    assert all((knobs[step] == knobs[-1]) == (step <= last_as_before) for step in knobs)
    assert training.live_values == {"weight_decay": 0.7, "bn_epsilon": 0.05, "learning_rate": 1e-3}
    assert training.take_steerings() == [
        Steering(begins, "weight_decay", 0.1, 0.7),
        Steering(begins, "bn_epsilon", 1e-3, 0.05),
    ]
    assert training.take_steerings() == []
    expected = measured(list(Training(SMALL).points()))
    assert measured(points)[: begins // 10] == expected[: begins // 10]
    assert measured(points)[begins // 10 :] != expected[begins // 10 :]


def test_a_steered_run_equals_a_plain_network_steered_likewise() -> None:
    config = EASY.replace(epochs=12)
    steering = ((4, "learning_rate", 1e-3), (4, "weight_decay", 2.0), (8, "bn_epsilon", 0.2))
    with float64():
        training, points = Training(config), []
        for point in training.points():
            points.append(by_name(config, point))
            training.steer(**{field: value for at, field, value in steering if at == point.epoch})
        for seen, plain in zip(points, plain_points(config, steering), strict=True):
            assert {name: seen[name] for name in plain} == pytest.approx(plain, rel=1e-5, abs=1e-9)


def test_the_last_of_several_steerings_before_an_epoch_counts() -> None:
    training = Training(SMALL)
    asked = {3: {"weight_decay": 0.5, "learning_rate": 0.1}, 5: {"weight_decay": 0.6}}

    def poll_commands() -> bool:
        training.steer(**asked.get(training.step, {}))
        return training.step < 12

    list(training.points(poll_commands))
    assert training.live_values["weight_decay"] == 0.6 and training.live_values["learning_rate"] == 0.1
    assert {(s.field, s.old, s.new) for s in training.take_steerings()} == {
        ("weight_decay", 0.1, 0.6),
        ("learning_rate", 1e-3, 0.1),
    }


@pytest.mark.parametrize("stop", [10, 13, 20, 24])
def test_steering_survives_a_checkpoint_whether_it_has_taken_effect_or_not(stop: int) -> None:
    def steered(training: Training) -> Callable[[], bool]:
        def poll_commands() -> bool:
            if training.step == 13 and not training.plan:
                training.steer(bn_epsilon=0.1)
            return training.step < stop

        return poll_commands

    whole = Training(SMALL)
    expected = list(whole.points(lambda: steered(whole)() or True))
    training = Training(SMALL)
    points = list(training.points(steered(training)))
    early = training.take_steerings()
    resumed = Training(SMALL)
    resumed.restore(*snapshot(training))
    points += list(resumed.points(lambda: steered(resumed)() or True))
    assert measured(points) == measured(expected)
    assert early + resumed.take_steerings() == [Steering(20, "bn_epsilon", 1e-3, 0.1)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 8}, "width cannot be changed while a run is live"),
        ({"normalized_weight_decay": 0.1}, "normalized_weight_decay cannot be changed"),
        ({"nonsense": 1}, "nonsense cannot be changed"),
        ({"weight_decay": -1.0}, "weight_decay: -1.0 is not allowed"),
        ({"bn_epsilon": 0.0}, "bn_epsilon: 0.0 is not allowed"),
        ({"learning_rate": math.nan}, "learning_rate: nan is not allowed"),
        ({"learning_rate": 0.5, "seed": 3}, "seed cannot be changed"),
    ],
    ids=str,
)
def test_what_cannot_be_steered_is_refused_and_changes_nothing(changes: dict[str, Any], said: str) -> None:
    training = Training(SMALL)
    before = copy.deepcopy(training.position())
    with pytest.raises(ConfigError, match=said):
        training.steer(**changes)
    assert training.position() == before


@pytest.mark.cpu_only
def test_numbers_below_the_smallest_normal_one_do_not_slow_a_training_down() -> None:
    smallest = torch.finfo(torch.float32).tiny
    training = Training(RunConfig(width=8, train_size=128, validation_size=16, test_size=16, weight_decay=100.0))
    training.network.parameters.fill_(smallest / 2)
    training.steps.run_epoch()
    sizes = training.network.parameters.abs()
    assert bool(((sizes == 0) | (sizes >= smallest)).all())
    assert sys.float_info.min / 2 > 0  # whoever trains computes as before
