"""Grokking: a network that learns a + b mod p fits its training pairs at once, and generalises long after.

Power et al. 2022 (arXiv 2201.02177). The network, without biases, and Adam's settings are those of Prieto et al. 2025
(arXiv 2501.04697), with a width of 200: one-hot pairs, two hidden layers, ReLU, cross-entropy, the full batch.
StableMax is from the same paper, Grokfast from Lee et al. 2024 (arXiv 2405.20233).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wdtui.problems.declared import Problem, knob
from wdtui.schema.decay import DECAY_RULES

if TYPE_CHECKING:
    from torch import Tensor


class ModularAddition(Problem):
    """Grokking: a + b mod p, learned from a fraction of all pairs."""

    p: int = knob(113, ge=2, le=1000, symbol="p", affects="data", sweep="linear", help="The modulus.")
    fraction: float = knob(0.4, gt=0, lt=1, affects="data", sweep="linear", help="Share of the pairs to train on.")
    width: int = knob(200, ge=1, affects="shape", sweep="log", help="Units of each hidden layer.")
    learning_rate: float = knob(0.01, gt=0, affects="live", sweep="log", help="Learning rate of AdamW.")
    weight_decay: float = knob(1.0, ge=0, affects="live", sweep="log", help="Weight decay.")
    decay_rule: str = knob(
        "decoupled", choices=DECAY_RULES, affects="start", help="What a step takes from weights, see docs/problem.md."
    )
    cosine_steps: int = knob(
        0, ge=0, affects="start", sweep="linear", unit="steps",
        help="Steps in which the learning rate falls to 0, as half a cosine. After them it rises. 0: it is constant.",
    )  # fmt: skip
    softmax: str = knob(
        "float32", choices=("float32", "float64", "stablemax"), affects="update",
        help="Precision of the softmax in the loss; or StableMax in its place, in float64.",
    )  # fmt: skip
    grokfast: float = knob(
        0.0, ge=0, affects="live", sweep="linear",
        help="Add the moving average of the gradients, times this, to the gradient. 0: plain AdamW.",
    )  # fmt: skip
    grokfast_memory: float = knob(
        0.98, ge=0, lt=1, affects="live", sweep="linear", help="What the moving average keeps of itself in a step."
    )
    steps = 1500
    log_every = 5

    def setup(self) -> None:
        """Split all p² pairs at random."""
        import torch
        from torch import nn
        from torch.optim.lr_scheduler import CosineAnnealingLR

        from wdtui.training.decay_rules import decay_by

        pairs = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        pairs = pairs[torch.randperm(len(pairs))]
        x = nn.functional.one_hot(pairs, self.p).flatten(1).float().to(self.device)
        y = pairs.sum(1).remainder(self.p).to(self.device)
        count = max(1, int(self.fraction * len(pairs)))
        self.train, self.test = (x[:count], y[:count]), (x[count:], y[count:])
        sizes = (2 * self.p, self.width, self.width, self.p)
        first, middle, last = (nn.Linear(*pair, bias=False) for pair in itertools.pairwise(sizes))
        self.model = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last).to(self.device)
        adam = torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, betas=(0.9, 0.99), eps=1e-25
        )
        self.optimizer = decay_by(adam, self.decay_rule)
        self.schedule = CosineAnnealingLR(adam, self.cosine_steps) if self.cosine_steps else None
        self.averages: list[Tensor] = []

    def step(self) -> Mapping[str, Any]:
        """One update with all training pairs."""
        loss = self._loss()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.grokfast:
            self._amplify_slow_gradients()
        self.optimizer.step()
        if self.schedule:
            self.schedule.step()
        return {"train_loss": loss}

    def measure(self) -> Mapping[str, Any]:
        """Accuracy on the training pairs and on all others."""
        splits = {"train": self.train, "test": self.test}
        return {f"{name}_accuracy": (self.model(x).argmax(1) == y).float().mean() for name, (x, y) in splits.items()}

    def _loss(self) -> Tensor:
        """Cross-entropy. StableMax has s(z) = z + 1, or 1/(1 − z) for z < 0, where softmax has exp(z)."""
        import torch
        from torch.nn.functional import cross_entropy, nll_loss

        x, y = self.train
        logits = self.model(x)
        if self.softmax == "float32":
            return cross_entropy(logits, y)
        logits = logits.double()
        if self.softmax == "float64":
            return cross_entropy(logits, y)
        positive = torch.where(logits < 0, 1 / (1 - logits.clamp(max=0)), logits + 1)
        return nll_loss((positive / positive.sum(1, keepdim=True)).log(), y)

    def _amplify_slow_gradients(self) -> None:
        """Grokfast-EMA: g + k·μ in place of g, where μ ← a·μ + (1 − a)·g begins with the first gradient."""
        gradients = [one.grad for one in self.model.parameters() if one.grad is not None]
        self.averages = self.averages or [gradient.clone() for gradient in gradients]
        for average, gradient in zip(self.averages, gradients, strict=True):
            average.lerp_(gradient, 1 - self.grokfast_memory)
            gradient.add_(average, alpha=self.grokfast)


PROBLEM = ModularAddition
