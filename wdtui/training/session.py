"""Session: one run under way, whatever its problem; where it stands, how it is steered, the state it goes on from."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import Value
from wdtui.schema.recorded import Traits
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan, Steering, check_steerable, from_json, planned, steering_to, to_json, values_at
from wdtui.support.errors import TrainingError

Poll = Callable[[], bool]
"""Called before each step, with the training at rest: it may read or steer the training; False ends it there."""


class Session(abc.ABC):
    """One run under way in this process: it makes steps, follows its plan, and returns and loads its state.

    What trains is the problem's; the runner above knows only this.
    """

    config: Config
    """What is in force, but for the live fields: those are as `get` says."""

    def __init__(self, plan: Plan = ()) -> None:
        """Call it last, when all that the problem defines can be asked."""
        self.plan = plan
        """What changes at which step."""
        self.diverged_at: int | None = None
        """The first step after which something was not a finite number."""
        self._steerings: list[Steering] = []
        self._unsteered = self.live_values
        self._follow_plan()
        self.restart_clock()

    # What a problem defines

    @property
    @abc.abstractmethod
    def epoch(self) -> int:
        """Epochs completed."""

    @property
    @abc.abstractmethod
    def batch(self) -> int:
        """Steps taken in the current epoch."""

    @abc.abstractmethod
    def move_to(self, epoch: int, batch: int) -> None:
        """Stand where a state was taken that is about to be restored."""

    @abc.abstractmethod
    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        """Train on from here and yield a point per logged epoch, until the last epoch or until `poll` says no.

        Raises DivergedError, after the point of that epoch, when something measured is not a finite number.
        """

    @abc.abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Every tensor that decides the rest of the run, live; with `position` it is all that a checkpoint needs."""

    @abc.abstractmethod
    def get(self, name: str) -> Any:
        """The value of a live field that is in force."""

    @abc.abstractmethod
    def set(self, name: str, value: Any) -> None:
        """Have another value of a live field in force from the next step on."""

    def rebuild(self, changes: Mapping[str, Value]) -> None:
        """Have other values in force of fields that are not live, which may take other parts with the same state."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values of a point; a session that finds out what it records may add some before the last."""
        return self.config.columns

    @property
    def traits(self) -> Traits:
        """Properties of the metrics that such a session has found."""
        return {}

    @property
    def schema(self) -> Schema:
        """What the run declares and records; `columns` are of its metrics."""
        return self.config.schema()

    def is_finite(self, point: Point) -> bool:
        """Whether training can go on after a point; with False, this is the last one."""
        return self.config.finite(point)

    # What follows

    def copied_state(self) -> dict[str, Tensor]:
        """A copy of `state` on the same device, which stays as it is while training goes on."""
        return {name: tensor.clone() for name, tensor in self.state().items()}

    @property
    def batched(self) -> int:
        """How many runs are trained together, this one included."""
        return 1

    @property
    def step(self) -> int:
        """Steps taken since the beginning."""
        return self.epoch * self.config.steps_per_epoch + self.batch

    @property
    def ended(self) -> bool:
        """Whether, at the end of an epoch, there is nothing left to train."""
        return self.epoch >= self.config.epochs or self.diverged_at is not None

    @property
    def live_values(self) -> dict[str, Any]:
        """The live fields as they are now."""
        return {field.name: self.get(field.name) for field in self.config.schema().live_fields}

    def steer(self, **changes: Any) -> None:
        """Change live fields from the next epoch on, which between two epochs is at once.

        A change is a value, or a value and over how many epochs to get there. Raises ConfigError for a value out of
        bounds and for a field that cannot be steered, and TrainingError where the problem refuses it.
        """
        check_steerable(self.config.schema(), changes)
        steps = self.config.steps_per_epoch
        at = (self.epoch + (self.batch > 0)) * steps
        before = self._unsteered | values_at(self.plan, at - steps, steps)
        steerings = (
            steering_to(self.config.schema().field(name), to, at, before[name]) for name, to in changes.items()
        )
        plan, self.plan = self.plan, planned(self.plan, *steerings)
        if self.batch == 0:
            try:
                self._follow_plan()
            except TrainingError:  # the code of the problem refuses it
                self.plan = plan
                self._follow_plan()
                raise

    def take_steerings(self) -> list[Steering]:
        """The changes that have taken effect since this was last asked."""
        taken, self._steerings = self._steerings, []
        return taken

    def begin_epoch(self) -> None:
        """Have in force what the plan says of this epoch."""
        self._follow_plan()
        self._steerings += [steering for steering in self.plan if steering.step == self.step]

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
        self._restore_position(position)
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def _restore_position(self, position: Mapping[str, Any]) -> None:
        self.move_to(position["epoch"], position["batch"])
        self.plan = from_json(self.config.schema(), position["plan"])
        self._follow_plan()
        self.diverged_at = position["diverged_at"]

    def restart_clock(self) -> None:
        """Begin to measure speed anew, as after a pause."""
        self._clock = time.perf_counter()
        self._clock_step = self.step

    @property
    def point_due(self) -> bool:
        """Whether the epoch that has just ended is to be logged."""
        return self.is_logged(self.epoch) or self.diverged_at is not None

    def is_logged(self, epoch: int) -> bool:
        """Whether an epoch ends with a point, however it goes."""
        return epoch % self.config.log_every == 0 or epoch == self.config.epochs

    def point(self, values: Sequence[float]) -> Point:
        """The point of the epoch that has just ended, with its speed since the last; sees what is not finite."""
        speed = (self.step - self._clock_step) / max(time.perf_counter() - self._clock, 1e-9)
        self.restart_clock()
        point = Point(self.step, self.epoch, (*values, speed))
        if self.diverged_at is None and not self.is_finite(point):
            self.diverged_at = self.step
        return point

    def _follow_plan(self) -> None:
        values = values_at(self.plan, self.epoch * self.config.steps_per_epoch, self.config.steps_per_epoch)
        others = {name: value for name, value in values.items() if name not in self._unsteered}
        if any(getattr(self.config, name) != value for name, value in others.items()):
            self.rebuild(others)
        for name, value in self._unsteered.items():
            self.set(name, values.get(name, value))
