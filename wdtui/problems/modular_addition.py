"""Grokking: a network that learns a + b mod p fits its training pairs at once, and generalises long after.

Power et al. 2022 (arXiv 2201.02177). The network, without biases, and Adam's settings are those of Prieto et al. 2025
(arXiv 2501.04697), with a width of 200: one-hot pairs, two hidden layers, ReLU, cross-entropy, the full batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from wdtui.problems.declared import Problem, knob


class ModularAddition(Problem):
    """Grokking: a + b mod p, learned from a fraction of all pairs."""

    p: int = knob(113, ge=2, le=1000, symbol="p", affects="data", sweep="linear", help="The modulus.")
    fraction: float = knob(0.4, gt=0, lt=1, affects="data", sweep="linear", help="Share of the pairs to train on.")
    width: int = knob(200, ge=1, affects="shape", sweep="log", help="Units of each hidden layer.")
    learning_rate: float = knob(0.01, gt=0, affects="live", sweep="log", help="Learning rate of AdamW.")
    weight_decay: float = knob(1.0, ge=0, affects="live", sweep="log", help="Decoupled weight decay.")
    steps = 1500
    log_every = 5

    def setup(self) -> None:
        """Split all p² pairs at random."""
        import torch
        from torch import nn

        pairs = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        pairs = pairs[torch.randperm(len(pairs))]
        x = nn.functional.one_hot(pairs, self.p).flatten(1).float().to(self.device)
        y = pairs.sum(1).remainder(self.p).to(self.device)
        count = max(1, int(self.fraction * len(pairs)))
        self.train, self.test = (x[:count], y[:count]), (x[count:], y[count:])
        sizes = (2 * self.p, self.width, self.width, self.p)
        first, middle, last = (nn.Linear(*pair, bias=False) for pair in itertools.pairwise(sizes))
        self.model = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, betas=(0.9, 0.99), eps=1e-25
        )

    def step(self) -> Mapping[str, Any]:
        """One update with all training pairs."""
        from torch.nn.functional import cross_entropy

        x, y = self.train
        loss = cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return {"train_loss": loss}

    def measure(self) -> Mapping[str, Any]:
        """Accuracy on the training pairs and on all others."""
        splits = {"train": self.train, "test": self.test}
        return {f"{name}_accuracy": (self.model(x).argmax(1) == y).float().mean() for name, (x, y) in splits.items()}


PROBLEM = ModularAddition
