"""Double descent without a network: ridge regression, solved exactly as samples arrive.

The steps of a run are its samples: after step n the weights are the solution for the first n of them. So the test loss
over the steps is the curve of Nakkiran et al. 2020, "Optimal Regularization Can Mitigate Double Descent"
(arXiv 2003.01897), figure 1: isotropic inputs, a linear teacher of norm 1 and Gaussian noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wdtui.problems.declared import Problem, knob


class Ridge(Problem):
    """Double descent: ridge regression on one more sample at each step."""

    metrics = {"test_loss": {"help": "Expected squared error of a new sample: ‖w - w*‖² + σ²."}}  # noqa: RUF012

    dimensions: int = knob(100, ge=1, le=2000, symbol="d", affects="shape", sweep="log", help="Inputs of a sample.")
    noise: float = knob(0.5, ge=0, symbol="σ", affects="data", sweep="linear", help="Standard deviation of the noise.")
    weight_decay: float = knob(
        0.0, ge=0, affects="live", sweep="log",
        help="The weights minimise ‖Xw - y‖² + λ‖w‖². At 0 they are the solution of least norm.",
    )  # fmt: skip
    steps = 300
    log_every = 5

    def setup(self) -> None:
        """Draw the teacher. All is float64 and on the CPU, where LAPACK solves it."""
        import torch

        self.teacher = torch.randn(self.dimensions, dtype=torch.float64)
        self.teacher /= self.teacher.norm()
        self.x, self.y = torch.empty(0, self.dimensions, dtype=torch.float64), torch.empty(0, dtype=torch.float64)

    def step(self) -> None:
        """Draw one more sample."""
        import torch

        drawn = torch.randn(self.dimensions + 1, dtype=torch.float64)
        x, noise = drawn[:-1], drawn[-1:]
        self.x, self.y = torch.cat([self.x, x[None]]), torch.cat([self.y, x @ self.teacher + self.noise * noise])

    def measure(self) -> Mapping[str, Any]:
        """Solve for the samples so far. Ridge is least squares with d more rows √λ I, whose targets are 0."""
        import torch

        zeros = torch.zeros(self.dimensions, dtype=torch.float64)
        decay = torch.diag(zeros + self.weight_decay**0.5)
        rows, targets = torch.cat([self.x, decay]), torch.cat([self.y, zeros])
        weights = torch.linalg.lstsq(rows, targets[:, None], driver="gelsd").solution[:, 0]
        return {
            "train_loss": (self.x @ weights - self.y).square().mean(),
            "test_loss": (weights - self.teacher).square().sum() + self.noise**2,
            "weight_norm": weights.norm(),
        }


PROBLEM = Ridge
