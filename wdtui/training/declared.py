"""A declared problem under way: steps and measurements are the user's code, all around them is here.

The state of a run is what its attributes hold (`state.py`), with the generators of random numbers. An attribute that is
a tensor or a collection of tensors, and is as `setup` left it, is built by `setup` again and so is in no checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import random
import types
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wdtui.problems.declared import DeclaredConfig, Problem
from wdtui.problems.user_code import UserCodeError, load, reporting
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import Value
from wdtui.schema.recorded import OF_BATCHES, SPEED, Traits, metric_name
from wdtui.schema.schema import Schema
from wdtui.schema.source import Source
from wdtui.schema.steering import Plan, values_at
from wdtui.support.errors import DivergedError
from wdtui.support.third_party import changes_of
from wdtui.training import Batch
from wdtui.training.live import LiveSettings
from wdtui.training.probing import Probing
from wdtui.training.session import Poll, Session
from wdtui.training.state import Built, Stored, Tensors, packed, random_states, restore_random_states, unpacked
from wdtui.training.values import kind, numbers, why_not_recorded


class DeclaredSession(Session):
    """One run of a declared problem."""

    config: DeclaredConfig

    def __init__(self, config: DeclaredConfig, device: str, plan: Plan = ()) -> None:
        assert config.declared.source
        self.config = config
        self.source: Source = config.declared.source
        self._step = 0
        self._sums: dict[str, tuple[Any, int]] = {}
        """Of what steps have returned since the last point: sums, and how many they are of."""
        self._columns: tuple[str, ...] = (SPEED.name,)
        self._of_batches: set[str] = set()
        """What `step` returns and `measure` does not."""
        self._diverging = False
        self._probing = Probing(self._named_modules, self._optimizers)
        self.problem = self._set_up(device, values_at(plan, 0, 1))
        self._device = device
        self._built_tensors = Built(self.attributes())
        self._constants = {name: _versions(value) for name, value in self.attributes().items()}
        self._settings = self._live_settings()
        self._packed()  # what cannot be kept is refused before the first step
        super().__init__(plan)

    # As every session

    @property
    def epoch(self) -> int:
        """Steps taken: the step is the unit of a declared problem."""
        return self._step

    @property
    def batch(self) -> int:
        return 0

    def move_to(self, epoch: int, batch: int) -> None:
        self._step = epoch

    @property
    def columns(self) -> tuple[str, ...]:
        return self._columns

    @property
    def schema(self) -> Schema:
        return self.config.declared.recording(self._columns, self.traits)

    @property
    def traits(self) -> Traits:
        return dict.fromkeys(self._of_batches, OF_BATCHES)

    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        while not self.ended:
            if not poll():
                return
            self.begin_epoch()
            if self.is_logged(self._step + 1):
                self._probing.prepare(self._step + 1)
            self.take_step()
            if self.point_due:
                yield self.measured()
        if self.diverged_at:
            raise DivergedError(self.diverged_at)

    def get(self, name: str) -> Any:
        return getattr(self.problem, name)

    def set(self, name: str, value: Any) -> None:
        if getattr(self.problem, name) == value:
            return
        before = getattr(self.problem, name)
        setattr(self.problem, name, value)
        with reporting(self.source, f"when {name} was steered"):
            if name in self._settings:
                self._settings.scale(name, before, value)
            else:
                self.problem.steered(name, value)

    def rebuild(self, changes: Mapping[str, Value]) -> None:
        """Other values of knobs that `step` reads anew each time."""
        self.config = self.config.replace(**changes)
        for name in changes:
            setattr(self.problem, name, getattr(self.config, name))

    # The state

    def state(self) -> dict[str, Tensor]:
        return self._packed()[1]

    def position(self) -> dict[str, Any]:
        return super().position() | {"state": self._packed()[0]}

    def restore(self, state: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        with reporting(self.source, "when its state was restored"):
            stored = Stored(state, self._built_tensors, self._device)
            kept = unpacked(position["state"], stored, self._kept() | {"attributes": self.attributes()})
            for name, value in {**kept["attributes"], **kept["live"]}.items():
                setattr(self.problem, name, value)
        self._sums = kept["sums"]
        self._settings = self._live_settings()
        restore_random_states(kept["random"])
        self._restore_position(position)

    def attributes(self) -> dict[str, Any]:
        """All that is kept or built again, with the constants too."""
        fields = self.config.fields()
        own = vars(self.problem).items()
        return {name: value for name, value in own if name not in fields and name != "device" and name[0] != "_"}

    # What happens in a step

    def _set_up(self, device: str, in_force: Mapping[str, Value]) -> Problem:
        problem_class = load(self.source)
        _seed(self.config.seed)
        with reporting(self.source, "in setup"):
            problem = problem_class()
            problem.device = device
            for name in self.config.fields():
                setattr(problem, name, in_force.get(name, getattr(self.config, name)))
            problem.setup()
        return problem

    def take_step(self) -> None:
        """One step of the user's code, and what it returned."""
        with reporting(self.source, "in step"):
            returned = self.problem.step()
        for name, value in self._checked(returned, "step").items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + (value.detach() if isinstance(value, Tensor) else float(value)), count + 1
        self._step += 1

    def measured(self) -> Point:
        """The point of the steps since the last one."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        of_models, of_step = self._probing.measure(self._step)
        with reporting(self.source, "in measure"), _evaluating(self._modules()), torch.no_grad():
            measured = self.problem.measure()
        evaluated = self._checked(measured, "measure")
        self._of_batches |= means.keys() - evaluated.keys()
        own = means | {**evaluated}  # first, and in place of what is measured anyway
        values = numbers(own | {name: value for name, value in (of_models | of_step).items() if name not in own})
        self._diverging = any(not math.isfinite(value) for name, value in values.items() if name.endswith("loss"))
        new = tuple(name for name in values if name not in self._columns)
        self._columns = (*self._columns[:-1], *new, SPEED.name)
        return self.point([values.get(name, math.nan) for name in self._columns[:-1]])

    def _named_modules(self) -> dict[str, nn.Module]:
        """By the prefix of their layers' names; layers are named as in the module where there is one."""
        modules = {name: value for name, value in self.attributes().items() if isinstance(value, nn.Module)}
        return dict.fromkeys([""], *modules.values()) if len(modules) == 1 else modules

    def is_finite(self, point: Point) -> bool:
        """Whether all losses are finite. Another metric is NaN where it is unknown."""
        return not self._diverging

    def _checked(self, returned: Any, where: str) -> Mapping[str, Any]:
        if returned is None:
            return {}
        if not isinstance(returned, Mapping):
            raise self._refusal(where, f"it returned {kind(returned)}; return a dict of numbers by name, or nothing")
        for name, value in returned.items():
            if why := why_not_recorded(name, value):
                raise self._refusal(where, why)
        return {metric_name(str(name)): value for name, value in returned.items()}

    def _refusal(self, where: str, why: str) -> UserCodeError:
        line = getattr(type(self.problem), where).__code__.co_firstlineno
        return UserCodeError(f"{self.source.shown}, line {line}, in {where}: {why}.")

    def _kept(self) -> dict[str, Any]:
        attributes = {
            name: value
            for name, value in self.attributes().items()
            if (version := _versions(value)) is None or version != self._constants.get(name)
        }
        live = {field.name: self.get(field.name) for field in self.config.declared.live_fields}
        return {"attributes": attributes, "live": live, "sums": self._sums, "random": random_states()}

    def _packed(self) -> tuple[Any, Tensors]:
        tensors = Tensors(self._built_tensors)
        return packed(self._kept(), "", tensors), tensors

    def _modules(self) -> list[nn.Module]:
        return [value for value in _flat(self.attributes()) if isinstance(value, nn.Module)]

    def _optimizers(self) -> list[Optimizer]:
        return [value for value in _flat(vars(self.problem)) if isinstance(value, Optimizer)]

    def _live_settings(self) -> LiveSettings:
        values = list(_flat(vars(self.problem)))
        schedulers = [value for value in values if isinstance(value, torch.optim.lr_scheduler.LRScheduler)]
        return LiveSettings(self._optimizers(), [value for value in values if isinstance(value, nn.Module)], schedulers)


