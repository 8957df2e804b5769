"""The step and the epoch: what happens to the parameters, for one model or for several."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import EpochRecord
from wdtui.problems.addition.engine.graphs import Graphs
from wdtui.problems.addition.engine.losses import loss_gradient
from wdtui.problems.addition.engine.parts import AnyNetwork, AnyOptimizer
from wdtui.problems.addition.engine.tasks import Split
from wdtui.training.session import Poll

Batches = Sequence[tuple[Tensor, Tensor]]
"""Inputs and targets of some steps, [..., batch, bits] each."""


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Make this thread's CPU treat numbers below the smallest normal one as zero.

    Large λ makes so many of them that steps took 15 times as long (docs/benchmarks.md).
    """
    before = sys.float_info.min / 2 == 0  # whether it did so already
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class Driver(Protocol):
    """What trains by steps: one run, or several as an ensemble."""

    def begin_epoch(self) -> None:
        """Called before each epoch, and before its batches are asked for."""

    def batches(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of this epoch's full batches, in order: [steps, ..., batch, bits]."""

    def see_losses(self, losses: Tensor, first: int) -> None:
        """Called with the losses [steps, ...] of the steps of this epoch from step `first` of it on."""


class Steps:
    """Takes the steps of an epoch and records what they did, for one model or for several.

    For several, the network, the optimiser, the record and the batches have an axis over the models.
    """

    def __init__(self, driver: Driver, graphs: Graphs | None = None) -> None:
        """Call `use` next. With `graphs`, whole windows of steps are recorded once and replayed."""
        self._driver, self._graphs = driver, graphs
        self.epoch = 0
        """Epochs completed."""
        self.batch = 0
        """Steps taken in the current epoch."""

    def use(self, config: RunConfig, network: AnyNetwork, optimizer: AnyOptimizer, record: EpochRecord) -> None:
        """Take the next steps with these parts, also in the middle of a run. `config` decides the shapes."""
        self._config, self._network, self._optimizer, self._record = config, network, optimizer, record
        self.pace = record.size if self._graphs else 1  # a graph is replayed whole
        """Steps from one call of `poll` to the next, at most."""
        self.before_last_step = torch.empty_like(network.parameters)
        """The parameters as they were before the epoch's last step."""
        self._window: list[Tensor] = []

    def end_epoch(self) -> None:
        """Count the epoch whose last step was taken."""
        self.epoch, self.batch = self.epoch + 1, 0

    @torch.inference_mode()
    @_without_denormals()
    def run_epoch(self, poll: Poll = lambda: True) -> bool:
        """Take the remaining steps of this epoch, until `poll` returns False. Returns whether the epoch is complete."""
        polled = self.batch == 0
        if polled:
            if not poll():
                return False
            self._record.clear()
            self._driver.begin_epoch()
        inputs, targets = self._driver.batches()
        batches = list(zip(inputs.unbind(), targets.unbind(), strict=True))
        record, steps = self._record, len(batches)
        while self.batch < steps:
            if not polled and not poll():
                return False
            polled = False
            row = self.batch % record.size
            count = min(self.pace, record.size - row, steps - self.batch)
            coming = slice(self.batch, self.batch + count)
            ends_epoch = coming.stop == steps
            if self._graphs:
                self._replay_steps(self._graphs, (inputs[coming], targets[coming]), row, ends_epoch)
            else:
                self._take_steps(batches[coming], row, ends_epoch)
            self.batch = coming.stop
            if row + count == record.size or ends_epoch:
                first = self.batch - row - count
                losses = record.sum_window(targets[first : self.batch], self._network.epsilon)
                self._driver.see_losses(losses, first)
        return True

    def _take_steps(self, batches: Batches, row: int, ends_epoch: bool) -> None:
        """Take the next steps, and leave what they did in the record from `row` of its window on."""
        for index, (inputs, targets) in enumerate(batches):
            if ends_epoch and index == len(batches) - 1:
                self.before_last_step.copy_(self._network.parameters)
            self.take_step(inputs, targets, row + index)

    def _replay_steps(self, graphs: Graphs, batches: Sequence[Tensor], row: int, ends_epoch: bool) -> None:
        """The same by a graph, for inputs and targets [steps, models, batch, bits].

        A graph reads its batches from where they were when it was recorded. So all windows are copied to the same
        place, and the graph of one serves for all. Models with the same batches share one copy.
        """
        steps = len(batches[0])
        apart = [tensor if tensor.stride(1) else tensor[:, :1] for tensor in batches]
        if not self._window:
            self._window = [tensor.new_empty(self._record.size, *tensor.shape[1:]) for tensor in apart]
        for window, tensor in zip(self._window, apart, strict=True):
            window[:steps].copy_(tensor)

        def take() -> None:
            rows = (window[:steps].expand_as(tensor) for window, tensor in zip(self._window, batches, strict=True))
            self._take_steps(list(zip(*rows, strict=True)), row, ends_epoch)

        graphs.run((row, steps, ends_epoch), take)

    def take_step(self, inputs: Tensor, targets: Tensor, row: int) -> None:
        """The whole of training: forward, loss, backward, decay and update, for one batch of each model."""
        network, record = self._network, self._record
        logits = network.forward(inputs, record.logit_rows[row], record.deviation_rows[row])
        network.backward(loss_gradient(self._config.loss, logits, targets), inputs)
        self._optimizer.step()


def epoch_batches(config: RunConfig, pairs: Split, epoch: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the full batches of a run's epoch, in order: [steps, batch, bits]."""
    used = config.steps_per_epoch * config.batch_size
    inputs, targets = pairs.inputs[:used], pairs.targets[:used]
    if config.shuffle:
        seed = random.Random(f"order {config.seed} {epoch}").getrandbits(63)
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:used]
        order = order.to(inputs.device)
        inputs, targets = pairs.inputs[order], pairs.targets[order]
    shape = config.steps_per_epoch, config.batch_size
    return inputs.view(*shape, -1), targets.view(*shape, -1)
