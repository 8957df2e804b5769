"""Several runs of one shape trained side by side: each step is taken for all of them by the same few calls.

At small widths a CPU spends its time between the operations, and a GPU does at almost any: one call for many models
costs hardly more than for one. The models never mix; each has its own λ, ε, learning rate, pairs, order and seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import MODELS_AXIS, EpochRecord
from wdtui.problems.addition.engine.graphs import Graphs
from wdtui.problems.addition.engine.measure import measure
from wdtui.problems.addition.engine.network import Network
from wdtui.problems.addition.engine.optimizer import StackedOptimizer
from wdtui.problems.addition.engine.session import AdditionSession
from wdtui.problems.addition.engine.steps import Steps, epoch_batches
from wdtui.problems.addition.engine.tasks import Split, Task, make_task
from wdtui.schema.curves import Point
from wdtui.schema.steering import Plan
from wdtui.support.errors import DivergedError
from wdtui.training.session import Poll

OWN = frozenset(
    {
        "weight_decay", "normalized_weight_decay", "bn_epsilon", "learning_rate", "seed", "epochs", "shuffle",
        "task", "train_digits", "test_digits", "label_noise", "data_seed", "keep_every", "keep_megabytes",
    }
)  # fmt: skip
"""The hyperparameters in which the runs of an ensemble may differ; all others decide shapes or what is computed."""


def shape_of(config: RunConfig) -> tuple[Any, ...]:
    """What runs must have in common to be trained side by side."""
    return tuple(getattr(config, name) for name in config.fields() if name not in OWN)


def is_stacked(config: RunConfig, device: str, plan: Plan) -> bool:
    """Whether an ensemble is to train a run: as its config says; on an NVIDIA GPU, if that is open, wherever one can.

    One can train residual networks, each with its own λ, ε and learning rate; all else stays as it is on the way.
    """
    if config.engine != "auto":
        return config.engine == "ensemble"
    can_be = config.architecture == "residual" and not config.sharpness_every
    return (
        device.startswith("cuda")
        and can_be
        and all(config.schema().field(steering.field).steerable for steering in plan)
    )


class Ensemble:
    """Runs of one shape, all at the same step; each is asked and steered through its member."""

    def __init__(
        self, configs: Sequence[RunConfig], device: torch.device | str = "cpu", plans: Sequence[Plan] | None = None
    ) -> None:
        self.config = configs[0]
        self.configs = tuple(configs)
        tasks = {_pairs_of(config): config for config in configs}
        made = {pairs: make_task(config, device) for pairs, config in tasks.items()}
        self._tasks = [made[_pairs_of(config)] for config in configs]
        self.task = _stacked_task(self._tasks)
        self.network = Network(configs, device)
        self.optimizer = StackedOptimizer(configs, self.network.parameters, self.network.gradients)
        self.record = EpochRecord(self.config, device, (len(configs),))
        self.sharpness = None  # it derives one run's loss twice
        graphs = Graphs() if torch.device(device).type == "cuda" else None
        self.steps = Steps(self, graphs)
        self.steps.use(self.config, self.network, self.optimizer, self.record)
        self.sessions = [Member(self, row, plan) for row, plan in enumerate(plans or [()] * len(configs))]
        self._batches: tuple[Tensor, Tensor] | None = None

    def points(self, poll: Poll = lambda: True) -> Iterator[tuple[Member, Point]]:
        """Train on until a run has ended, and yield the points of each, with whose they are, after every epoch.

        A run has ended with its last epoch, or when something was no longer a finite number; the others then go on in
        an ensemble of their own that takes over their state. Also ends where `poll` says no.
        """
        for member in self.sessions:
            member.restart_clock()
        while not any(member.ended for member in self.sessions):
            if not self.run_epoch(poll):
                return
            yield from ((self.sessions[row], point) for row, point in self.end_epoch())

    @torch.inference_mode()
    def end_epoch(self) -> list[tuple[int, Point]]:
        """Count the epoch whose last step was taken; returns the points that are due, each with its session's place."""
        self.steps.end_epoch()
        due = [member for member in self.sessions if member.point_due]
        if not due:
            return []
        values = measure(self, self.steps.before_last_step)
        return [(member.row, member.point(values[member.row])) for member in due]

    def run_epoch(self, poll: Poll = lambda: True) -> bool:
        """Take the steps that are left of this epoch, until `poll` says no; returns whether it is complete."""
        return self.steps.run_epoch(poll)

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.steps.epoch

    def begin_epoch(self) -> None:
        for member in self.sessions:
            member.begin_epoch()

    def see_losses(self, losses: Tensor, first: int) -> None:
        if not losses.isfinite().all():
            for member, column in zip(self.sessions, losses.unbind(1), strict=True):
                member.see_losses(column, first)

    def batches(self) -> tuple[Tensor, Tensor]:
        """As `Steps` wants them, always in the same memory."""
        if self._batches is None:
            self._batches = self._drawn_batches()
        elif any(config.shuffle for config in self.configs):
            for old, new in zip(self._batches, self._drawn_batches(), strict=True):
                old.copy_(new)
        return self._batches

    def _drawn_batches(self) -> tuple[Tensor, Tensor]:
        each = zip(self.configs, self._tasks, strict=True)
        inputs, targets = zip(
            *(epoch_batches(config, task.train, self.steps.epoch) for config, task in each), strict=True
        )
        return _stack(inputs, 1), _stack(targets, 1)