def open_session(config: DeclaredConfig, device: str = "cpu", plan: Plan = ()) -> DeclaredSession:
    """The training of one run. Raises UserCodeError and StateError."""
    return DeclaredSession(config, device, plan)


def batch_key(config: DeclaredConfig, device: str, plan: Plan) -> Hashable:
    """None: each run is trained alone."""
    return None


def open_batch(configs: Sequence[DeclaredConfig], device: str, plans: Sequence[Plan]) -> Batch:
    raise NotImplementedError("declared problems are trained one run at a time")


def state_shapes(config: DeclaredConfig, batch: int) -> dict[str, tuple[int, ...]]:
    """Nothing is known of the state before the problem is built."""
    return {}


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Modules in eval mode, and afterwards each of their parts in the mode that it was in."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _flat(value: Any, depth: int = 0) -> Iterator[Any]:
    """A value and all that is in it where it is a collection."""
    if isinstance(value, Mapping) and depth < _DEPTH:
        for one in value.values():
            yield from _flat(one, depth + 1)
    elif isinstance(value, (list, tuple)) and depth < _DEPTH:
        for one in value:
            yield from _flat(one, depth + 1)
    else:
        yield value


_DEPTH = 4
_BUILT = (torch.utils.data.DataLoader, torch.utils.data.Dataset, torch.utils.data.Sampler, types.FunctionType,
          types.BuiltinFunctionType, types.ModuleType, type, torch.device, torch.dtype)  # fmt: skip
"""What `setup` builds again in every process, and what has no state that decides a step."""


class _Same:
    """Equal to another one of the same object, which it keeps alive only where that costs next to nothing."""

    def __init__(self, value: Any) -> None:
        self._value = weakref.ref(value) if isinstance(value, Tensor) else lambda: value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and (value := self._value()) is not None and value is other._value()

    __hash__ = None  # type: ignore[assignment]


def _versions(value: Any) -> Any:
    """What says whether a value is as setup left it; None where that cannot be told, so that it has to be kept."""
    if isinstance(value, Tensor) and not value.requires_grad:
        return _Same(value), changes_of(value)
    if isinstance(value, _BUILT) and not hasattr(value, "state_dict"):
        return _Same(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value).__name__, value
    if not isinstance(value, (list, tuple, Mapping)):
        return None
    keys, values = (tuple(value), value.values()) if isinstance(value, Mapping) else ((), value)
    parts = [_versions(one) for one in values]
    return None if None in parts else (type(value).__name__, keys, parts)
