from collections import OrderedDict

import torch
from torch import nn

import wdtui


class Equilibrium(wdtui.Problem):
    """Do layers before BatchNorm rotate as fast as Kosson et al. 2023 predict? A network learns from a random one."""

    width: int = wdtui.knob(128, ge=1, sweep="log", affects="shape")
    learning_rate: float = wdtui.knob(1e-3, gt=0, sweep="log", affects="live")
    weight_decay: float = wdtui.knob(1.0, ge=0, sweep="log", affects="live")
    bn_epsilon: float = wdtui.knob(1e-5, gt=0, sweep="log", affects="shape", help="ε of BatchNorm.")
    steps = 6000

    def setup(self):
        teacher = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(self.device)
        self.x = torch.randn(4096, 64, device=self.device)
        self.y = teacher(self.x).argmax(1)

        def normed(inputs):
            return nn.Sequential(nn.Linear(inputs, self.width), nn.BatchNorm1d(self.width, self.bn_epsilon), nn.ReLU())

        layers = OrderedDict(first=normed(64), second=normed(self.width), output=nn.Linear(self.width, 10))
        self.model = nn.Sequential(layers).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        self.updates = [torch.zeros_like(weight) for weight in self.weights()]

    def weights(self):
        return [layer[0].weight.detach() for layer in (self.model.first, self.model.second)]

    def step(self):
        rows = torch.randint(len(self.x), (64,), device=self.device)
        loss = nn.functional.cross_entropy(self.model(self.x[rows]), self.y[rows])
        self.optimizer.zero_grad()
        loss.backward()
        decayed = [weight * (1 - self.learning_rate * self.weight_decay) for weight in self.weights()]
        self.optimizer.step()
        before, self.updates = self.updates, [now - old for now, old in zip(self.weights(), decayed, strict=True)]
        pairs = zip(before, self.updates, strict=True)
        cosines = [torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) for one, other in pairs]
        return {"train_loss": loss, "update_correlation/first": cosines[0], "update_correlation/second": cosines[1]}
