"""The decay rules: what each takes from the weights, and that the gauges know it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wdtui
from wdtui.training.decay_rules import decay_by
from wdtui.training.gauges import Decay, Gauges

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW


def trained(optimizer: Any, steps: int = 20) -> list[Tensor]:
    """The weights of a small network after some steps, and their last gradients."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    stepped = optimizer(model.parameters())
    for _ in range(steps):
        stepped.zero_grad()
        model(torch.randn(16, 5)).square().sum().backward()
        stepped.step()
    return [*(one.detach() for one in model.parameters()), *(one.grad for one in model.parameters())]  # type: ignore


@pytest.mark.parametrize(
    ("rule", "kind", "native", "settings"),
    [
        ("decoupled", ADAM, ADAMW, {"lr": 0.01, "weight_decay": 0.5}),
        ("decoupled", ADAMW, ADAMW, {"lr": 0.01, "weight_decay": 0.5}),
        ("l2", ADAMW, ADAM, {"lr": 0.01, "weight_decay": 0.5}),
        ("l2", SGD, SGD, {"lr": 0.01, "weight_decay": 0.5, "momentum": 0.9}),
    ],
)
def test_the_rules_that_pytorch_has_give_its_bits(rule: str, kind: Any, native: Any, settings: dict[str, Any]) -> None:
    ours, theirs = trained(lambda of: decay_by(kind(of, **settings), rule)), trained(lambda of: native(of, **settings))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def stepped(rule: str, **changes: Any) -> Tensor:
    """Weights 1, -1, 1, -1 after a step of SGD along 1, 1, 0, 0: η 0.1, halved since the beginning, and λ 0.5."""
    weight = nn.Parameter(torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=torch.float64))
    optimizer = decay_by(SGD([weight], lr=0.2, weight_decay=0.5), rule)
    optimizer.param_groups[0]["lr"] = 0.1
    weight.grad = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    assert weight.grad.tolist() == [[1, 1], [0, 0]]
    return weight.detach().flatten()


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("decoupled", [0.95, 0.95, 0.95, 0.95]),
        ("l2", [0.95, 0.95, 0.95, 0.95]),
        ("independent", [0.5, 0.5, 0.5, 0.5]),
        ("cautious", [0.95, 1, 0.95, 0.95]),
        ("squared", [0.975, 0.975, 0.975, 0.975]),
    ],
)
def test_a_step_leaves_this_part_of_the_weights(rule: str, left: list[float]) -> None:
    expected = torch.tensor([1.0, -1, 1, -1]).double() * torch.tensor(left).double() - torch.tensor([0.1, 0.1, 0, 0])
    assert stepped(rule).tolist() == pytest.approx(expected.tolist())


def test_another_rule_replaces_the_first() -> None:
    weight = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimizer = decay_by(decay_by(SGD([weight], lr=0.1, weight_decay=0.5), "decoupled"), "independent")
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight.detach().flatten().tolist() == [0.5] * 4
    with pytest.raises(ValueError, match="decay rule gentle: must be one of decoupled, l2, "):
        decay_by(optimizer, "gentle")
    assert wdtui.decay_by is decay_by and "cautious" in wdtui.DECAY_RULES


def test_the_rule_and_where_the_schedule_began_are_in_the_state_of_the_optimizer() -> None:
    weight = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimizer = decay_by(SGD([weight], lr=0.2, weight_decay=0.5), "squared")
    optimizer.param_groups[0]["lr"] = 0.1
    state = copy.deepcopy(optimizer.state_dict())
    resumed = decay_by(SGD([weight], lr=0.1, weight_decay=0.5), "decoupled")
    resumed.load_state_dict(state)
    weight.grad = torch.zeros_like(weight)
    resumed.step()
    assert weight.detach().flatten().tolist() == pytest.approx([0.975] * 4)


# The gauges


@pytest.mark.parametrize("kind", [ADAMW, SGD])
@pytest.mark.parametrize("rule", ["decoupled", "independent", "cautious", "squared"])
def test_weights_without_gradient_shrink_by_e_within_the_time_constant_of_the_rule(kind: Any, rule: str) -> None:
    weight = nn.Parameter(torch.ones(3, 3, dtype=torch.float64))
    optimizer = decay_by(kind([weight], lr=0.2, weight_decay=0.02), rule)
    optimizer.param_groups[0]["lr"] = 0.1
    steps = round(Decay.of(optimizer.param_groups[0]).time_constant)
    assert steps == {"decoupled": 500, "independent": 50, "cautious": 500, "squared": 1000}[rule]
    for _ in range(steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    assert float(weight.detach()[0, 0]) == pytest.approx(math.exp(-1), rel=0.02)


@pytest.mark.parametrize("kind", [ADAMW, SGD])
@pytest.mark.parametrize("rule", ["decoupled", "independent", "cautious", "squared"])
def test_the_decay_share_is_the_length_of_what_the_rule_takes(kind: Any, rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(40, 30, bias=False)
    undecayed = copy.deepcopy(model)
    optimizers = [
        decay_by(kind(model.parameters(), lr=0.01, weight_decay=0.3), rule),
        kind(undecayed.parameters(), lr=0.01, weight_decay=0),
    ]
    x = torch.randn(8, 40)
    for one in (model, undecayed):
        one(x).square().mean().backward()
    gauges, before = Gauges({"": model}, optimizers[:1]), model.weight.detach().clone()
    for optimizer in optimizers:
        optimizer.step()
    after = model.weight.detach()
    decay, update = (after - undecayed.weight.detach()).norm(), (after - before).norm()
    measured = gauges.measure()
    assert float(measured["decay_share"]) == pytest.approx(float(decay / update), rel=1e-3)
    assert abs(float(measured["scale_invariance"])) > 0.01
    assert ("rotation_of_equilibrium" in measured) == (rule != "cautious")


def test_the_gauges_say_nothing_of_decay_that_adam_divides() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    assert Decay.of(decay_by(ADAMW([weight]), "l2").param_groups[0]) == (None, None, False)
    momentum = decay_by(SGD([weight], lr=0.1, weight_decay=0.1, momentum=0.9), "l2").param_groups[0]
    assert Decay.of(momentum).rate == pytest.approx(0.1)
    assert Decay.of(momentum | {"decay_rule": "decoupled"}) == (pytest.approx(0.01), 0.9, False)
    assert Decay.of(momentum | {"decay_rule": "decoupled", "nesterov": True}).equilibrium is None
