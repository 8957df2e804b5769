"""An ensemble: each of its runs is trained as it would be alone, and none touches another."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from calls import Calls

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import epoch as epoch_module
from wdtui.problems.addition.engine.ensemble import Ensemble, Member, is_stacked, shape_of
from wdtui.problems.addition.engine.training import Training
from wdtui.schema.curves import Point
from wdtui.schema.steering import Plan, Steering

SMALL = RunConfig(width=16, train_size=205, validation_size=30, test_size=20, batch_size=20, epochs=3, bn_epsilon=1e-3)
"""Ten steps an epoch."""
DIFFERENT: list[dict[str, Any]] = [
    {"seed": 1},
    {"bn_epsilon": 0.3, "weight_decay": 4.0, "seed": 2},
    {"learning_rate": 1e-2, "data_seed": 3, "label_noise": 0.2},
    {"shuffle": True, "train_digits": (3,), "test_digits": (2,)},
]
"""All that the runs of an ensemble may differ in and that the numbers depend on."""


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(ensemble: Ensemble) -> dict[int, list[Point]]:
    points: dict[int, list[Point]] = {}
    for member, point in ensemble.points():
        points.setdefault(member.row, []).append(point)
    return points


def values(points: list[Point]) -> list[tuple[float, ...]]:
    return [(point.step, point.epoch, *point.values[:-1]) for point in points]  # the last is the speed


def assert_goes_as_alone(member: Member, points: list[Point]) -> None:
    alone = Training(member.config)
    expected = list(alone.points())
    torch.testing.assert_close(
        torch.tensor(values(points)), torch.tensor(values(expected)), rtol=1e-9, atol=1e-12, equal_nan=True
    )
    for name, tensor in alone.state().items():
        torch.testing.assert_close(member.state()[name], tensor, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("optimizer", "decay", "loss", "batch_norm"),
    list(itertools.product(("adamw", "sgd"), ("decoupled", "l2"), ("mse", "cross_entropy"), (True, False))),
)
def test_each_run_of_an_ensemble_goes_as_it_would_alone(
    optimizer: str, decay: str, loss: str, batch_norm: bool
) -> None:
    base = SMALL.replace(optimizer=optimizer, decay=decay, loss=loss, batch_norm=batch_norm)
    ensemble = Ensemble([base.replace(**changes) for changes in DIFFERENT])
    points = trained(ensemble)
    for member in ensemble.sessions:
        assert_goes_as_alone(member, points[member.row])


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("changes", [{"blocks": 0}, {"blocks": 3, "log_every": 2}, {"bits": 24}, {"width": 7}])
def test_an_ensemble_trains_networks_of_any_shape(changes: dict[str, Any]) -> None:
    ensemble = Ensemble([SMALL.replace(seed=seed, **changes) for seed in range(3)])
    points = trained(ensemble)
    for member in ensemble.sessions:
        assert_goes_as_alone(member, points[member.row])


@pytest.mark.cpu_only
@pytest.mark.parametrize("width", [16, 48, 64])
def test_the_company_a_run_has_changes_not_one_bit_of_it(width: int) -> None:
    configs = [SMALL.replace(width=width, **changes) for changes in DIFFERENT]
    together, alone = Ensemble(configs), Ensemble(configs[1:2])
    points = trained(together)[1]
    assert values(points) == values(trained(alone)[0])
    assert torch.equal(together.network.parameters[1], alone.network.parameters[0])


@pytest.mark.cpu_only
def test_steering_one_run_leaves_the_others_as_they_are_and_works_as_it_does_alone() -> None:
    configs = [SMALL.replace(**changes) for changes in DIFFERENT[:3]]
    change = {"weight_decay": 2.0, "bn_epsilon": 1e-4, "learning_rate": 5e-3}

    def poll_commands() -> bool:
        if ensemble.epoch == 1 and ensemble.steps.batch == 4:
            ensemble.sessions[1].steer(**change)
        return True

    ensemble, undisturbed = Ensemble(configs), Ensemble(configs)
    for _ in ensemble.points(poll_commands):
        pass
    trained(undisturbed)
    for row in (0, 2):
        assert torch.equal(ensemble.network.parameters[row], undisturbed.network.parameters[row])
    assert not torch.equal(ensemble.network.parameters[1], undisturbed.network.parameters[1])
    assert [(taken.step, taken.field) for taken in ensemble.sessions[1].take_steerings()] == [
        (20, name) for name in change
    ]
    assert ensemble.sessions[1].live_values == change
    assert ensemble.sessions[0].take_steerings() == []

    alone = Training(configs[1])
    for _ in alone.points(lambda: (alone.step == 14 and alone.steer(**change)) or True):
        pass
    torch.testing.assert_close(ensemble.network.parameters[1], alone.network.parameters, rtol=1e-3, atol=1e-5)


@pytest.mark.cpu_only
@pytest.mark.parametrize("stop", [10, 17])
def test_a_run_interrupted_in_an_ensemble_goes_on_in_another_bit_for_bit(stop: int) -> None:
    configs = [SMALL.replace(**changes) for changes in DIFFERENT]
    whole = Ensemble(configs)
    expected = trained(whole)

    first = Ensemble(configs)
    points: dict[int, list[Point]] = {}
    for member, point in first.points(lambda: first.epoch * 10 + first.steps.batch < stop):
        points.setdefault(member.row, []).append(point)
    rest = Ensemble([configs[3], configs[0]])
    for member, row in zip(rest.sessions, (3, 0), strict=True):
        state = {name: tensor.clone() for name, tensor in first.sessions[row].state().items()}
        member.restore(state, first.sessions[row].position())
    for member, point in rest.points():
        points[(3, 0)[member.row]].append(point)
    for row in (0, 3):
        assert values(points[row]) == values(expected[row])


def test_the_members_share_one_copy_of_their_state_which_stays_as_it_was() -> None:
    ensemble = Ensemble([SMALL.replace(**changes) for changes in DIFFERENT])
    ensemble.run_epoch()
    ensemble.end_epoch()
    expected = [{name: tensor.clone() for name, tensor in member.state().items()} for member in ensemble.sessions]
    with Calls() as calls:
        copies = [member.copied_state() for member in ensemble.sessions]
    assert calls.counts["clone"] == len(ensemble.state())
    parameters = []

    def poll() -> bool:
        parameters.append(ensemble.sessions[0].copied_state()["network.parameters"])
        return ensemble.steps.batch < 5

    ensemble.run_epoch(poll)
    assert not any(torch.equal(one, next_one) for one, next_one in itertools.pairwise(parameters))
    for copy, state, member in zip(copies, expected, ensemble.sessions, strict=True):
        assert copy.keys() == state.keys() and all(torch.equal(copy[name], state[name]) for name in state)
        assert not torch.equal(member.copied_state()["network.parameters"], state["network.parameters"])


@pytest.mark.cpu_only
def test_a_copy_after_a_run_was_restored_is_of_what_it_was_restored_to() -> None:
    ensemble, other = Ensemble([SMALL, SMALL.replace(seed=1)]), Ensemble([SMALL.replace(seed=2)])
    for member in ensemble.sessions:
        member.copied_state()
    ensemble.sessions[1].restore(other.sessions[0].state(), other.sessions[0].position())
    parameters = ensemble.sessions[1].copied_state()["network.parameters"]
    assert torch.equal(parameters, other.network.parameters[0])


@pytest.mark.cpu_only
@pytest.mark.usefixtures("double_precision")
def test_a_run_may_leave_an_ensemble_and_go_on_alone() -> None:
    ensemble = Ensemble([SMALL, SMALL.replace(seed=5)])
    for _ in ensemble.points(lambda: ensemble.epoch * 10 + ensemble.steps.batch < 13):
        pass
    alone = Training(SMALL.replace(seed=5))
    alone.restore(ensemble.sessions[1].state(), ensemble.sessions[1].position())
    list(alone.points())
    undisturbed = Training(SMALL.replace(seed=5))
    list(undisturbed.points())
    torch.testing.assert_close(
        alone.network.parameters, undisturbed.network.parameters, rtol=1e-9, atol=1e-12, equal_nan=True
    )


@pytest.mark.cpu_only
def test_a_run_that_diverges_ends_and_spoils_no_other() -> None:
    wild = SMALL.replace(optimizer="sgd", learning_rate=900.0, batch_norm=False, loss="cross_entropy", epochs=6)
    calm = wild.replace(learning_rate=1e-2)
    ensemble, alone = Ensemble([calm, wild]), Ensemble([calm])
    points = trained(ensemble)
    assert ensemble.sessions[1].diverged_at is not None
    assert not all(map(math.isfinite, points[1][-1].values))
    assert not ensemble.sessions[0].ended
    assert values(points[0]) == values(trained(alone)[0])[: len(points[0])]


def test_an_ensemble_stops_at_the_last_epoch_of_the_first_to_end() -> None:
    ensemble = Ensemble([SMALL, SMALL.replace(epochs=2)])
    assert {row: len(points) for row, points in trained(ensemble).items()} == {0: 2, 1: 2}
    assert [member.ended for member in ensemble.sessions] == [False, True]


@pytest.mark.parametrize("changes", [*DIFFERENT, {"epochs": 9}, {"task": "multiply"}])
def test_runs_that_differ_in_what_is_their_own_may_share_an_ensemble(changes: dict[str, Any]) -> None:
    assert shape_of(SMALL.replace(**changes)) == shape_of(SMALL)


@pytest.mark.parametrize("changes", [{"width": 32}, {"batch_size": 10}, {"optimizer": "sgd"}, {"log_every": 2}])
def test_runs_that_differ_in_anything_else_may_not(changes: dict[str, Any]) -> None:
    assert shape_of(SMALL.replace(**changes)) != shape_of(SMALL)


@pytest.mark.parametrize(
    ("changes", "device", "plan", "stacked"),
    [
        ({}, "cpu", (), False),
        ({}, "cuda:0", (), True),
        ({"engine": "ensemble"}, "cpu", (), True),
        ({"engine": "alone"}, "cuda:0", (), False),
        ({"architecture": "transformer"}, "cuda:0", (), False),
        ({"sharpness_every": 1}, "cuda:0", (), False),
        ({}, "cuda:0", (Steering(10, "weight_decay", 0.1, 0.5), Steering(20, "learning_rate", 1e-3, 1e-2)), True),
        ({}, "cuda:0", (Steering(10, "weight_decay", 0.1, 0.5), Steering(10, "shuffle", False, True)), False),
        ({"loss": "cross_entropy"}, "cuda:0", (Steering(10, "loss", "mse", "cross_entropy"),), False),
    ],
    ids=str,
)
def test_an_ensemble_trains_what_is_meant_for_it_and_on_a_gpu_whatever_it_can(
    changes: dict[str, Any], device: str, plan: Plan, stacked: bool
) -> None:
    assert is_stacked(SMALL.replace(**changes), device, plan) == stacked


@pytest.mark.parametrize("window", [1, 4, 128])
def test_the_losses_of_an_epoch_are_looked_at_once_at_its_end(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(epoch_module, "_WINDOW_STEPS", window)
    ensemble = Ensemble([SMALL.replace(**changes) for changes in DIFFERENT])
    with Calls() as calls:
        ensemble.run_epoch()
    assert not calls.waits
    with Calls() as calls:
        ensemble.end_epoch()
    assert calls.waits == 1


@pytest.mark.cpu_only
def test_a_checkpoint_within_an_epoch_says_at_which_step_of_it_a_run_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_module, "_WINDOW_STEPS", 2)
    ensemble = Ensemble([SMALL, SMALL.replace(seed=1)])

    def spoil() -> bool:
        if ensemble.steps.batch == 4:
            ensemble.network.parameters[1] = math.nan
        return ensemble.steps.batch < 8

    assert not ensemble.run_epoch(spoil)
    assert [member.position()["diverged_at"] for member in ensemble.sessions] == [None, 5]
    ensemble.run_epoch()
    ensemble.end_epoch()
    assert [member.diverged_at for member in ensemble.sessions] == [None, 5]


@pytest.mark.parametrize("pace", [3, 10, 100])
def test_how_many_steps_are_taken_between_two_looks_makes_no_difference(pace: int) -> None:
    configs = [SMALL.replace(**changes) for changes in DIFFERENT]
    stepwise, striding = Ensemble(configs), Ensemble(configs)
    striding.steps.pace = pace  # as on a GPU, where a stretch of steps is one graph
    looks = []
    strides: dict[int, list[Point]] = {}
    for member, point in striding.points(lambda: looks.append(striding.steps.batch) or True):
        strides.setdefault(member.row, []).append(point)
    assert looks[: -(-10 // pace)] == list(range(0, 10, pace))
    assert {row: values(points) for row, points in strides.items()} == {
        row: values(points) for row, points in trained(stepwise).items()
    }


def calls_to_begin_an_epoch(models: int, plan: Plan = ()) -> Counter[str]:
    ensemble = Ensemble([SMALL.replace(seed=seed) for seed in range(models)], plans=[plan] * models)
    ensemble.run_epoch()
    ensemble.end_epoch()
    with Calls() as calls:
        ensemble.begin_epoch()
    return calls.counts


def test_an_epoch_of_1024_models_in_which_nothing_changes_begins_without_a_call_to_the_device() -> None:
    assert not calls_to_begin_an_epoch(1024)


def test_an_epoch_of_1024_models_whose_values_change_begins_with_as_many_calls_as_one_of_two() -> None:
    ramps = tuple(Steering(10, name, 1e-3, 1e-2, 3) for name in ("weight_decay", "learning_rate", "bn_epsilon"))
    counts = calls_to_begin_an_epoch(1024, ramps)
    assert counts == calls_to_begin_an_epoch(2, ramps)
    assert counts["copy_"] == 3
