"""Which trainings of a batch give the same bits on a device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.schema.steering import Plan, Steering

_EPOCHS = 4


def same_bits(base: RunConfig, models: int, device: str) -> dict[str, Any]:
    """Train a batch in several ways for four epochs, shuffled and steered. Says which ways agree to the last bit."""
    configs, plans = _recipe(base, models)
    first = _trained(Ensemble(configs, device, plans))
    others = [configs[0], *(config.replace(seed=config.seed + models) for config in configs[1:])]
    equal: dict[str, bool | str] = {
        "trained twice": _equal(first, _trained(Ensemble(configs, device, plans))),
        "resumed within an epoch": _equal(first, _resumed(configs, device, plans)),
        "one run, beside as many other runs": _equal(first, _trained(Ensemble(others, device, plans)), members=1),
        "replayed graphs and called steps": "It needs CUDA.",
    }
    called = Ensemble(configs, device, plans)
    if called.graphs:
        called.graphs.run = _call  # type: ignore[method-assign]
        equal["replayed graphs and called steps"] = _equal(first, _trained(called))
    return {"width": base.width, "models": models, "equal": equal}


def _recipe(base: RunConfig, models: int) -> tuple[list[RunConfig], list[Plan]]:
    """Runs that differ in seed, λ and learning rate, and how each is steered."""
    base, steps = base.replace(epochs=_EPOCHS, shuffle=True), base.steps_per_epoch
    configs = [
        base.replace(seed=seed, weight_decay=0.01 * (seed + 1), learning_rate=1e-3 * (1 + seed % 3))
        for seed in range(models)
    ]
    plans: list[Plan] = []
    for index, config in enumerate(configs):
        rate = Steering(steps, "learning_rate", config.learning_rate, 3e-3, 2)
        decay = Steering(2 * steps, "weight_decay", config.weight_decay, 0.5)
        epsilon = Steering(2 * steps, "bn_epsilon", config.bn_epsilon, 1e-4)
        plans.append((rate, decay, epsilon)[: (index + 1) % 4])
    return configs, plans


def _trained(ensemble: Ensemble) -> Ensemble:
    for _ in ensemble.points():
        pass
    return ensemble


def _call(key: Hashable, steps: Callable[[], object]) -> None:
    """Calls the steps where `Graphs.run` would record and replay them."""
    steps()


def _resumed(configs: Sequence[RunConfig], device: str, plans: Sequence[Plan]) -> Ensemble:
    """A batch that another one continues from the middle of the second epoch."""
    before, after = (Ensemble(configs, device, plans) for _ in range(2))
    before.steps.pace = 1
    stop = configs[0].steps_per_epoch * 3 // 2
    for _ in before.points(lambda: before.sessions[0].step < stop):
        pass
    for one, other in zip(before.sessions, after.sessions, strict=True):
        other.restore({name: tensor.clone() for name, tensor in one.state().items()}, one.position())
    return _trained(after)


def _equal(one: Ensemble, other: Ensemble, members: int | None = None) -> bool:
    """Whether the first members, or all, have the same state to the last bit."""
    return all(
        torch.equal(tensor, twin.state()[name])
        for member, twin in zip(one.sessions[:members], other.sessions[:members], strict=True)
        for name, tensor in member.state().items()
    )
