import torch
from torch import nn

import wdtui


class ModularAddition(wdtui.Problem):
    """Grokking: a + b mod p, learned from a fraction of all pairs."""

    p: int = wdtui.knob(53, ge=2, affects="data", help="The modulus.")
    fraction: float = wdtui.knob(0.5, gt=0, lt=1, affects="data", help="How many of the pairs are trained on.")
    width: int = wdtui.knob(128, ge=1, sweep="log", affects="shape")
    learning_rate: float = wdtui.knob(0.01, gt=0, sweep="log", affects="live")
    weight_decay: float = wdtui.knob(1.0, ge=0, sweep="log", affects="live")
    steps = 1500

    def setup(self):
        pairs = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        pairs = pairs[torch.randperm(len(pairs))]
        x = nn.functional.one_hot(pairs, self.p).flatten(1).float().to(self.device)
        y = pairs.sum(1).remainder(self.p).to(self.device)
        count = int(self.fraction * len(pairs))
        self.train, self.test = (x[:count], y[:count]), (x[count:], y[count:])
        first, middle = nn.Linear(2 * self.p, self.width, bias=False), nn.Linear(self.width, self.width, bias=False)
        last = nn.Linear(self.width, self.p, bias=False)
        self.model = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, betas=(0.9, 0.99)
        )

    def step(self):
        x, y = self.train
        loss = nn.functional.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train_loss": loss}

    def measure(self):
        splits = {"train": self.train, "test": self.test}
        return {f"{name}_accuracy": (self.model(x).argmax(1) == y).float().mean() for name, (x, y) in splits.items()}