class Member(AdditionSession):
    """One run of an ensemble; its state is that of a run on its own, and it can go on as either."""

    def __init__(self, ensemble: Ensemble, row: int, plan: Plan) -> None:
        self.config = ensemble.configs[row]
        self.row = row
        self.steps = ensemble.steps
        self._ensemble = ensemble
        self.network = _NetworkShare(ensemble.network, row, self.config.bn_epsilon)
        self.optimizer = _OptimizerShare(ensemble.optimizer, row)
        self.record = _RecordShare(ensemble.record, row)
        super().__init__(plan)

    @property
    def batched(self) -> int:
        return len(self._ensemble.sessions)

    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        """As those of a training on its own, for the only run of an ensemble."""
        for _, point in self._ensemble.points(poll):
            yield point
        if self.diverged_at and self.batch == 0:
            raise DivergedError(self.diverged_at)


class _NetworkShare:
    """The parameters, running statistics and ε of one model."""

    def __init__(self, network: Network, row: int, epsilon: float) -> None:
        self.parameters, self.running = network.parameters[row], network.running[row]
        self._epsilon, self._on_device = epsilon, network.epsilon[row]

    @property
    def epsilon(self) -> float:
        return self._epsilon

    @epsilon.setter
    def epsilon(self, epsilon: float) -> None:
        self._epsilon = epsilon
        self._on_device.fill_(epsilon)


class _OptimizerShare:
    """What the optimiser remembers of one model, its λ and its learning rate."""

    def __init__(self, optimizer: StackedOptimizer, row: int) -> None:
        self.state = {name: tensor[row] for name, tensor in optimizer.state.items()}
        self._optimizer, self._row = optimizer, row

    @property
    def weight_decay(self) -> float:
        return self._optimizer.weight_decays[self._row]

    @weight_decay.setter
    def weight_decay(self, weight_decay: float) -> None:
        self._optimizer.weight_decays[self._row] = weight_decay
        self._optimizer.refresh()

    @property
    def learning_rate(self) -> float:
        return self._optimizer.learning_rates[self._row]

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        self._optimizer.learning_rates[self._row] = learning_rate
        self._optimizer.refresh()


class _RecordShare:
    """What the epoch so far has left of one model."""

    def __init__(self, record: EpochRecord, row: int) -> None:
        self.size = record.size
        self._record, self._row = record, row

    def state(self, row: int) -> dict[str, Tensor]:
        state = self._record.state(row)
        return {name: tensor.select(MODELS_AXIS[name], self._row) for name, tensor in state.items()}


def _pairs_of(config: RunConfig) -> tuple[Any, ...]:
    """What decides a run's pairs: runs that agree in it share them."""
    fields = "task", "train_digits", "test_digits", "label_noise", "data_seed"
    return tuple(getattr(config, name) for name in fields)


def _stacked_task(tasks: Sequence[Task]) -> Task:
    def split(name: str) -> Split:
        parts = [getattr(task, name) for task in tasks]
        return Split(_stack([part.inputs for part in parts], 0), _stack([part.targets for part in parts], 0))

    return Task(split("train"), split("validation"), split("test"), _stack([task.held_out for task in tasks], 0))


def _stack(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Stack tensors along a new axis; without a copy where they are all one and the same memory."""
    first = tensors[0]
    if all(tensor.data_ptr() == first.data_ptr() for tensor in tensors):
        shape = [*first.shape]
        shape.insert(dim, len(tensors))
        return first.unsqueeze(dim).expand(shape)
    return torch.stack(list(tensors), dim)
