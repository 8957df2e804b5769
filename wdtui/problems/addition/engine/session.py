"""What all sessions of the addition problem have in common, whether a run is trained alone or in an ensemble."""

from __future__ import annotations

from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import EpochRecord
from wdtui.problems.addition.engine.parts import AnyNetwork, AnyOptimizer
from wdtui.problems.addition.engine.steps import Steps
from wdtui.training.session import Session


def state_of(network: AnyNetwork, optimizer: AnyOptimizer, record: EpochRecord, batch: int) -> dict[str, Tensor]:
    """Every tensor that a training needs to go on after so many steps of an epoch, live."""
    parts = {
        "network": {"parameters": network.parameters, "running": network.running},
        "optimizer": optimizer.state,
        "record": record.state(batch % record.size),
    }
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


class AdditionSession(Session):
    """A session that trains by `Steps`."""

    config: RunConfig
    steps: Steps
    """What takes its steps; in an ensemble, that of all its runs."""

    @property
    def epoch(self) -> int:
        return self.steps.epoch

    @property
    def batch(self) -> int:
        return self.steps.batch

    def move_to(self, epoch: int, batch: int) -> None:
        self.steps.epoch, self.steps.batch = epoch, batch

    def see_losses(self, losses: Tensor, first: int) -> None:
        """Note the first step whose loss is not finite. The losses are [steps], from the step `first` of this epoch."""
        finite = losses.isfinite()
        if self.diverged_at is None and not finite.all():
            bad = int(finite.logical_not().int().argmax())
            self.diverged_at = self.epoch * self.config.steps_per_epoch + first + bad + 1
