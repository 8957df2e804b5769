"""Training: the epoch loop that yields points. No files, no UI; who consumes the points decides what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from wdtui.config import RunConfig
from wdtui.hyperparameters import Value
from wdtui.lab.architectures import Trainable, make_network
from wdtui.lab.epoch import EpochRecord
from wdtui.lab.measure import measure
from wdtui.lab.optimizer import Optimizer
from wdtui.lab.progress import DivergedError, Progress
from wdtui.lab.sharpness import Sharpness
from wdtui.lab.steps import Attend, Steps, epoch_batches
from wdtui.lab.tasks import make_task
from wdtui.metrics import Point
from wdtui.steering import Plan

__all__ = ["Attend", "DivergedError", "Training", "train"]


def train(config: RunConfig, device: torch.device | str = "cpu", attend: Attend = lambda: True) -> Iterator[Point]:
    """Train one run from its beginning and yield a point per logged epoch.

    Raises DivergedError, after the point of that epoch, when a loss is not finite.
    """
    return Training(config, device).points(attend)


class Training(Progress, Steps):
    """One run under way on its own: `Progress` has where it stands and how it is steered, `Steps` the arithmetic."""

    def __init__(self, config: RunConfig, device: torch.device | str = "cpu", plan: Plan = ()) -> None:
        """`plan` holds what changes at which step; it may change all but what decides the pairs and the shapes."""
        self.config = config
        self.device = torch.device(device)
        self.task = make_task(config, device)
        self._build()
        self.before_last_step = torch.empty_like(self.network.parameters)
        super().__init__(plan)

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
            if self.point_due:
                yield self.point(self._measured())
            if self.diverged_at:
                raise DivergedError(self.diverged_at)

<<<<<<< HEAD
    def batches(self) -> tuple[Tensor, Tensor]:
        return epoch_batches(self.config, self.task.train, self.epoch)
=======
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
>>>>>>> fork

    def state(self) -> dict[str, Tensor]:
        own = self.sharpness.state if self.sharpness else {}
        return super().state() | {f"sharpness.{name}": tensor for name, tensor in own.items()}

    def rebuild(self, changes: Mapping[str, Value]) -> None:
        state = {name: tensor.clone() for name, tensor in self.state().items()}
        self.config = self.config.replace(**changes)
        self._build()
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

<<<<<<< HEAD
=======
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

>>>>>>> fork
    def _build(self) -> None:
        """Make the parts that the config decides, at their beginning."""
        self.network: Trainable = make_network(self.config, self.device)
        self.optimizer: Optimizer = Optimizer(self.config, self.network.parameters, self.network.gradients)
        self.record = EpochRecord(self.config, self.device)
        self.sharpness = Sharpness(self) if self.config.sharpness_every else None

    @torch.inference_mode()
    def _measured(self) -> list[float]:
        return measure(self, self.before_last_step)
