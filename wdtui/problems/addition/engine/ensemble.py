"""Batched runs: several runs of one shape, trained together by the same calls.

At small widths a CPU spends its time between the operations, and a GPU does at almost any width. One call for many
models costs little more than a call for one. The models never mix. Each has its own λ, ε, learning rate, pairs, order
and seed.

On a CPU the result of a run does not depend on the other runs, bit for bit. On CUDA this can hold only for as many
other runs, because the order in which cuBLAS adds depends on how many models it multiplies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import MODELS_AXIS, EpochRecord
from wdtui.problems.addition.engine.graphs import graphs_on
from wdtui.problems.addition.engine.measure import measure
from wdtui.problems.addition.engine.network import Network
from wdtui.problems.addition.engine.optimizer import StackedOptimizer
from wdtui.problems.addition.engine.session import AdditionSession, state_of
from wdtui.problems.addition.engine.steps import Steps, epoch_batches
from wdtui.problems.addition.engine.tasks import Split, Task, make_task
from wdtui.schema.curves import Point
from wdtui.schema.steering import Plan
from wdtui.support.errors import DivergedError
from wdtui.training.devices import use_full_precision
from wdtui.training.session import Poll

OWN = frozenset(
    {
        "weight_decay", "normalized_weight_decay", "bn_epsilon", "learning_rate", "seed", "epochs", "shuffle",
        "task", "train_digits", "test_digits", "label_noise", "data_seed", "keep_every", "keep_megabytes",
    }
)  # fmt: skip
"""The hyperparameters in which the runs of an ensemble may differ. All others decide shapes or what is computed."""
LIVE = "weight_decay", "learning_rate", "bn_epsilon"
"""The hyperparameters that may change between two epochs, each with one value per model."""


def shape_of(config: RunConfig) -> tuple[Hashable, ...]:
    """What runs must have in common to be trained in one ensemble."""
    return tuple(getattr(config, name) for name in config.fields() if name not in OWN)


def is_stacked(config: RunConfig, device: str, plan: Plan) -> bool:
    """Whether an ensemble trains a run. The config's `engine` decides; if it is "auto", an NVIDIA GPU uses an ensemble
    wherever possible.

    An ensemble trains residual networks. Only λ, ε and the learning rate of its runs may change on the way.
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
    """Runs of one shape, all at the same step. Each is read and steered through its member."""

    def __init__(
        self, configs: Sequence[RunConfig], device: torch.device | str = "cpu", plans: Sequence[Plan] | None = None
    ) -> None:
        use_full_precision(device)
        self.config = configs[0]
        self.configs = tuple(configs)
        tasks = {_pairs_of(config): config for config in configs}
        made = {pairs: make_task(config, device) for pairs, config in tasks.items()}
        self._tasks = [made[_pairs_of(config)] for config in configs]
        self.task = _stacked_task(self._tasks)
        self.network = Network(configs, device)
        self.graphs = graphs_on(device)
        parameters, gradients = self.network.parameters, self.network.gradients
        self.optimizer = StackedOptimizer(configs, parameters, gradients, recorded=self.graphs is not None)
        self.record = EpochRecord(self.config, device, (len(configs),))
        self.sharpness = None  # it derives one run's loss twice
        self.steps = Steps(self, self.graphs)
        self.steps.use(self.config, self.network, self.optimizer, self.record)
        self._live: dict[str, list[float]] = {name: [getattr(config, name) for config in configs] for name in LIVE}
        self._stale = True
        """Whether `_live` has changed since it was last copied to the device."""
        self.sessions = [Member(self, row, plan) for row, plan in enumerate(plans or [()] * len(configs))]
        self._batches: tuple[Tensor, Tensor] | None = None
        self._copy: dict[str, Tensor] | None = None
        self._copied_at = 0, 0
        self._unseen: list[tuple[Tensor, int]] = []
        """Losses at which nobody has looked yet, with the step of the epoch to which the first of them belongs."""

    def points(self, poll: Poll = lambda: True) -> Iterator[tuple[Member, Point]]:
        """Train until a run has ended. After each epoch yield the points of all runs, each with its member.

        A run has ended after its last epoch, or when something was no longer a finite number. The others can go on in
        another ensemble that takes over their state. Also ends where `poll` returns False.
        """
        for member in self.sessions:
            member.restart_clock()
        while not any(member.ended for member in self.sessions):
            if not self.run_epoch(poll):
                return
            yield from ((self.sessions[row], point) for row, point in self.end_epoch())

    @torch.inference_mode()
    def end_epoch(self) -> list[tuple[int, Point]]:
        """Count the epoch whose last step was taken. Returns the points that are due, each with its session's index.

        The host waits for the device only here: for the losses, then for the values of all points at once.
        """
        self.look_at_losses()
        self.steps.end_epoch()
        due = [member for member in self.sessions if member.point_due]
        if not due:
            return []
        with self._stream():
            values = measure(self, self.steps.before_last_step)
        return [(member.row, member.point(values[member.row])) for member in due]

    def run_epoch(self, poll: Poll = lambda: True) -> bool:
        """Take the remaining steps of this epoch, until `poll` returns False. Returns whether the epoch is complete."""
        self.forget_copy()
        with self._stream():
            self._copy_live_values()  # as a run may have been restored within an epoch
            return self.steps.run_epoch(poll)

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.steps.epoch

    def live_value(self, name: str, row: int) -> float:
        """The value of one of `LIVE` that is in force for a model."""
        return self._live[name][row]

    def set_live_value(self, name: str, row: int, value: float) -> None:
        """Give a model another value from the next epoch on."""
        if self._live[name][row] != value:
            self._live[name][row] = value
            self._stale = True

    def begin_epoch(self) -> None:
        for member in self.sessions:
            member.begin_epoch()
        self._copy_live_values()

    def see_losses(self, losses: Tensor, first: int) -> None:
        self._unseen.append((losses, first))

    def look_at_losses(self) -> None:
        """Tell the members of losses that are not finite, of the steps since this was last called."""
        if not self._unseen:
            return
        with self._stream():
            losses, first = torch.cat([losses for losses, _ in self._unseen]), self._unseen[0][1]
            self._unseen = []
            if not losses.isfinite().all():
                for member, column in zip(self.sessions, losses.unbind(1), strict=True):
                    member.see_losses(column, first)

    def state(self) -> dict[str, Tensor]:
        """The state of all runs, by the names in the state of one. `MODELS_AXIS` gives the axis of the models."""
        return state_of(self.network, self.optimizer, self.record, self.steps.batch)

    def copied_state(self) -> dict[str, Tensor]:
        """A copy of `state`, the same for all members that ask between the same two steps."""
        now = self.epoch, self.steps.batch
        if self._copy is None or self._copied_at != now:
            self._copy = {name: tensor.clone() for name, tensor in self.state().items()}
            self._copied_at = now
        return self._copy

    def forget_copy(self) -> None:
        """The next copy is to be made anew, as the state changes."""
        self._copy = None

    def batches(self) -> tuple[Tensor, Tensor]:
        if self._batches is None or any(config.shuffle for config in self.configs):
            self._batches = None  # whose memory the next ones may take
            self._batches = self._drawn_batches()
        return self._batches

    def _stream(self) -> contextlib.AbstractContextManager[None]:
        """What all work on the device is done inside of."""
        return self.graphs.stream() if self.graphs else contextlib.nullcontext()

    def _drawn_batches(self) -> tuple[Tensor, Tensor]:
        each = zip(self.configs, self._tasks, strict=True)
        inputs, targets = zip(
            *(epoch_batches(config, task.train, self.steps.epoch) for config, task in each), strict=True
        )
        return _stack(inputs, 1), _stack(targets, 1)

    def _copy_live_values(self) -> None:
        """Copy the live values to the device, if one has changed: once for all models, as each copy makes it wait."""
        if self._stale:
            self.optimizer.set_rates(self._live["weight_decay"], self._live["learning_rate"])
            self.network.epsilon.copy_(torch.tensor(self._live["bn_epsilon"]).unsqueeze(1))
            self._stale = False


