"""Training: the epoch loop that yields points. No files, no UI; who consumes the points decides what they are for."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from wdtui.config import FIELDS, RunConfig
from wdtui.lab.epoch import EpochRecord
from wdtui.lab.losses import loss_gradient
from wdtui.lab.measure import measure
from wdtui.lab.network import Network
from wdtui.lab.optimizer import Optimizer
from wdtui.lab.tasks import make_task
from wdtui.metrics import Point
from wdtui.steering import Plan, Steering, check_steerable, from_json, planned, steering_to, to_json, values_at

Attend = Callable[[], bool]
"""Called before each step, with the training at rest: it may read or steer the training; False ends it there."""


class DivergedError(Exception):
    """The loss of a step, or another quantity measured after it, was NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Loss or parameters were no longer finite numbers at step {step:,}.")
        self.step = step


def train(config: RunConfig, device: torch.device | str = "cpu", attend: Attend = lambda: True) -> Iterator[Point]:
    """Train one run from its beginning and yield a point per logged epoch.

    Raises DivergedError, after the point of that epoch, when a loss is not finite.
    """
    return Training(config, device).points(attend)


class Training:
    """One run under way: where it stands, and everything that decides how it goes on."""

    def __init__(self, config: RunConfig, device: torch.device | str = "cpu", plan: Plan = ()) -> None:
        """`plan` holds what changes at which step; it may change all but what decides the pairs and the shapes."""
        self.config = config
        """What is in force, but for what can be steered: that is in `knobs`."""
        self.plan = plan
        self.device = torch.device(device)
        self.task = make_task(config, device)
        self._build()
        self._unsteered = self.knobs
        self.epoch = 0
        """Epochs completed."""
        self.batch = 0
        """Steps taken in the current epoch."""
        self._diverged_at: int | None = None
        self._steerings: list[Steering] = []
        self._before_last_step = torch.empty_like(self.network.parameters)
        self._follow_plan()
        self.restart_clock()

    @property
    def step(self) -> int:
        """Steps taken since the beginning."""
        return self.epoch * self.config.steps_per_epoch + self.batch

    @property
    def knobs(self) -> dict[str, float]:
        """The steerable hyperparameters as they are now."""
        return {
            "weight_decay": self.optimizer.weight_decay,
            "bn_epsilon": self.network.epsilon,
            "learning_rate": self.optimizer.learning_rate,
        }

    def points(self, attend: Attend = lambda: True) -> Iterator[Point]:
        """Train on from here to the last epoch and yield a point per logged epoch.

        Raises DivergedError, after the point of that epoch, when a loss is not finite.
        """
        self.restart_clock()
        while self.epoch < self.config.epochs:
            self.run_epoch(attend)
            if self.batch < self.config.steps_per_epoch:
                return
            self.epoch, self.batch = self.epoch + 1, 0
            if self.epoch % self.config.log_every == 0 or self.epoch == self.config.epochs or self._diverged_at:
                point = self._point()
                yield point
                if not self._diverged_at and not all(map(math.isfinite, point.values)):
                    self._diverged_at = self.step
            if self._diverged_at:
                raise DivergedError(self._diverged_at)

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
            "diverged_at": self._diverged_at,
            "plan": to_json(self.plan),
        }

    def restore(self, state: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Take over what `state` and `position` gave, at any point between two steps."""
        self.epoch, self.batch = position["epoch"], position["batch"]
        self.plan = from_json(position["plan"])
        self._follow_plan()
        self._diverged_at = position["diverged_at"]
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def restart_clock(self) -> None:
        """Begin to measure speed anew, as after a pause."""
        self._clock = time.perf_counter()
        self._clock_step = self.step

    @torch.inference_mode()
    def run_epoch(self, attend: Attend = lambda: True) -> None:
        """Take the steps that are left of this epoch, until `attend` says no."""
        attended = self.batch == 0
        if attended:
            if not attend():
                return
            self._begin_epoch()
        inputs, targets = self._batches()
        batches = list(zip(inputs.unbind(), targets.unbind(), strict=True))
        last = len(batches) - 1
        while self.batch <= last:
            if not attended and not attend():
                return
            attended = False
            if self.batch == last:
                self._before_last_step.copy_(self.network.parameters)
            row = self.batch % self.record.size
            self._take_step(*batches[self.batch], row)
            if row == self.record.size - 1 or self.batch == last:
                bad_row = self.record.sum_window(targets[self.batch - row : self.batch + 1], self.network.epsilon)
                if bad_row is not None and self._diverged_at is None:
                    self._diverged_at = self.step - row + bad_row + 1
            self.batch += 1

    def _begin_epoch(self) -> None:
        self._follow_plan()
        self._steerings += [steering for steering in self.plan if steering.step == self.step]
        self.record.clear()

    def _take_step(self, inputs: Tensor, targets: Tensor, row: int) -> None:
        """The whole of training: forward, loss, backward, decay and update, for one batch."""
        network, record = self.network, self.record
        logits = network.forward(inputs, record.logit_rows[row], record.deviation_rows[row])
        network.backward(loss_gradient(self.config.loss, logits, targets), inputs)
        self.optimizer.step()

    def _batches(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of this epoch's full batches, in order: [steps, batch, bits]."""
        config, pairs = self.config, self.task.train
        used = config.steps_per_epoch * config.batch_size
        inputs, targets = pairs.inputs[:used], pairs.targets[:used]
        if config.shuffle:
            seed = random.Random(f"order {config.seed} {self.epoch}").getrandbits(63)
            order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:used].to(self.device)
            inputs, targets = pairs.inputs[order], pairs.targets[order]
        shape = config.steps_per_epoch, config.batch_size
        return inputs.view(*shape, -1), targets.view(*shape, -1)

    @torch.inference_mode()
    def _point(self) -> Point:
        values = measure(self, self._before_last_step)
        speed = (self.step - self._clock_step) / max(time.perf_counter() - self._clock, 1e-9)
        self.restart_clock()
        return Point(self.step, self.epoch, (*values, speed))

    def _build(self) -> None:
        """Make the parts that the config decides, at their beginning."""
        self.network = Network(self.config, self.device)
        self.optimizer = Optimizer(self.config, self.network.parameters, self.network.gradients)
        self.record = EpochRecord(self.config, self.device)

    def _follow_plan(self) -> None:
        """Have in force what the plan says of this epoch."""
        values = values_at(self.plan, self.epoch * self.config.steps_per_epoch, self.config.steps_per_epoch)
        others = {name: value for name, value in values.items() if not FIELDS[name].steerable}
        if any(getattr(self.config, name) != value for name, value in others.items()):
            state = {name: tensor.clone() for name, tensor in self.state().items()}
            self.config = self.config.replace(**others)
            self._build()
            for name, tensor in self.state().items():
                tensor.copy_(state[name])
        self._set_knobs({name: values.get(name, value) for name, value in self._unsteered.items()})

    def _set_knobs(self, knobs: Mapping[str, Any]) -> None:
        self.optimizer.weight_decay = knobs["weight_decay"]
        self.optimizer.learning_rate = knobs["learning_rate"]
        self.network.epsilon = knobs["bn_epsilon"]
