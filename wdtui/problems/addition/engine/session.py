"""What all sessions of the addition problem have in common, whether a run is trained alone or in an ensemble."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.steps import Steps
from wdtui.training.session import Session


class HasEpsilon(Protocol):
    """A network, or the share of one model in several: flat parameters, running statistics and ε."""

    parameters: Tensor
    running: Tensor
    epsilon: Any


class HasRates(Protocol):
    """An optimiser, or the share of one model in several."""

    weight_decay: float
    learning_rate: float

    @property
    def state(self) -> dict[str, Tensor]: ...


class HasRecord(Protocol):
    """What the epoch so far has left, of one model."""

    size: int

    def state(self, row: int) -> dict[str, Tensor]: ...


class AdditionSession(Session):
    """A session whose network, optimiser and record are its own tensors, or views of its share in those of several."""

    config: RunConfig
    steps: Steps
    """What takes its steps; in an ensemble, that of all its runs."""
    network: HasEpsilon
    optimizer: HasRates
    record: HasRecord

    @property
    def epoch(self) -> int:
        return self.steps.epoch

    @property
    def batch(self) -> int:
        return self.steps.batch

    def move_to(self, epoch: int, batch: int) -> None:
        self.steps.epoch, self.steps.batch = epoch, batch

    def get(self, name: str) -> Any:
        return getattr(self._owner(name), "epsilon" if name == "bn_epsilon" else name)

    def set(self, name: str, value: Any) -> None:
        setattr(self._owner(name), "epsilon" if name == "bn_epsilon" else name, value)

    def _owner(self, name: str) -> HasEpsilon | HasRates:
        return self.network if name == "bn_epsilon" else self.optimizer

    def state(self) -> dict[str, Tensor]:
        parts = {
            "network": {"parameters": self.network.parameters, "running": self.network.running},
            "optimizer": self.optimizer.state,
            "record": self.record.state(self.batch % self.record.size),
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def see_losses(self, losses: Tensor, first: int) -> None:
        """Look whether all losses [steps] are finite; `first` is the step of this epoch that the first belongs to."""
        finite = losses.isfinite()
        if self.diverged_at is None and not finite.all():
            bad = int(finite.logical_not().int().argmax())
            self.diverged_at = self.epoch * self.config.steps_per_epoch + first + bad + 1
