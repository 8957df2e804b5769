"""A training loop that wdtui watches: `python watched.py`, and `wdtui` in another terminal."""

import sys

import torch
from torch import nn

import wdtui

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10))
teacher = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)
criterion = nn.CrossEntropyLoss()


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(size, 20)
    return x, teacher(x).argmax(1)


def accuracy() -> torch.Tensor:
    x, y = batch(1000)
    return (model.eval()(x).argmax(1) == y).float().mean()


with wdtui.watch(model, optimizer, config={"batch_size": 64, "width": 256}, steps=steps, name="watched") as run:
    for step in range(1, steps + 1):
        x, y = batch(64)
        optimizer.zero_grad()
        loss = criterion(model.train()(x), y)
        loss.backward()
        optimizer.step()
        if not run.step(train_loss=loss):  # False once someone has stopped it
            break
        if step % 500 == 0:
            run.log(test_accuracy=accuracy())
