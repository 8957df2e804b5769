"""The addition task of the article "Weight Decay and Its Peculiar Effects", trained with Lightning and watched.

A residual network learns to add binary numbers. `python lightning_addition.py`, and `wdtui` in another terminal.
"""

import random
import sys

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from wdtui.lightning import Watch

BITS = 14


def pairs(digits: tuple[int, ...], count: int) -> TensorDataset:
    """Pairs of numbers as bits, those of the two operands alternating, and the bits of their sums."""
    ranges = [range(10 ** (d - 1), 10**d) for d in digits]
    numbers = torch.tensor([[random.choice(random.choice(ranges)) for _ in "ab"] for _ in range(count)])
    bits = torch.cat([numbers, numbers.sum(1, keepdim=True)], 1)[..., None] >> torch.arange(BITS) & 1
    return TensorDataset(bits[:, :2].transpose(1, 2).flatten(1).float(), bits[:, 2].float())


class Block(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.BatchNorm1d(width, epsilon), nn.ReLU(), nn.Linear(width, width),
            nn.BatchNorm1d(width, epsilon),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


class Adder(lightning.LightningModule):
    def __init__(self, width: int = 256, learning_rate: float = 0.001, weight_decay: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()
        blocks = [Block(width, 1e-5) for _ in range(3)]
        self.network = nn.Sequential(nn.Linear(2 * BITS, width), nn.ReLU(), *blocks, nn.Linear(width, BITS))

    def judged(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        logits, sums = self.network(batch[0]), batch[1]
        right = ((logits > 0) == (sums > 0.5)).all(1).float().mean()
        return nn.functional.binary_cross_entropy_with_logits(logits, sums), right

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss, accuracy = self.judged(batch)
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy})
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("test/accuracy", self.judged(batch)[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        h = self.hparams
        return torch.optim.AdamW(self.parameters(), lr=h["learning_rate"], weight_decay=h["weight_decay"])


if __name__ == "__main__":
    lightning.seed_everything(0)
    train, test = pairs((1, 2, 3), 5000), pairs((3, 4), 1000)
    trainer = lightning.Trainer(
        max_epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 500,
        accelerator="auto",
        callbacks=[Watch(name="addition with Lightning")],
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(Adder(), DataLoader(train, batch_size=250, shuffle=True), DataLoader(test, batch_size=1000))
