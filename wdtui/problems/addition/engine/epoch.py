"""The record of one epoch's steps, accumulated on the device, from which its point is computed.

A step only writes its logits and BatchNorm deviations into the next row of a window. A whole window is turned into
losses, accuracies and variances at once, so that measuring adds nothing to a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.losses import performance

_WINDOW_STEPS = 128
_WINDOW_NUMBERS = 4_000_000

MODELS_AXIS = {"record.sums": 1, "record.variance": 1, "record.logits": 1, "record.inverse_deviations": 2}
"""Which axis of a tensor in the state of several models is that of the models; of all others it is the first."""


class EpochRecord:
    """Sums over the steps of an epoch so far, and the window of steps not yet summed, for one model or for several."""

    def __init__(self, config: RunConfig, device: torch.device | str, models: tuple[int, ...] = ()) -> None:
        """`models` is the leading shape of the network's outputs: empty for one model."""
        self.loss = config.loss
        self.size = window_size(config)
        self.logits = torch.zeros(self.size, *models, config.batch_size, config.bits, device=device)
        self.inverse_deviations = torch.zeros(self.size, config.norm_layers, *models, config.width, device=device)
        self.sums = torch.zeros(3, *models, device=device)
        """Sums over steps of the loss, the share of pairs right and the share of bits right."""
        self.variance = torch.zeros(config.norm_layers, *models, config.width, device=device)
        """Sum over steps of each channel's batch variance."""
        self.logit_rows = self.logits.unbind()
        self.deviation_rows = [row.unbind() for row in self.inverse_deviations.unbind()]

    def clear(self) -> None:
        """Begin an epoch."""
        self.sums.zero_()
        self.variance.zero_()

    def sum_window(self, targets: Tensor, epsilon: float | Tensor) -> Tensor:
        """Sum the first rows of the window, whose answers are `targets` [steps, ..., batch, bits].

        Returns the losses [steps, ...]. The caller checks that they are finite.
        """
        steps = len(targets)
        logits = self.logits[:steps]
        measured = performance(self.loss, logits, targets)
        self.sums += sum_along(measured, 1)
        # The variance is recovered from what the step left; its rounding error is about 1e-7 · (variance + ε).
        variance = self.inverse_deviations[:steps].pow(-2).sub_(epsilon).clamp_min_(0)
        self.variance += variance.sum(0)
        return measured[0]

    def state(self, row: int) -> dict[str, Tensor]:
        """Everything that an epoch interrupted at this row of a window needs to go on."""
        window = {"logits": self.logits[:row], "inverse_deviations": self.inverse_deviations[:row]}
        return {"sums": self.sums, "variance": self.variance, **window}


def sum_along(values: Tensor, axis: int) -> Tensor:
    """The sum along an axis. On a CPU each model's is the same bit for bit, however many models there are."""
    return values.movedim(axis, -1).contiguous().sum(-1)


def window_size(config: RunConfig) -> int:
    """How many steps a window holds."""
    numbers = max(config.batch_size * config.bits, config.norm_layers * config.width)
    return max(1, min(_WINDOW_STEPS, config.steps_per_epoch, _WINDOW_NUMBERS // numbers))
