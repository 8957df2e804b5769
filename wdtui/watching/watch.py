"""watch: see, steer, pause and stop a training whose loop a script owns.

    with wdtui.watch(model, optimizer, config={"batch_size": 64}, steps=10_000) as run:
        for x, y in batches:
            ...
            if not run.step(loss=loss):
                break
        run.log(test_accuracy=evaluate(model))

A step at which nothing is due counts and compares, and no more. The training never fails because it is watched.
"""

from __future__ import annotations

import math
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wdtui.runs.worker import sentence
from wdtui.schema.recorded import OF_BATCHES, SPARSE
from wdtui.schema.steering import Plan, Steering, check_steerable, planned, steering_to, to_json
from wdtui.store.store import Command, Status
from wdtui.support.text import clean, number, say
from wdtui.training.live import LiveSettings
from wdtui.training.probing import Probing
from wdtui.training.state import StateError, Tensors, packed
from wdtui.watching.description import Knob, by_prefix, describe, device_of, field_name, live_values, several
from wdtui.watching.points import Measured
from wdtui.watching.ranks import Ranks, ranks
from wdtui.watching.recorder import Recorder

_GAUGES_SHARE = 0.025
"""The share of the time that the decay gauges may take: the points in between are without them."""
_PAUSED_SECONDS = 0.05
_PAUSED_RANKS_SECONDS = 0.5
"""How often a paused training looks whether it goes on."""


def watch(
    model: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
    optimizer: Optimizer | Sequence[Optimizer] = (),
    *,
    steps: int,
    config: Mapping[str, Any] | object | None = None,
    every: int = 50,
    name: str = "",
    schedulers: Any = (),
    knobs: Mapping[str, Knob] | None = None,
    store: str | Path | None = None,
) -> Watch:
    """Record a training in the store as a run, and apply the commands that people send to that run.

    `steps` is how many updates the loop will take, as far as is known. `config` is a mapping, or an object with
    attributes as argparse gives. A point is recorded every `every` steps. The numbers in the optimizer's param groups
    can be steered, as can `bn_epsilon`, the ε of normalisation layers, and `knobs`: by name, a pair of functions that
    read and change a value. Learning-rate `schedulers` follow a steered learning rate. In a distributed training
    every rank calls this, and those calls are collective.

    Use the result as a context manager, or call its `close`. Raises ConfigError for arguments that cannot be used.
    """
    return Watch(
        model,
        several(optimizer),
        config=config if isinstance(config, Mapping) else vars(config) if config else {},
        steps=steps,
        every=every,
        name=name,
        schedulers=several(schedulers),
        knobs=knobs or {},
        store=Path(store) if store else None,
    )


