"""Small training loops to watch, and people who ask something of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import wdtui
from wdtui.store.records import Event
from wdtui.store.store import Store


def network(seed: int = 0) -> nn.Sequential:
    torch.set_num_threads(1)  # other processes use the machine too
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def update(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """One step on random data; returns the loss."""
    x = torch.randn(16, 4)
    optimizer.zero_grad()
    loss: Tensor = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.001)


class Loop:
    """A training that goes on until something is seen, for twenty seconds at most."""

    def __init__(self, **options: Any) -> None:
        self.model = network()
        self.optimizer = sgd(self.model)
        options = {"steps": 1_000_000, "every": 10} | options
        self.run = wdtui.watch(self.model, self.optimizer, **options)
        self.steps = 0

    def until(self, seen: Callable[[], Any]) -> bool:
        """Train until something is seen; False where the training was stopped before."""
        deadline = time.monotonic() + 20
        while not seen():
            assert time.monotonic() < deadline, "it was never seen"
            self.steps += 1
            if not self.run.step(loss=update(self.model, self.optimizer)):
                return False
            time.sleep(0.001)
        return True


def events(store: Path, run_id: int | None) -> dict[str, Event]:
    """The newest event of each kind."""
    assert run_id
    with Store(store) as opened:
        return {event.kind: event for event in opened.events(run_id)}
