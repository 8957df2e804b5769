"""One run, from its stored config to its stored result, obeying the commands that come through the store."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Concatenate, ParamSpec, TypeVar

import torch

from wdtui.runs import forks
from wdtui.runs.judging import Judging
from wdtui.runs.memory import check_room
from wdtui.runs.retention import RetentionPolicy, Snapshot, Writer
from wdtui.runs.worker import sentence
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves, Point
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Plan, from_json, to_json
from wdtui.store.checkpoints import Checkpoint
from wdtui.store.records import RunRecord
from wdtui.store.rescue import Measured
from wdtui.store.store import Claim, Command, OwnershipLostError, Status, Store, StoreError
from wdtui.support.errors import DivergedError
from wdtui.support.text import number
from wdtui.training import trainer
from wdtui.training.devices import default_threads, resolve_device
from wdtui.training.session import Session

_POLL_SECONDS = 0.2
"""How often a run writes down its points and looks for commands; what a watcher reads is at most this old."""
_HEARTBEAT_SECONDS = 5.0
_CHECKPOINT_SECONDS = 10.0
_CHECKPOINT_SHARE = 0.02
"""Of the time at most this much goes into checkpoints: those of large networks come less often."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner:
    """Trains one run of the store in the calling thread; it is the run's one owner from `run` until that returns.

    Where another process takes the run over meanwhile, which can only happen after a long silence, the runner leaves
    before its next step and changes nothing in the store any more.
    """

    def __init__(self, store: Store, run_id: int, *, device: str = "auto", threads: int | None = None) -> None:
        """Raises DeviceError where this machine has no such device."""
        record = store.run(run_id)
        self.store = store
        self.run_id = run_id
        self.config = record.config
        self.device = resolve_device(device)
        self.threads = threads or default_threads(self.config, self.device)
        self.interruption = ""
        """Set it, from any thread or signal handler, to a reason: the run stops before its next step, resumable."""
        self.begun = threading.Event()
        """Set once the store holds of the run only what the training goes on from."""
        self.paused = False
        self.lost: OwnershipLostError | None = None
        """Why the run is not this runner's any more."""
        self._record = record
        self._concluded = False
        self._points: list[Point] = []
        self._measured = Measured(self.config.columns)
        """All points since `begin`, should the store be lost."""
        self._outcome = Status.DONE, ""
        self._heartbeat_at = self._saved = time.monotonic()
        self._polled_at = -math.inf  # what was asked before it began counts from its first step

    def run(self) -> Status:
        """Claim the run, train it from its newest checkpoint or its beginning, and leave it with its final status.

        Raises RunBusyError when another owner has it, OwnershipLostError when another one has taken it over meanwhile,
        and StoreError when the store can no longer be written.
        """
        self.claim()
        try:
            self._train_to_an_outcome()
            self.conclude()
        except StoreError:
            if not self.lost:
                raise
        finally:
            self.close()
        if self.lost:
            raise self.lost
        return self._outcome[0]

    # The parts of `run`, for training several runs at once

    def claim(self) -> None:
        """Become the run's owner; `close` must follow. Raises RunBusyError and StoreError."""
        self._claim = self.store.claim(self.run_id, device=self.device, threads=self.threads, versions=software())
        self._checkpoints = self.store.checkpoints(self._record, self._claim)
        torch.set_num_threads(self.threads)
        self._writer = Writer(self._write)

    def find_start(self) -> tuple[int, int]:
        """Find from where the run goes on, and return the epoch and the batch.

        A checkpoint beyond the next point to measure is of no use: a power failure may take the store's last moments.
        Neither is one of another past than the plan's: an owner that had been taken over may have written it. One from
        after a damaged point is of none either, as that point is to be measured again.
        """
        run = self.store.run(self.run_id)
        next_point = run.step + self.config.log_every * self.config.steps_per_epoch
        to_measure = min((next_point, *self.store.curves(self.run_id).lost))
        self._checkpoint, self._parent = self._checkpoints.newest(to_measure - 1), None
        while self._checkpoint and not _of_plan(self.config, self._checkpoint, run.plan):
            self._checkpoint = self._checkpoints.newest(self._checkpoint.step - 1)
        if self._checkpoint is None:
            self._checkpoint, self._parent = forks.inherited(self.store, run)
        position = self._checkpoint.position if self._checkpoint else {"epoch": 0, "batch": 0}
        return position["epoch"], position["batch"]

    def begin(self, training: Session) -> None:
        """Take up the run in a training of its config and plan, where `find_start` found that it goes on."""
        run, checkpoint, parent = self.store.run(self.run_id), self._checkpoint, self._parent
        self.training = training
        self._measured.forget_after(checkpoint.step if checkpoint else -1)
        damaged = self._checkpoints.damaged()
        kept = checkpoint.step if checkpoint and not parent else -1
        self._own(lambda _: self._checkpoints.drop_after(kept))
        self._own(self.store.truncate, checkpoint.step if checkpoint else -1)
        if checkpoint:
            self.training.restore(checkpoint.tensors, checkpoint.position | {"plan": to_json(run.plan)})
        if parent:
            if run.schema.source:  # its config does not say what it records, its parent's points do
                self._own(self.store.add_columns, self.store.columns(parent.id))
            self._own(self.store.inherit, parent.id, self._step)
        curves = self.store.curves(self.run_id)
        self._columns = curves.names
        self._measured.widen(self._columns)
        self._judging = Judging(self.store.run(self.run_id).schema.judged, curves)
        self._retention = RetentionPolicy(self.config, self.training, curves, run.parent_step)
        if parent:
            self._save_checkpoint("fork" if self._step == run.parent_step else "")
            self._own(self.store.add_event, self._step, "forked", {"parent": parent.id})
        elif checkpoint:
            self._own(self.store.add_event, self._step, "resumed")
        if damaged:
            self._tell_damage(damaged)
        self.begun.set()

    def poll_commands(self) -> bool:
        """Between two steps: write down, beat, obey. Returns whether to go on."""
        if self.lost:
            return False
        if self.interruption:
            return self._leave(Status.INTERRUPTED, f"{self.interruption} at step {self._step:,}.")
        now = time.monotonic()
        if now - self._polled_at < _POLL_SECONDS:
            return True
        self._polled_at = now
        self.write_down()
        self._heartbeat()
        if now - self._saved > max(_CHECKPOINT_SECONDS, self._writer.seconds / _CHECKPOINT_SHARE):
            self._save(Snapshot.of(self.training))
        while commands := self.store.commands(self.run_id):  # anew after each: a pause obeys those that follow
            if not self._obey(commands[0]):
                return False
        return not self.lost

    def wait_while_paused(self) -> bool:
        """Wait, paused, for the command to go on, or to stop. Returns whether to go on."""
        while self.paused:
            if not self.poll_paused():
                return False
            time.sleep(_POLL_SECONDS if self.paused else 0)
        return True

    def poll_paused(self) -> bool:
        """While paused: beat, obey; `paused` tells whether it still is. Returns False where the run is to end here."""
        if self.lost:
            return False
        if self.interruption:
            return self._leave(Status.INTERRUPTED, f"{self.interruption} at step {self._step:,}.")
        for command in self.store.commands(self.run_id):
            if command.kind == "resume":
                self._own(self.store.take, command)
                self._own(self.store.set_status, Status.RUNNING)
                self.training.restart_clock()
                self.paused = False
                return True
            if command.kind == "pause":
                self._own(self.store.take, command)
            elif not self._obey(command):
                return False
        self._heartbeat()
        return not self.lost

    def take(self, point: Point) -> None:
        """Take what was measured, with the training as it stands at that point."""
        if not {*self.training.columns} <= {*self._columns}:
            self._add_columns()
        stored = point.under(self.training.columns, self._columns)
        self._points.append(stored)
        self._measured.add(stored)
        for snapshot, why in self._retention.after(point, self.training):
            self._save(snapshot, why)

    def write_down(self) -> None:
        """Append the points and events since the last time to the store."""
        for steering in self.training.take_steerings():
            self._own(self.store.add_event, steering.step, "steered", dataclasses.asdict(steering))
        if not self._points:
            return
        self._judging.add(Curves.of(self._columns, self._points))
        self._own(
            self.store.append,
            self._points,
            speed=self._points[-1].values[-1],
            milestones=self._judging.milestones().to_json(),
            batched=self.training.batched,
        )
        self._points = []

    def release(self) -> None:
        """Write everything that is left of the training and release it; `begin` may take the next one."""
        if hasattr(self, "training"):
            self.write_down()
            del self.training
        if hasattr(self, "_retention"):  # which holds copies of it
            del self._retention
        self._writer.flush()

    def _add_columns(self) -> None:
        """The training records something that it has not recorded before."""
        self.write_down()
        self._columns = self._own(self.store.add_columns, self.training.columns) or self.training.columns
        self._measured.widen(self._columns)
        self._judging = Judging(self.training.schema.judged, self.store.curves(self.run_id))

    def complete(self, diverged_at: int | None = None) -> None:
        """There is nothing left to train."""
        if diverged_at:
            self._outcome = Status.DIVERGED, str(DivergedError(diverged_at))
        else:
            self._save_checkpoint()

    def fail(self, error: Exception) -> None:
        """End with what PyTorch raised, out of memory above all, and write it down."""
        self._outcome = Status.FAILED, " ".join(sentence(error).split())
        trace = getattr(error, "trace", "") or "".join(traceback.format_exception(error))
        self._own(self.store.add_event, self._step, "error", {"traceback": trace})

    def conclude(self) -> Status:
        """Write down all that is left, and the final status."""
        try:
            self.release()
            self._own(self.store.set_status, *self._outcome)
        except StoreError as error:
            raise with_rescues(error, [self.give_up(error)]) from error
        self._concluded = True
        return self._outcome[0]

    def close(self) -> None:
        """End the thread that writes checkpoints."""
        self._writer.close()

    # In all of these the run is this runner's, or nothing is written

    def _own(self, write: Callable[Concatenate[Claim, _P], _T], *arguments: _P.args, **options: _P.kwargs) -> _T | None:
        """Write to the run as its owner; None, and nothing is written, once it is another's."""
        if self.lost:
            return None
        try:
            return write(self._claim, *arguments, **options)
        except OwnershipLostError as error:
            self.lost = error
            return None

    def _train_to_an_outcome(self) -> None:
        try:
            self.find_start()
            check_room([self.config], self.device)
            plan = self.store.run(self.run_id).plan
            training = trainer(self.config).open_session(self.config, self.device, plan)
            self.begin(training)
            for point in training.points(self.poll_commands):
                self.take(point)
            if not self.left:
                self.complete()
        except DivergedError as error:
            self.complete(error.step)
        except StoreError as error:
            raise with_rescues(error, [self.give_up(error)]) from error
        except Exception as error:
            self.fail(error)

    @property
    def left(self) -> bool:
        """Whether the run was told to end before its end, or is another's."""
        return self.lost is not None or self._outcome[0] in (Status.STOPPED, Status.INTERRUPTED)

    @property
    def _step(self) -> int:
        return self.training.step if hasattr(self, "training") else self.store.run(self.run_id).step

    def _tell_damage(self, damaged: list[int]) -> None:
        steps = ", ".join(map(number, damaged))
        which = f"The checkpoint at step {steps} was" if len(damaged) == 1 else f"The checkpoints at steps {steps} were"
        reason = f"{which} damaged. Training continued from step {number(self._step)}."
        self._own(self.store.add_event, self._step, "damaged", {"reason": reason})
        self._own(self.store.set_status, Status.RUNNING, reason)

    def _obey(self, command: Command) -> bool:
        if command.kind != "steer":
            self._own(self.store.take, command)
        if self.lost:
            return False
        match command.kind:
            case "stop":
                return self._leave(Status.STOPPED, f"Stopped at step {self._step:,}.")
            case "pause":
                return self._pause()
            case "steer":
                self._steer(command)
            case "checkpoint":
                self._save_checkpoint()
        return True

    def _pause(self) -> bool:
        self._save_checkpoint()
        self._own(self.store.set_status, Status.PAUSED)
        self.paused = True
        return self.wait_while_paused()

    def _steer(self, command: Command) -> None:
        """Steer; the store takes the command and the plan that follows from it at once, so that it cannot be lost."""
        try:
            self.training.steer(**command.data)
        except (ConfigError, TypeError) as error:
            self._own(self.store.add_event, self._step, "refused", {"reason": str(error)})
        self._own(self.store.take, command, self.training.plan)

    def _leave(self, status: Status, reason: str) -> bool:
        self._save_checkpoint()
        self._outcome = status, f"{reason} `wdtui resume {self.run_id}` continues from there."
        return False

    def _save_checkpoint(self, why: str = "") -> None:
        """Save where the run stands, and wait until it is on the disk."""
        self._save(Snapshot.of(self.training), why)
        self._writer.flush()

    def _save(self, snapshot: Snapshot, why: str = "") -> None:
        """Queue a checkpoint for writing; the points up to it are written first, so none can be missing."""
        self.write_down()
        self._writer.put(snapshot, why)
        self._saved = time.monotonic()

    def _write(self, snapshot: Snapshot, why: str) -> None:
        """In the writer's thread: first the files, then the word that they are there."""
        dropped = self._own(lambda _: self._checkpoints.save(snapshot.step, snapshot.position, snapshot.tensors, why))
        if why != "blow-up":  # that one is older than the newest
            self._own(self.store.set_checkpoint, snapshot.step)
        for step, reason in (dropped or {}).items():
            room = f"checkpoints may take {self.config.keep_megabytes} MB"
            self._own(
                self.store.add_event, snapshot.step, "dropped", {"checkpoint": step, "kept for": reason, "as": room}
            )

    def _heartbeat(self) -> None:
        if time.monotonic() - self._heartbeat_at > _HEARTBEAT_SECONDS:
            self._heartbeat_at = time.monotonic()
            self._own(self.store.heartbeat)

    def give_up(self, error: StoreError) -> str:
        """The store cannot be written: say so in it all the same if that still can be done.

        Where the store is lost, the points go into a rescue file; returns a sentence that names it, or nothing.
        """
        with contextlib.suppress(StoreError):
            if not self._concluded:  # of runs side by side, some may have ended before
                self.store.give_up(self._claim, str(error))
            if len(self._measured) and (path := self.store.rescue(self.run_id, self._as_trained(), self._measured)):
                points = f"The {len(self._measured):,} points that run {self.run_id} measured since it began here"
                return f"{points} are in {path}, which `wdtui runs import {path}` imports."
            if not self._concluded:
                self._own(self.store.set_status, Status.INTERRUPTED, str(error))
        return ""

    def _as_trained(self) -> RunRecord:
        """The run with what it was steered to in the meantime."""
        plan = self.training.plan if hasattr(self, "training") else self._record.plan
        return self._record._replace(plan_text=json.dumps(to_json(plan)))


def _of_plan(config: Config, checkpoint: Checkpoint, plan: Plan) -> bool:
    """Whether the steps up to a checkpoint were taken as the plan says."""
    taken, step = from_json(config.schema(), checkpoint.position["plan"]), checkpoint.step
    return forks.before(taken, step) == forks.before(plan, step)


def with_rescues(error: StoreError, rescues: Iterable[str]) -> StoreError:
    """The error, with the sentences that say where rescue files are."""
    return type(error)(" ".join(filter(None, (str(error), *rescues))))


def software() -> dict[str, str]:
    """The versions that decide what a run computes."""
    return {"wdtui": version("wdtui"), "torch": torch.__version__, "python": platform.python_version()}