class Watch:
    """A watched training, as its loop sees it. None of the methods raises."""

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module],
        optimizers: Sequence[Optimizer],
        *,
        config: Mapping[str, Any],
        steps: int,
        every: int,
        name: str,
        schedulers: Sequence[Any],
        knobs: Mapping[str, Knob],
        store: Path | None,
    ) -> None:
        self._models = by_prefix(model)
        self._optimizers = optimizers
        self._settings = LiveSettings(optimizers, self._models.values(), schedulers)
        self._knobs = {field_name(given): knob for given, knob in knobs.items()}
        described = describe(config, live_values(config, self._settings, optimizers, self._knobs), steps, every)
        self._schema, self._every, self._steps = described.declared, described.log_every, described.steps
        self._step = 0
        self._passed: dict[str, Any] = {}
        """What the last step passed."""
        self._stopped = self._paused = self._closed = False
        self._plan: Plan = ()
        self._steerings: list[Steering] = []
        """Those since the last step; of one field the last one counts."""
        self._ramps: dict[str, tuple[Steering, Any]] = {}
        """Steerings under way, each with the value that it has come to."""
        self._warned: set[str] = set()
        self._ranks: Ranks | None = ranks()
        share = None if self._ranks else _GAUGES_SHARE  # all ranks measure at the same steps
        self._probing = Probing(lambda: self._models, lambda: optimizers, share=share)
        self._point_step, self._pointed_at = 0, time.perf_counter()
        self._stepped_at = self._pointed_at
        self._next_point: float = 0
        self._attend_at: float = 0
        self._open: Measured | None = None
        """The point of the current step, if it has one; what the loop still logs at that step belongs to it."""
        self._recorder: Recorder | None = None
        self._inbox: deque[Command] = deque()
        """Looked at in each step; that of the ranks is looked at when they talk."""
        if not self._ranks or self._ranks.first:
            self._recorder = Recorder(
                store, described, name=name, device=device_of(self._models.values()), threads=torch.get_num_threads()
            )
            self._end = weakref.finalize(self, self._recorder.close, Status.INTERRUPTED, _NOT_CLOSED)
            if not self._ranks:
                self._inbox = self._recorder.commands
        self._look_ahead()

    @property
    def id(self) -> int | None:
        """The number of the run; None where it could not be stored, and on all ranks but the first."""
        return self._recorder.run_id if self._recorder else None

    def step(self, /, **metrics: Any) -> bool:
        """Count one update. Returns False once someone has asked the training to stop.

        `metrics` are numbers or tensors with one element, which stay on their device. Those of the step at which a
        point falls are recorded.
        """
        self._step += 1
        self._stepped_at = time.perf_counter()
        for name, value in metrics.items():
            if isinstance(value, Tensor):
                metrics[name] = value.detach()  # so that no graph is held until the next step
        self._passed = metrics
        if self._step >= self._attend_at or self._inbox:
            self._safely(self._attend)
        return not self._stopped

    def log(self, /, **metrics: Any) -> None:
        """Record values now, as those of the current step; for what is not measured in every step."""
        self._safely(lambda: self._log(metrics))

    def checkpoint(self) -> None:
        """Store the state of the models and optimizers."""
        self._safely(self._checkpoint)

    def close(self) -> None:
        """End the run, as done unless someone has stopped it."""
        self._close(
            *((Status.STOPPED, f"Stopped at step {number(self._step)}.") if self._stopped else (Status.DONE, ""))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        elif isinstance(error, Exception):
            if self._recorder:
                trace = "".join(traceback.format_exception(error))
                self._recorder.event(self._step, "error", {"traceback": trace})
            self._close(Status.FAILED, clean(" ".join(sentence(error).split())))
        else:
            why = (
                "Interrupted by Ctrl-C" if isinstance(error, KeyboardInterrupt) else f"Ended by {type(error).__name__}"
            )
            self._close(Status.INTERRUPTED, f"{why} at step {number(self._step)}.")

    # What is due now and then

    def _attend(self) -> None:
        """Do what is due after a step."""
        self._hand_over()
        if self._step >= self._next_point:
            self._point_now()
        self._follow_ramps()
        self._apply_all()
        paused_at = time.perf_counter()
        while self._paused and not self._stopped:
            self._wait()
            self._apply_all()
        self._pointed_at += time.perf_counter() - paused_at
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Find the step at which there is something to do again."""
        self._next_point = self._point_step - self._point_step % self._every + self._every
        if self._step < self._steps:
            self._next_point = min(self._next_point, self._steps)
        busy = self._open is not None or self._ramps or self._steerings
        before = max(self._next_point - 1, self._step + 1)
        talk = self._ranks.next_step if self._ranks else before
        self._attend_at = min(before, talk, self._step + 1 if busy else before)
        if self._step + 1 == self._next_point:
            self._probing.prepare(self._next_point)

    def _wait(self) -> None:
        """For a paused training to be asked something."""
        if not self._ranks:
            time.sleep(_PAUSED_SECONDS)
        elif self._ranks.first:
            time.sleep(_PAUSED_RANKS_SECONDS)

    # Points

    def _log(self, metrics: Mapping[str, Any]) -> None:
        if not self._closed:
            self._warn(self._point_now().add(metrics, SPARSE))
            self._look_ahead()

    def _point_now(self) -> Measured:
        """The point of the current step, with all that is measured at a point."""
        if self._open and self._open.step == self._step:
            return self._open
        self._hand_over()
        seconds, steps = self._stepped_at - self._pointed_at, self._step - self._point_step
        self._open = measured = Measured(self._step, steps / seconds if seconds > 0 and steps else math.nan)
        self._point_step, self._pointed_at = self._step, self._stepped_at
        if self._recorder:
            self._recorder.open = measured
        self._warn(measured.add(self._passed, OF_BATCHES))
        of_models, of_step = self._probing.measure(measured.step)
        measured.fill(of_models)
        measured.fill(of_step, SPARSE)  # points that `log` adds have none
        return measured

    def _hand_over(self) -> None:
        """Have the open point stored, as the training has gone on."""
        if self._open and self._recorder:
            self._recorder.point(self._open)
        self._open = None

    def _warn(self, refused: Mapping[str, str]) -> None:
        """Say of each metric once why it is left out."""
        for name in refused.keys() - self._warned:
            self._warned.add(name)
            say(refused[name])

    # What people ask

    def _apply_all(self) -> None:
        for command in self._asked():
            match command.kind:
                case "stop":
                    self._stopped = True
                case "pause":
                    self._pause(True)
                case "resume":
                    self._pause(False)
                case "checkpoint":
                    self._checkpoint()
                case "steer":
                    for name, change in command.data.items():
                        self._steer(name, change)
            if self._recorder:
                self._recorder.taken(command, self._plan if command.kind == "steer" else None)

    def _asked(self) -> list[Command]:
        """The commands that have come; in a distributed training all ranks get them at the same step."""
        here = self._recorder.commands if self._recorder else deque[Command]()
        if not self._ranks:
            return [here.popleft() for _ in range(len(here))]
        if self._step < self._ranks.next_step and not self._paused:
            return []
        commands = [here.popleft() for _ in range(len(here))]
        try:
            return self._ranks.share(commands, self._step)
        except RuntimeError as error:  # another rank has gone
            self._ranks, self._paused = None, False
            say(f"the ranks cannot reach each other any more, so commands have no effect: {clean(str(error))[:200]}")
            return []

    def _pause(self, paused: bool) -> None:
        if self._recorder and paused != self._paused:
            self._recorder.status(Status.PAUSED if paused else Status.RUNNING)
        self._paused = paused

    def _steer(self, name: str, change: Any) -> None:
        """Change a live field, or write down why that cannot be."""
        try:
            check_steerable(self._schema, [name])
            field = self._schema.field(name)
            now = field.check(self._get(name))
            before = next((one.old for one in self._steerings if one.field == name), now)
            steering = steering_to(field, change, self._step, before)
            value = steering.value(self._step, 1)
            self._change(name, now, value)
        except Exception as error:  # the setter of a knob may raise anything
            self._refuse(error)
            return
        self._plan = planned(self._plan, steering)
        self._steerings = [*(one for one in self._steerings if one.field != name), steering]
        self._ramps.pop(name, None)
        if value != steering.new:
            self._ramps[name] = steering, value

    def _follow_ramps(self) -> None:
        """Take the next step of each gradual change, and write down what was steered before this step."""
        for steering in self._steerings:
            if self._recorder:
                self._recorder.steered(steering)
        self._steerings = []
        for name, (steering, last) in [*self._ramps.items()]:
            value = steering.value(self._step, 1)
            try:
                self._change(name, last, value)
            except Exception as error:
                self._refuse(error)
                del self._ramps[name]
                continue
            self._ramps[name] = steering, value
            if value == steering.new:
                del self._ramps[name]

    def _get(self, name: str) -> Any:
        return self._knobs[name][0]() if name in self._knobs else self._settings.get(name)

    def _change(self, name: str, before: Any, value: Any) -> None:
        if name in self._knobs:
            self._knobs[name][1](value)
        else:
            self._settings.scale(name, before, value)

    def _refuse(self, error: Exception) -> None:
        if self._recorder:
            self._recorder.event(self._step, "refused", {"reason": " ".join(sentence(error).split())})

    def _checkpoint(self) -> None:
        """Copy the state, which the next step changes, and have it stored."""
        if not self._recorder or self._closed:
            return
        tensors = Tensors()
        try:
            models = packed(_alone(self._models), "model", tensors)
            optimizers = packed(_alone(dict(enumerate(self._optimizers))), "optimizer", tensors)
            if any(hasattr(tensor, "full_tensor") for tensor in tensors.values()):
                raise StateError("The parameters are spread over ranks: save them with torch.distributed.checkpoint.")
        except StateError as error:
            self._refuse(error)
            return
        position = {"epoch": self._step, "batch": 0, "plan": to_json(self._plan)}
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._recorder.checkpoint(self._step, position | {"state": {"model": models, "optimizer": optimizers}}, copies)

    # The end

    def _close(self, status: Status, reason: str) -> None:
        if self._closed:
            return
        self._safely(self._finish)
        self._closed = True
        self._probing.drop()
        self._attend_at, self._inbox = math.inf, deque()
        if self._recorder:
            self._end.detach()
            self._recorder.close(status, reason)

    def _finish(self) -> None:
        """Record where the training stands."""
        if self._step > self._point_step:
            self._point_now()
        self._hand_over()
        for steering in self._steerings:
            if self._recorder:
                self._recorder.steered(steering)

    def _safely(self, act: Callable[[], None]) -> None:
        """Do something of which the training must not fail."""
        try:
            act()
        except Exception as error:
            self._attend_at, self._inbox = math.inf, deque()
            say(f"a fault of wdtui: {type(error).__name__}: {error}. The training goes on without being watched.")


_NOT_CLOSED = "The script ended without closing the run."


def _alone(values: Mapping[Any, Any]) -> Any:
    """The only value, or else all of them by name."""
    return next(iter(values.values())) if len(values) == 1 else values
