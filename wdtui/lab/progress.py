"""One run under way: where it stands, how it is steered, and the state from which it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from wdtui.config import FIELDS, RunConfig
from wdtui.hyperparameters import Value
from wdtui.schema.curves import Point
from wdtui.steering import Plan, Steering, check_steerable, from_json, planned, steering_to, to_json, values_at


class DivergedError(Exception):
    """The loss of a step, or another quantity measured after it, was NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Loss or parameters were no longer finite numbers at step {step:,}.")
        self.step = step


class Progress:
    """What can be asked of a run under way, whether it is trained alone or beside others.

    Its network, optimiser and record are the run's own tensors, or views of its share in those of several.
    """

    config: RunConfig
    """What is in force, but for what can be steered: that is in `knobs`."""
    network: Any
    optimizer: Any
    record: Any
    epoch: int
    """Epochs completed."""
    batch: int
    """Steps taken in the current epoch."""

    def __init__(self, plan: Plan = ()) -> None:
        self.plan = plan
        """What changes at which step."""
        self.epoch = self.batch = 0
        self.diverged_at: int | None = None
        """The first step after which something was not a finite number."""
        self._steerings: list[Steering] = []
        self._unsteered: dict[str, Any] = dict(self.knobs)
        self._follow_plan()
        self.restart_clock()

    @property
    def step(self) -> int:
        """Steps taken since the beginning."""
        return self.epoch * self.config.steps_per_epoch + self.batch

    @property
    def ended(self) -> bool:
        """Whether, at the end of an epoch, there is nothing left to train."""
        return self.epoch >= self.config.epochs or self.diverged_at is not None

    @property
    def knobs(self) -> dict[str, float]:
        """The steerable hyperparameters as they are now."""
        return {
            "weight_decay": self.optimizer.weight_decay,
            "bn_epsilon": self.network.epsilon,
            "learning_rate": self.optimizer.learning_rate,
        }

    def steer(self, **changes: Any) -> None:
        """Change λ, ε or the learning rate from the next epoch on, which between two epochs is at once.

        A change is a value, or a value and over how many epochs to get there. Raises ConfigError for a value out of
        bounds and for a field that cannot be steered.
        """
        check_steerable(changes)
        steps = self.config.steps_per_epoch
        at = (self.epoch + (self.batch > 0)) * steps
        before = self._unsteered | values_at(self.plan, at - steps, steps)
        self.plan = planned(self.plan, *(steering_to(name, to, at, before[name]) for name, to in changes.items()))
        if self.batch == 0:
            self._follow_plan()

    def take_steerings(self) -> list[Steering]:
        """The changes that have taken effect since this was last asked."""
        taken, self._steerings = self._steerings, []
        return taken

    def begin_epoch(self) -> None:
        """Have in force what the plan says of this epoch."""
        self._follow_plan()
        self._steerings += [steering for steering in self.plan if steering.step == self.step]

    def state(self) -> dict[str, Tensor]:
        """Every tensor that decides the rest of the run, live; with `position` it is all that a checkpoint needs."""
        parts = {
            "network": {"parameters": self.network.parameters, "running": self.network.running},
            "optimizer": self.optimizer.state,
            "record": self.record.state(self.batch % self.record.size),
        }
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def position(self) -> dict[str, Any]:
        """Where the run stands and what is planned, as plain JSON."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "diverged_at": self.diverged_at,
            "plan": to_json(self.plan),
        }

    def restore(self, state: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Take over what `state` and `position` gave, at any point between two steps."""
        self.epoch, self.batch = position["epoch"], position["batch"]
        self.plan = from_json(position["plan"])
        self._follow_plan()
        self.diverged_at = position["diverged_at"]
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def see_losses(self, losses: Tensor, first: int) -> None:
        """Look whether all losses [steps] are finite; `first` is the step of this epoch that the first belongs to."""
        finite = losses.isfinite()
        if self.diverged_at is None and not finite.all():
            bad = int(finite.logical_not().int().argmax())
            self.diverged_at = self.epoch * self.config.steps_per_epoch + first + bad + 1

    def restart_clock(self) -> None:
        """Begin to measure speed anew, as after a pause."""
        self._clock = time.perf_counter()
        self._clock_step = self.step

    @property
    def point_due(self) -> bool:
        """Whether the epoch that has just ended is to be logged."""
        logged = self.epoch % self.config.log_every == 0 or self.epoch == self.config.epochs
        return logged or self.diverged_at is not None

    def point(self, values: Sequence[float]) -> Point:
        """The point of the epoch that has just ended, with its speed since the last; sees what is not finite."""
        speed = (self.step - self._clock_step) / max(time.perf_counter() - self._clock, 1e-9)
        self.restart_clock()
        point = Point(self.step, self.epoch, (*values, speed))
        if self.diverged_at is None and not self.config.finite(point):
            self.diverged_at = self.step
        return point

    def rebuild(self, changes: Mapping[str, Value]) -> None:
        """Have hyperparameters in force that are no knobs, which takes other parts with the same state."""
        raise NotImplementedError

    def _follow_plan(self) -> None:
        values = values_at(self.plan, self.epoch * self.config.steps_per_epoch, self.config.steps_per_epoch)
        others = {name: value for name, value in values.items() if not FIELDS[name].steerable}
        if any(getattr(self.config, name) != value for name, value in others.items()):
            self.rebuild(others)
        knobs: Mapping[str, Any] = {name: values.get(name, value) for name, value in self._unsteered.items()}
        self.optimizer.weight_decay = knobs["weight_decay"]
        self.optimizer.learning_rate = knobs["learning_rate"]
        self.network.epsilon = knobs["bn_epsilon"]
