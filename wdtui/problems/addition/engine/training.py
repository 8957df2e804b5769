"""Training: the epoch loop of a run that is trained alone. It yields points, and knows no files and no UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.architectures import Trainable, make_network
from wdtui.problems.addition.engine.epoch import EpochRecord
from wdtui.problems.addition.engine.measure import measure
from wdtui.problems.addition.engine.optimizer import Optimizer
from wdtui.problems.addition.engine.session import AdditionSession, state_of
from wdtui.problems.addition.engine.sharpness import Sharpness
from wdtui.problems.addition.engine.steps import Steps, epoch_batches
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import Value
from wdtui.schema.steering import Plan
from wdtui.support.errors import DivergedError
from wdtui.training.devices import use_full_precision
from wdtui.training.session import Poll

__all__ = ["DivergedError", "Training"]


class Training(AdditionSession):
    """One run, trained alone."""

    network: Trainable
    optimizer: Optimizer
    record: EpochRecord

    def __init__(self, config: RunConfig, device: torch.device | str = "cpu", plan: Plan = ()) -> None:
        """`plan` says what changes at which step. It may change all but what decides the pairs and the shapes."""
        use_full_precision(device)
        self.config = config
        self.device = torch.device(device)
        self.task = make_task(config, device)
        self.steps = Steps(self)
        self._build()
        super().__init__(plan)

    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        """Train from here to the last epoch and yield a point per logged epoch.

        Raises DivergedError, after the point of that epoch, if a loss is not finite.
        """
        self.restart_clock()
        while self.epoch < self.config.epochs:
            if not self.steps.run_epoch(poll):
                return
            self.steps.end_epoch()
            if self.point_due:
                yield self.point(self._measured())
            if self.diverged_at:
                raise DivergedError(self.diverged_at)

    def batches(self) -> tuple[Tensor, Tensor]:
        return epoch_batches(self.config, self.task.train, self.epoch)

    def get(self, name: str) -> float:
        value: float = getattr(*self._place(name))
        return value

    def set(self, name: str, value: float) -> None:
        setattr(*self._place(name), value)

    def state(self) -> dict[str, Tensor]:
        return state_of(self.network, self.optimizer, self.record, self.batch) | self._sharpness_state()

    def restore(self, state: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """As for any run. A state without the sharpness, such as that of a fork's parent, keeps the one it has here."""
        super().restore({**self._sharpness_state(), **state}, position)

    def rebuild(self, changes: Mapping[str, Value]) -> None:
        state = {name: tensor.clone() for name, tensor in self.state().items()}
        self.config = self.config.replace(**changes)
        self._build()
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def _build(self) -> None:
        """Make the parts that the config decides, in their initial state."""
        self.network = make_network(self.config, self.device)
        self.optimizer = Optimizer(self.config, self.network.parameters, self.network.gradients)
        self.record = EpochRecord(self.config, self.device)
        self.steps.use(self.config, self.network, self.optimizer, self.record)
        self.sharpness = Sharpness(self) if self.config.sharpness_every else None

    def _place(self, name: str) -> tuple[Trainable | Optimizer, str]:
        """Which part has a live field, and its name there."""
        return (self.network, "epsilon") if name == "bn_epsilon" else (self.optimizer, name)

    def _sharpness_state(self) -> dict[str, Tensor]:
        own = self.sharpness.state if self.sharpness else {}
        return {f"sharpness.{name}": tensor for name, tensor in own.items()}

    @torch.inference_mode()
    def _measured(self) -> list[float]:
        return measure(self, self.steps.before_last_step)
