"""Trains as the article's own code does: a LightningModule, a DataLoader over single pairs, a Trainer.

Needs the extra `bench`. Without it the comparison leaves this contestant out and says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import random
import tempfile
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from wdtui.bench.plain import plain_network, plain_optimizer
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.tasks import Pairs, draw_pairs

if TYPE_CHECKING:
    from torch.utils.data import Dataset


def why_not(device: str = "cpu") -> str:
    """Why this contestant cannot run; empty if it can."""
    if device.startswith("cuda"):
        return "Without the original's way of training: it is measured on the CPU only."
    if importlib.util.find_spec("pytorch_lightning"):
        return ""
    return "Without the original's way of training: it needs PyTorch Lightning, `pip install 'wdtui[bench]'`."


class OriginalLoop:
    """Trains epoch by epoch on the CPU and validates on two sets after each, as the original does."""

    def __init__(self, config: RunConfig) -> None:
        import pytorch_lightning as lightning
        from torch.utils.data import DataLoader

        for name in ("pytorch_lightning", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._seconds: list[float] = []
        self._model = _module(lightning, config)
        seen = draw_pairs(config, "train_digits", config.train_size + config.validation_size, random.Random(0))
        unseen = draw_pairs(config, "test_digits", config.test_size, random.Random(1))
        splits = [seen[: config.train_size], seen[config.train_size :], unseen]
        self._loaders = [
            DataLoader(_dataset(config, pairs), batch_size=config.batch_size, drop_last=True) for pairs in splits
        ]
        self._folder = tempfile.TemporaryDirectory()  # for its logs and checkpoints
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning recommends other loggers
            self._trainer = lightning.Trainer(
                accelerator="cpu",
                max_epochs=0,
                num_sanity_val_steps=0,
                enable_model_summary=False,
                default_root_dir=self._folder.name,
                callbacks=[_clock(lightning, self._seconds)],
            )

    def run_epoch(self) -> float:
        """Train and validate for one epoch; returns its seconds, without the setup of the Trainer."""
        self._trainer.fit_loop.max_epochs = len(self._seconds) + 1
        unseen = io.StringIO()  # for the progress bar, which the original shows
        with warnings.catch_warnings(), contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen):
            warnings.simplefilter("ignore")  # Lightning recommends more workers, which are slower for data in memory
            self._trainer.fit(self._model, self._loaders[0], self._loaders[1:])
        return self._seconds[-1]


def _dataset(config: RunConfig, pairs: Pairs) -> Dataset[Any]:
    from torch.utils.data import Dataset

    powers = np.arange(config.bits)

    class Encoded(Dataset[Any]):
        """Encodes a pair each time it is read."""

        def __len__(self) -> int:
            return len(pairs)

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            a, b = pairs[index]
            bits = (np.array([a, b, a + b])[:, None] >> powers & 1).astype(bool)
            return torch.from_numpy(bits[:2].T.flatten()), torch.from_numpy(bits[2])

    return Encoded()


def _module(lightning: Any, config: RunConfig) -> Any:
    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = plain_network(config)

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            loss, accuracy = self._judged(batch)
            self.log("train/loss", loss, on_step=False, on_epoch=True)
            self.log("train/accuracy", accuracy, on_step=False, on_epoch=True)
            return loss

        def on_train_epoch_end(self) -> None:
            self.log("train/l2_norm", sum(parameter.norm() for parameter in self.parameters()))

        def validation_step(self, batch: list[Tensor], index: int, dataloader_idx: int = 0) -> None:
            loss, accuracy = self._judged(batch)
            self.log("val/loss", loss)
            self.log("val/accuracy", accuracy)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return plain_optimizer(config, self.network, fused=False)

        def _judged(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
            inputs, targets = (bits.float() for bits in batch)
            logits = self.network(inputs)
            right = ((logits > 0) == (targets > 0.5)).all(1)
            return loss_value(config.loss, logits, targets), right.float().mean()

    return Module()


def _clock(lightning: Any, seconds: list[float]) -> Any:
    class Clock(lightning.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            seconds.append(time.perf_counter() - self.started)

    return Clock()
