"""The decay gauges: by hand in two dimensions, and against the theory in a network that learns."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wdtui.problems import registry
from wdtui.problems.declared import DeclaredConfig
from wdtui.schema.recorded import charts_of, recorded
from wdtui.training.declared import DeclaredSession
from wdtui.training.gauges import Decay, Gauges


class Matrix(nn.Module):
    def __init__(self, values: list[list[float]], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=dtype))


def group(kind: type[torch.optim.Optimizer], **settings: Any) -> dict[str, Any]:
    return kind([nn.Parameter(torch.ones(2, 2))], **settings).param_groups[0]


def floats(measured: dict[str, Tensor | float]) -> dict[str, float]:
    return {name: float(value) for name, value in measured.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.3, 2.0, 3.1])
@pytest.mark.parametrize("scale", [0.99, 1.0, 1.01])
def test_the_rotation_is_the_angle_between_the_weights_before_and_after(
    angle: float, scale: float, dtype: torch.dtype
) -> None:
    model = Matrix([[1, 0]], dtype)
    gauges = Gauges({"": model}, [torch.optim.SGD(model.parameters(), lr=0.1)])
    turned = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=dtype)
    model.weight.data.copy_(scale * turned)
    assert float(gauges.measure()["rotation"]) == pytest.approx(angle, rel=1e-5, abs=1e-9)


def test_decay_alone_turns_nothing() -> None:
    model = nn.Linear(50, 50)
    gauges = Gauges({"": model}, [torch.optim.SGD(model.parameters(), lr=0.1)])
    model.weight.data.mul_(1 - 1e-2)
    assert float(gauges.measure()["rotation"]) < 1e-7


def test_a_step_of_sgd_by_hand() -> None:
    model = Matrix([[3, 4]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    gauges = Gauges({"": model}, [optimizer])
    model.weight.grad = torch.tensor([[4.0, -3.0]])  # orthogonal, as in a scale-invariant layer
    optimizer.step()
    rotation = math.atan2(0.1 * 5, 5 * (1 - 0.05))
    rate = 0.1 / ((5 * 0.95) ** 2 + 0.5**2)
    assert floats(gauges.measure()) == pytest.approx(
        {
            "scale_invariance": 0.0, "scale_invariance/weight": 0.0,
            "effective_learning_rate": rate, "effective_learning_rate/weight": rate,
            "rotation": rotation, "rotation/weight": rotation,
            "decay_share": 0.25 / math.hypot(0.5, 0.25), "decay_share/weight": 0.25 / math.hypot(0.5, 0.25),
            "rotation_of_equilibrium": rotation / math.sqrt(0.1),
            "rotation_of_equilibrium/weight": rotation / math.sqrt(0.1),
            "time_constant": 1 / (0.1 * 0.5),
        },
        rel=1e-5, abs=1e-7,
    )  # fmt: skip


def test_settings_are_those_of_each_group_and_layers_of_no_optimizer_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(
        [{"params": model[0].parameters(), "weight_decay": 0.0}, {"params": model[1].parameters(), "lr": 0.02}],
        lr=0.01, weight_decay=0.1,
    )  # fmt: skip
    gauges = Gauges({"part": model}, [optimizer])
    model(torch.randn(8, 2)).square().sum().backward()
    optimizer.step()
    measured = floats(gauges.measure())
    assert {name.partition("/")[2] for name in measured} == {"", "part.0", "part.1"}
    assert measured["time_constant"] == pytest.approx(1 / (0.02 * 0.1))
    assert measured["decay_share/part.0"] == 0 and measured["decay_share/part.1"] > 0
    assert "rotation_of_equilibrium/part.0" not in measured
    assert measured["rotation_of_equilibrium"] == measured["rotation_of_equilibrium/part.1"]


@pytest.mark.parametrize(
    ("given", "rate", "equilibrium"),
    [
        (group(torch.optim.AdamW, lr=1e-3, weight_decay=1.0), 1e-3, math.sqrt(2e-3 * 0.1 / 1.9)),
        (group(torch.optim.AdamW, lr=1e-3, weight_decay=0.0), 0.0, None),
        (group(torch.optim.Adam, lr=1e-3, weight_decay=1.0), None, None),
        (group(torch.optim.SGD, lr=0.05, weight_decay=1e-3, momentum=0.9), 5e-4, math.sqrt(1e-4 / 1.9)),
        (group(torch.optim.SGD, lr=0.05, weight_decay=1e-3), 5e-5, math.sqrt(1e-4)),
        (group(torch.optim.SGD, lr=0.05, weight_decay=1e-3, momentum=0.9, nesterov=True), 5e-4, None),
        (group(torch.optim.SGD, lr=0.05, weight_decay=1e-3, momentum=0.9, dampening=0.9), 5e-5, math.sqrt(1e-5 / 1.9)),
        (group(torch.optim.SGD, lr=0.05, weight_decay=1e-3, dampening=0.9), 5e-5, math.sqrt(1e-4)),
        (group(torch.optim.NAdam, lr=1e-3, weight_decay=1.0, decoupled_weight_decay=True), 1e-3, None),
        (group(torch.optim.RMSprop, lr=1e-3, weight_decay=1.0, momentum=0.9), None, None),
    ],
)  # fmt: skip
def test_predictions_are_made_where_the_optimizer_is_known(
    given: dict[str, Any], rate: float | None, equilibrium: float | None
) -> None:
    decay = Decay.of(given)
    assert decay.rate == (None if rate is None else pytest.approx(rate))
    assert decay.equilibrium == (None if equilibrium is None else pytest.approx(equilibrium))
    assert decay.time_constant == (pytest.approx(1 / rate) if rate else None)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (torch.optim.AdamW, {"lr": 0.1}),
        (torch.optim.SGD, {"lr": 0.1}),
        (torch.optim.SGD, {"lr": 0.005, "momentum": 0.9}),
        (torch.optim.SGD, {"lr": 0.005, "momentum": 0.9, "nesterov": True}),
        (torch.optim.SGD, {"lr": 0.005, "momentum": 0.9, "dampening": 0.5}),
    ],
)
def test_weights_without_gradient_shrink_by_e_within_each_time_constant(
    kind: type[torch.optim.Optimizer], settings: dict[str, Any]
) -> None:
    weight = nn.Parameter(torch.ones(3, 3, dtype=torch.float64))
    optimizer = kind([weight], weight_decay=0.02, **settings)
    steps = round(Decay.of(optimizer.param_groups[0]).time_constant)
    norms = []
    for step in range(3 * steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        if (step + 1) % steps == 0:
            norms.append(float(weight.detach().norm()))
    assert norms[1] / norms[0] == pytest.approx(math.exp(-1), rel=0.02)
    assert norms[2] / norms[1] == pytest.approx(math.exp(-1), rel=0.02)


def test_a_layer_without_a_dense_gradient_has_no_cosine() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Embedding(2, 2, sparse=True)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gauges = Gauges({"": model}, [optimizer])
    (model["a"](torch.ones(1, 2)).sum() + model["c"](torch.tensor([0])).sum()).backward()
    measured = floats(gauges.measure())
    assert math.isnan(measured["scale_invariance/b"]) and math.isnan(measured["scale_invariance/c"])
    assert measured["scale_invariance"] == measured["scale_invariance/a"] != 0
    optimizer.zero_grad()
    assert "scale_invariance" not in Gauges({"": model}, [optimizer]).measure()


def test_a_step_that_changes_nothing_has_no_share_and_no_rotation() -> None:
    model = Matrix([[1, 2], [3, 4]])
    measured = floats(Gauges({"": model}, [torch.optim.AdamW(model.parameters())]).measure())
    assert measured["rotation"] == 0 and math.isnan(measured["decay_share"])


def test_learning_rates_may_be_tensors_and_are_those_before_the_step() -> None:
    model = Matrix([[1, 2]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01), weight_decay=0.1)
    gauges = Gauges({"": model}, [optimizer])
    optimizer.param_groups[0]["lr"].fill_(1.0)  # as a scheduler does in the step
    assert float(gauges.measure()["time_constant"]) == pytest.approx(1000)


def test_there_is_one_copy_of_the_weights_and_none_after_the_measurement() -> None:
    model = nn.Linear(3, 3)
    gauges = Gauges({"": model}, [torch.optim.SGD(model.parameters(), lr=0.1)])
    assert [[copy.shape for copy in group.copies] for group in gauges._groups] == [[(3, 3)]]
    copy = weakref.ref(gauges._groups[0].copies[0])
    gauges.measure()
    assert copy() is None


def test_gauges_come_after_the_charts_that_people_look_for_first() -> None:
    names = "train_loss", "train_accuracy", "weight_norm", "rotation", "rotation/0", "time_constant", "steps_per_second"
    metrics = recorded({}, names)
    assert [chart.name for chart in charts_of(metrics)] == [
        "accuracy", "loss", "weight_norm", "rotation", "steps_per_second", "time_constant"
    ]  # fmt: skip
    assert metrics["rotation"].unit == "rad" and metrics["time_constant"].unit == "steps"


# Against the theory


def trained(seed: int, **changes: Any) -> dict[str, NDArray[np.float64]]:
    """The curves of the last third of 1,500 steps of a narrow network of `rotation`, which docs/gauges.md describes."""
    torch.set_num_threads(1)
    config = registry.find("rotation").config(seed=seed, width=64, **changes)
    assert isinstance(config, DeclaredConfig)
    session = DeclaredSession(config, "cpu")
    points = [point.values for point in session.points() if point.step > 1000]
    return dict(zip(session.columns, np.array(points).T, strict=True))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "changes",
    [{"method": "sgd", "decay_rule": "l2", "learning_rate": 0.05, "weight_decay": 5e-3}, {}],
    ids=["SGD", "AdamW"],
)
def test_layers_before_a_norm_rotate_as_predicted_in_a_network_that_learns(changes: Any, seed: int) -> None:
    """1,500 steps are four time constants, in which the norms come to rest."""
    curves = trained(seed, **changes)
    assert curves["train_loss"].mean() < 1 < math.log(10)  # that of a network which has learned nothing
    for layer in ("first.0", "second.0"):
        assert curves[f"rotation_of_equilibrium/{layer}"].mean() == pytest.approx(1, abs=0.05)
        assert abs(curves[f"scale_invariance/{layer}"]).max() < 0.01
    assert abs(curves["scale_invariance/output"]).max() > 0.05  # which no norm follows