class Member(AdditionSession):
    """One run of an ensemble. Its state is that of a run alone, and either can go on from it."""

    def __init__(self, ensemble: Ensemble, row: int, plan: Plan) -> None:
        self.config = ensemble.configs[row]
        self.row = row
        self.steps = ensemble.steps
        self._ensemble = ensemble
        super().__init__(plan)

    @property
    def batched(self) -> int:
        return len(self._ensemble.sessions)

    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        """As those of a training alone, for the only run of an ensemble."""
        for _, point in self._ensemble.points(poll):
            yield point
        if self.diverged_at and self.batch == 0:
            raise DivergedError(self.diverged_at)

    def get(self, name: str) -> float:
        return self._ensemble.live_value(name, self.row)

    def set(self, name: str, value: float) -> None:
        self._ensemble.set_live_value(name, self.row, value)

    def position(self) -> dict[str, Any]:
        self._ensemble.look_at_losses()
        return super().position()

    def state(self) -> dict[str, Tensor]:
        return self._share(self._ensemble.state())

    def copied_state(self) -> dict[str, Tensor]:
        return self._share(self._ensemble.copied_state())

    def restore(self, state: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        self._ensemble.forget_copy()
        super().restore(state, position)

    def _share(self, stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This run's part of a state of all, as views."""
        return {name: tensor.select(MODELS_AXIS.get(name, 0), self.row) for name, tensor in stacked.items()}


def _pairs_of(config: RunConfig) -> tuple[Hashable, ...]:
    """What decides a run's pairs. Runs that agree in it share them."""
    fields = "task", "train_digits", "test_digits", "label_noise", "data_seed"
    return tuple(getattr(config, name) for name in fields)


def _stacked_task(tasks: Sequence[Task]) -> Task:
    def split(name: str) -> Split:
        parts = [getattr(task, name) for task in tasks]
        return Split(_stack([part.inputs for part in parts], 0), _stack([part.targets for part in parts], 0))

    return Task(split("train"), split("validation"), split("test"), _stack([task.held_out for task in tasks], 0))


def _stack(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Stack tensors along a new axis, without a copy where they are all the same memory."""
    first = tensors[0]
    if all(tensor.data_ptr() == first.data_ptr() for tensor in tensors):
        shape = [*first.shape]
        shape.insert(dim, len(tensors))
        return first.unsqueeze(dim).expand(shape)
    return torch.stack(list(tensors), dim)
