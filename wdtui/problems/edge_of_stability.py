"""The edge of stability: gradient descent with the full batch raises the sharpness to 2/η, where it stays.

Cohen et al. 2021 (arXiv 2103.00065). Their smallest task: a tanh network fits a Chebyshev polynomial at 20 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wdtui.problems.declared import Problem, knob

if TYPE_CHECKING:
    from torch import Tensor

_POWER_ITERATIONS = 20
"""For a point: each goes on with the direction of the last one, which has turned little."""


class EdgeOfStability(Problem):
    """Edge of stability: gradient descent, and the sharpness of its loss."""

    metrics = {  # noqa: RUF012
        "sharpness": {
            "help": "Largest eigenvalue of the Hessian of the training loss, by power iteration.",
            "log": True,
        },
        "edge": {
            "label": "sharpness · η/2",
            "help": "The sharpness, relative to 2/η, beyond which descent is unstable.",
        },
    }

    degree: int = knob(4, ge=1, le=30, symbol="k", affects="data", sweep="linear", help="Degree of the polynomial.")
    width: int = knob(50, ge=1, le=1000, affects="shape", sweep="log", help="Units of each of the two hidden layers.")
    learning_rate: float = knob(0.1, gt=0, affects="live", sweep="log", help="Step size of gradient descent.")
    weight_decay: float = knob(0.0, ge=0, affects="live", sweep="log", help="Weight decay, which is L2 here.")
    steps = 4000
    log_every = 20

    def setup(self) -> None:
        """The points, the network and a random direction, in float64."""
        import torch
        from torch import nn

        x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
        self.x, self.y = x.to(self.device), torch.cos(self.degree * torch.arccos(x)).to(self.device)
        first, middle, last = nn.Linear(1, self.width), nn.Linear(self.width, self.width), nn.Linear(self.width, 1)
        self.model = nn.Sequential(first, nn.Tanh(), middle, nn.Tanh(), last).to(self.device, torch.float64)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        self.direction = [torch.randn_like(parameter) for parameter in self.model.parameters()]

    def step(self) -> Mapping[str, Any]:
        """One step of gradient descent."""
        loss = self._loss()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"train_loss": loss}

    def measure(self) -> Mapping[str, Any]:
        """The sharpness: power iteration on the Hessian, by products with vectors."""
        import torch

        parameters = [*self.model.parameters()]
        with torch.enable_grad():
            gradients = torch.autograd.grad(self._loss(), parameters, create_graph=True)
        for _ in range(_POWER_ITERATIONS):
            norm = torch.stack([one.square().sum() for one in self.direction]).sum().sqrt()
            unit = [one / norm for one in self.direction]
            self.direction = [*torch.autograd.grad(gradients, parameters, unit, retain_graph=True)]
        sharpness = torch.stack([(one * other).sum() for one, other in zip(unit, self.direction, strict=True)]).sum()
        return {"sharpness": sharpness, "edge": sharpness * self.learning_rate / 2}

    def _loss(self) -> Tensor:
        errors: Tensor = self.model(self.x) - self.y
        return errors.square().mean()


PROBLEM = EdgeOfStability
