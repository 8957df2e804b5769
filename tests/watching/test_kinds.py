"""Whatever trains is watched and steered: one loop for each kind of training, and how a scheduler follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from loops import network, update
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler

import wdtui
from wdtui.store.store import Store
from wdtui.training.live import LiveSettings
from wdtui.watching import recorder

Kind = Iterator[dict[str, Any]]
"""Yields what is to be watched, then the metrics of one update after another."""


def several_optimizers() -> Kind:
    generator, critic = network(0), network(1)
    optimizers = [AdamW(generator.parameters(), lr=0.01), SGD(critic.parameters(), lr=0.02)]
    yield {"model": {"generator": generator, "critic": critic}, "optimizer": optimizers}
    while True:
        yield {"loss": update(generator, optimizers[0]), "critic_loss": update(critic, optimizers[1])}


def a_scheduler() -> Kind:
    model = network()
    optimizer = AdamW(model.parameters(), lr=0.01)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.001 * step))
    yield {"model": model, "optimizer": optimizer, "schedulers": scheduler}
    while True:
        yield {"loss": update(model, optimizer)}
        scheduler.step()


def gradient_accumulation() -> Kind:
    model = network()
    optimizer = SGD(model.parameters(), lr=0.01)
    yield {"model": model, "optimizer": optimizer}
    while True:
        optimizer.zero_grad()
        losses = [model(torch.randn(8, 4)).square().mean() / 4 for _ in range(4)]
        for loss in losses:
            loss.backward()
        optimizer.step()
        yield {"loss": torch.stack(losses).sum()}


def bf16_autocast() -> Kind:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 1))
    optimizer = AdamW(model.parameters(), lr=0.01)
    yield {"model": model, "optimizer": optimizer}
    while True:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(torch.randn(8, 4)).mean()
        loss.backward()
        optimizer.step()
        yield {"loss": loss}


def a_compiled_model() -> Kind:
    model = torch.compile(network(), backend="eager")
    optimizer = AdamW(model.parameters(), lr=0.01)
    yield {"model": model, "optimizer": optimizer}
    while True:
        yield {"loss": update(model, optimizer)}


def a_loader_with_workers() -> Kind:
    model = network()
    optimizer = AdamW(model.parameters(), lr=0.01)
    loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16, num_workers=1)  # type: ignore[arg-type]
    yield {"model": model, "optimizer": optimizer}
    while True:
        for x in loader:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            yield {"loss": loss}


def a_convnet() -> Kind:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    yield {"model": model, "optimizer": optimizer}
    while True:
        optimizer.zero_grad()
        loss = model(torch.randn(4, 3, 8, 8)).square().mean()
        loss.backward()
        optimizer.step()
        yield {"loss": loss}


def a_transformer() -> Kind:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.RMSNorm(8), nn.Linear(8, 1))
    optimizer = AdamW(model.parameters(), lr=0.01)
    yield {"model": model, "optimizer": optimizer}
    while True:
        optimizer.zero_grad()
        loss = model(torch.randn(4, 5, 8)).square().mean()
        loss.backward()
        optimizer.step()
        yield {"loss": loss}


KINDS: list[Callable[[], Kind]] = [
    several_optimizers, a_scheduler, gradient_accumulation, bf16_autocast, a_compiled_model, a_loader_with_workers,
    a_convnet, a_transformer,
]  # fmt: skip
LAYERS = {"several_optimizers": "generator.0", "a_compiled_model": "0", "a_transformer": "0.linear1"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_training_is_watched_and_steered(
    kind: Callable[[], Kind], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_POLL_SECONDS", 0.02)
    torch.set_num_threads(1)
    training = kind()
    watched = next(training)
    optimizer = watched.pop("optimizer")
    first = optimizer[0] if isinstance(optimizer, list) else optimizer
    with Store() as store, wdtui.watch(**watched, optimizer=optimizer, steps=10_000, every=5) as run:
        assert run.id
        store.send(run.id, "steer", {"lr": 0.0125})
        for _, metrics in zip(range(10_000), training, strict=False):
            before = first.param_groups[0]["lr"]
            assert run.step(**metrics)
            if first.param_groups[0]["lr"] > before:
                break
        assert first.param_groups[0]["lr"] == 0.0125
        store.send(run.id, "stop")
        for _, metrics in zip(range(10_000), training, strict=False):
            if not run.step(**metrics):
                break
    with Store() as store:
        curves = store.curves(run.id)
        assert store.run(run.id).status == "stopped"
        assert (curves["weight_norm"] > 0).all() and (curves["loss"] == curves["loss"]).all()
        assert f"weight_norm/{LAYERS.get(kind.__name__, '0')}" in curves.names


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 0.99**step),
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, 10),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 100),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, 100),
    "sequence": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, 0.5, total_iters=20),
            lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step),
        ],
        [30],
    ),
    "warm restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 30),
}  # fmt: skip


@pytest.mark.parametrize("scheduled", SCHEDULERS)
def test_a_schedule_keeps_its_shape_when_the_learning_rate_is_steered(scheduled: str) -> None:
    """What follows is twice of what would have followed."""
    rates = []
    for steered in (False, True):
        optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        scheduler = SCHEDULERS[scheduled](optimizer)
        settings = LiveSettings([optimizer], schedulers=[scheduler])
        rates.append([])
        for step in range(90):
            if steered and step == 15:
                settings.scale("lr", settings.get("lr"), 2 * settings.get("lr"))
            optimizer.step()
            rates[-1].append(settings.get("lr"))
            scheduler.step()
    assert rates[1] == pytest.approx([rate * (1 if step < 15 else 2) for step, rate in enumerate(rates[0])])


def test_a_plateau_has_no_rates_to_follow() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    settings = LiveSettings([optimizer], schedulers=[lr_scheduler.ReduceLROnPlateau(optimizer)])
    settings.scale("lr", 0.1, 0.5)
    assert settings.get("lr") == 0.5


def test_whole_numbers_stay_whole() -> None:
    optimizer = torch.optim.LBFGS([nn.Parameter(torch.zeros(1))], max_iter=20)
    settings = LiveSettings([optimizer])
    settings.scale("max_iter", 20, 30.0)
    assert type(optimizer.param_groups[0]["max_iter"]) is int and settings.get("max_iter") == 30
