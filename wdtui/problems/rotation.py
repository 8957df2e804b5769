"""Rotational equilibrium: weights before a normalisation turn by the same angle in every step, which decay decides.

Kosson et al. 2023 (arXiv 2305.17212). An MLP with or without BatchNorm learns the classes that a random network gives
to Gaussian inputs. docs/gauges.md says how the defaults were chosen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from wdtui.problems.declared import Problem, knob
from wdtui.schema.decay import DECAY_RULES


class Rotation(Problem):
    """Rotational equilibrium: how fast the layers of an MLP turn at rest."""

    width: int = knob(128, ge=1, le=4096, affects="shape", sweep="log", help="Units of each of the two hidden layers.")
    batch_norm: bool = knob(True, affects="shape", help="Have a BatchNorm after each hidden layer.")
    method: str = knob(
        "adam", choices=("adam", "sgd"), affects="start", help="Adam, or SGD with a momentum of 0.9: how weights move."
    )
    decay_rule: str = knob(
        "decoupled", choices=DECAY_RULES, affects="start", help="What a step takes from weights, see docs/problem.md."
    )
    learning_rate: float = knob(0.01, gt=0, affects="live", sweep="log", help="Learning rate.")
    weight_decay: float = knob(0.3, ge=0, affects="live", sweep="log", help="Weight decay.")
    cosine_steps: int = knob(
        0, ge=0, affects="start", sweep="linear", unit="steps",
        help="Steps in which the learning rate falls to 0, as half a cosine. After them it rises. 0: it is constant.",
    )  # fmt: skip
    steps = 1500

    def setup(self) -> None:
        """Draw the teacher, the inputs and the network."""
        import torch
        from torch import nn
        from torch.optim.lr_scheduler import CosineAnnealingLR

        from wdtui.training.decay_rules import decay_by

        teacher = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(self.device)
        drawn = torch.randn(4096, 64, device=self.device)
        other = torch.Generator().manual_seed(self.seed + 1)
        unseen = torch.randn(4096, 64, generator=other).to(self.device)
        self.train, self.test = ((x, teacher(x).argmax(1)) for x in (drawn, unseen))

        def hidden(inputs: int) -> nn.Module:
            norm = [nn.BatchNorm1d(self.width)] if self.batch_norm else []
            return nn.Sequential(nn.Linear(inputs, self.width), *norm, nn.ReLU())

        layers = OrderedDict(first=hidden(64), second=hidden(self.width), output=nn.Linear(self.width, 10))
        self.model = nn.Sequential(layers).to(self.device)
        settings: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(self.model.parameters(), **settings)
            if self.method == "adam"
            else torch.optim.SGD(self.model.parameters(), momentum=0.9, **settings)
        )
        decay_by(self.optimizer, self.decay_rule)
        self.schedule = CosineAnnealingLR(self.optimizer, self.cosine_steps) if self.cosine_steps else None

    def step(self) -> Mapping[str, Any]:
        """One update with 64 of the inputs."""
        import torch
        from torch.nn.functional import cross_entropy

        x, y = self.train
        rows = torch.randint(len(x), (64,), device=self.device)
        loss = cross_entropy(self.model(x[rows]), y[rows])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.schedule:
            self.schedule.step()
        return {"train_loss": loss}

    def measure(self) -> Mapping[str, Any]:
        """Accuracy on as many inputs that it never trains on."""
        x, y = self.test
        return {"test_accuracy": (self.model(x).argmax(1) == y).float().mean()}


PROBLEM = Rotation
