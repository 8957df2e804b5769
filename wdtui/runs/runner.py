"""One run from its stored config to its stored result, with the commands that come through the store."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib.metadata import version
from typing import Concatenate, ParamSpec, TypeVar

import torch

from wdtui.runs import forks
from wdtui.runs.memory import check_room
from wdtui.runs.retention import RetentionPolicy, Snapshot, Writer
from wdtui.runs.worker import sentence
from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Plan, from_json, to_json
from wdtui.store.checkpoints import Checkpoint
from wdtui.store.records import RunRecord
from wdtui.store.rescue import Measured
from wdtui.store.store import Claim, Command, OwnershipLostError, Report, Status, Store, StoreError
from wdtui.support.errors import DivergedError, TrainingError
from wdtui.support.text import number
from wdtui.training import trainer
from wdtui.training.devices import default_threads, hardware, resolve_device, use_device
from wdtui.training.session import Session

_POLL_SECONDS = 0.2
"""How often runs look for commands, and at most write down their points."""
_REPORT_SHARE = 0.01
"""At most this share of the time goes into writing down points: large batches write less often …"""
_REPORT_SECONDS = 10.0
"""… but never less often than this."""
_HEARTBEAT_SECONDS = 5.0
"""How often a run without points shows that it lives."""
_CHECKPOINT_SECONDS = 10.0
_CHECKPOINT_SHARE = 0.02
"""At most this share of the time goes into checkpoints: those of large networks and batches come less often."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner:
    """Trains one run of the store in the calling thread, and is its only owner from `run` until that returns.

    If another process takes the run over, which can happen only after a long silence, the runner writes nothing more
    to the store and leaves when it next polls.
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
        """Set this to a reason, in any thread or signal handler: the run stops before its next step, resumable."""
        self.begun = threading.Event()
        """Set once the store holds no points of the run beyond those that the training continues from."""
        self.paused = False
        self.lost: OwnershipLostError | None = None
        """Why the run no longer belongs to this runner."""
        self._record = record
        self._concluded = False
        self._points: list[Point] = []
        self._measured = Measured(self.config.columns)
        """All points since `begin`, in case the store is lost."""
        self._outcome = Status.DONE, ""
        self._reported_at = self.saved_at = time.monotonic()
        self.poll_commands: Callable[[], bool] = Polling([self])
        """Call it between two steps: it reports, applies commands and returns whether to go on."""

    def run(self) -> Status:
        """Claim the run, train it from its newest checkpoint or its beginning, and give it its final status.

        Raises RunBusyError if another owner has it, OwnershipLostError if another one has taken it over meanwhile, and
        StoreError if the store can no longer be written.
        """
        with contextlib.closing(Writer()) as writer:
            self.claim(writer)
            try:
                self._train_to_an_outcome()
                self.conclude()
            except StoreError:
                if not self.lost:
                    raise
        if self.lost:
            raise self.lost
        return self._outcome[0]

    # The parts of `run`, for training several runs at once

    def claim(self, writer: Writer) -> None:
        """Become the run's owner, whose checkpoints a writer writes. Raises RunBusyError and StoreError."""
        use_device(self.device)
        versions = software(self.device)
        self._claim = self.store.claim(self.run_id, device=self.device, threads=self.threads, versions=versions)
        self._checkpoints = self.store.checkpoints(self._record, self._claim)
        torch.set_num_threads(self.threads)
        self._writer = writer

    def find_start(self) -> tuple[int, int]:
        """Find where the run continues. Returns the epoch and the batch.

        Three kinds of checkpoints are not used: one beyond the next point to measure, as a power failure may take the
        store's last moments; one with another past than the plan's, which an owner may have written that was already
        superseded; and one after a damaged point, as that point must be measured again.
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
        """Continue the run in a training of its config and plan, where `find_start` says."""
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
        self._retention = RetentionPolicy(self.config, self.training, curves, run.parent_step)
        if parent:
            self._save_checkpoint("fork" if self._step == run.parent_step else "")
            self._own(self.store.add_event, self._step, "forked", {"parent": parent.id})
        elif checkpoint:
            self._own(self.store.add_event, self._step, "resumed")
        if damaged:
            self._tell_damage(damaged)
        self.begun.set()

    def apply(self, commands: Sequence[Command]) -> bool:
        """Apply the run's commands. Returns whether to go on."""
        while commands and not self.lost:
            if not self._apply(commands[0]):
                return False
            commands = self.store.commands(self.run_id)  # read again, as a pause applies those that follow
        return not self.lost

    @property
    def checkpoint_seconds(self) -> float:
        """How long the last checkpoint took to write."""
        return self._writer.seconds

    def save(self) -> None:
        """Queue a checkpoint of where the run stands for writing."""
        self._save(Snapshot.of(self.training))

    def wait_while_paused(self) -> bool:
        """Wait while paused for the command to resume or to stop. Returns whether to go on."""
        while self.paused:
            report([self])
            if not self.apply_while_paused(self.store.commands(self.run_id)):
                return False
            time.sleep(_POLL_SECONDS if self.paused else 0)
        return True

    def apply_while_paused(self, commands: Sequence[Command]) -> bool:
        """Apply commands while paused. `paused` says whether it still is. Returns False if the run must end here."""
        if self.lost:
            return False
        if self.interruption:
            return self.leave_interrupted()
        for command in commands:
            if command.kind == "resume":
                self._own(self.store.take, command)
                self._own(self.store.set_status, Status.RUNNING)
                self.training.restart_clock()
                self.paused = False
                return True
            if command.kind == "pause":
                self._own(self.store.take, command)
            elif not self._apply(command):
                return False
        return not self.lost

    def take(self, point: Point) -> None:
        """Take a measured point, with the training as it is at that point."""
        columns = self.training.columns
        if columns != self._columns and not {*columns} <= {*self._columns}:
            self._add_columns()
        stored = point.under(columns, self._columns)
        self._points.append(stored)
        self._measured.add(stored)
        for snapshot, why in self._retention.after(point, self.training):
            self._save(snapshot, why)

    @property
    def at_risk(self) -> bool:
        """Whether there are points that would be lost if a step of user code ended the process."""
        return bool(self._points) and self._record.schema.source is not None

    def report(self) -> Report | None:
        """What happened since the last report; without that, a heartbeat if one is due."""
        now = time.monotonic()
        events = [(one.step, "steered", dataclasses.asdict(one)) for one in self.training.take_steerings()]
        points, self._points = self._points, []
        if self.lost or not (points or events or now - self._reported_at > _HEARTBEAT_SECONDS):
            return None
        self._reported_at = now
        if not points:
            return Report(self._claim, events=events)
        milestones, batched = self._retention.watch.summary, self.training.batched
        return Report(self._claim, points, events, points[-1].values[-1], milestones, batched)

    def release(self) -> None:
        """Write everything that is left of the training, and release it. `begin` may take the next one."""
        if hasattr(self, "training"):
            report([self])
            del self.training
        if hasattr(self, "_retention"):  # which holds copies of it
            del self._retention
        self._writer.flush()

    def _add_columns(self) -> None:
        """The training records something that it has not recorded before."""
        report([self])
        columns = self.training.columns
        self._columns = self._own(self.store.add_columns, columns, self.training.traits) or columns
        self._measured.widen(self._columns)
        self._retention.watch_from(self.training, self.store.curves(self.run_id))

    def complete(self, diverged_at: int | None = None) -> None:
        """Note that there is nothing left to train."""
        if diverged_at:
            self._outcome = Status.DIVERGED, str(DivergedError(diverged_at))
        else:
            self._save_checkpoint()

    def fail(self, error: Exception) -> None:
        """End with an error, which PyTorch mostly raised, and write it down."""
        self._outcome = Status.FAILED, sentence(error)
        trace = getattr(error, "trace", "") or "".join(traceback.format_exception(error))
        self._own(self.store.add_event, self._step, "error", {"traceback": trace})

    def conclude(self) -> Status:
        """Write everything that is left, and the final status."""
        try:
            self.release()
            self._own(self.store.set_status, *self._outcome)
        except StoreError as error:
            raise with_rescues(error, [self.give_up(error)]) from error
        self._concluded = True
        return self._outcome[0]

    # In all of these the run belongs to this runner, or nothing is written

    def _own(self, write: Callable[Concatenate[Claim, _P], _T], *arguments: _P.args, **options: _P.kwargs) -> _T | None:
        """Write to the run as its owner. Once it has another owner, nothing is written, and None is returned."""
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
        """Whether the run was stopped before its end, or has another owner."""
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

    def _apply(self, command: Command) -> bool:
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
        """Steer. One transaction takes the command and writes the plan that follows from it, so neither can be lost."""
        try:
            self.training.steer(**command.data)
        except (ConfigError, TrainingError, TypeError) as error:
            self._own(self.store.add_event, self._step, "refused", {"reason": str(error)})
        self._own(self.store.take, command, self.training.plan)

    def leave_interrupted(self) -> bool:
        """End before the next step for the reason in `interruption`, with a checkpoint. Returns False."""
        return not self.lost and self._leave(Status.INTERRUPTED, f"{self.interruption} at step {self._step:,}.")

    def _leave(self, status: Status, reason: str) -> bool:
        self._save_checkpoint()
        self._outcome = status, f"{reason} `wdtui resume {self.run_id}` continues from there."
        return False

    def _save_checkpoint(self, why: str = "") -> None:
        """Save a checkpoint, and wait until it is on the disk."""
        self._save(Snapshot.of(self.training), why)
        self._writer.flush()

    def _save(self, snapshot: Snapshot, why: str = "") -> None:
        """Queue a checkpoint for writing. The points up to it are written first, so that none can be missing."""
        report([self])
        self._writer.put(partial(self._write, snapshot, why))
        self.saved_at = time.monotonic()

    def _write(self, snapshot: Snapshot, why: str) -> None:
        """Write the files first and then their step into the store, in the writer's thread."""
        dropped = self._own(lambda _: self._checkpoints.save(snapshot.step, snapshot.position, snapshot.tensors, why))
        if why != "blow-up":  # that one is older than the newest
            self._own(self.store.set_checkpoint, snapshot.step)
        for step, reason in (dropped or {}).items():
            room = f"checkpoints may take {self.config.keep_megabytes} MB"
            self._own(
                self.store.add_event, snapshot.step, "dropped", {"checkpoint": step, "kept for": reason, "as": room}
            )

    def give_up(self, error: StoreError) -> str:
        """Note in the store that it could not be written, if that is possible now.

        If the store is lost, the points go into a rescue file. Returns a sentence that names the file, or nothing.
        """
        with contextlib.suppress(StoreError):
            if not self._concluded:  # in a batch, some runs may have ended before
                self.store.give_up(self._claim, str(error))
            if len(self._measured) and (path := self.store.rescue(self.run_id, self._as_trained(), self._measured)):
                points = f"The {len(self._measured):,} points that run {self.run_id} measured since it began here"
                return f"{points} are in {path}, which `wdtui runs import {path}` imports."
            if not self._concluded:
                self._own(self.store.set_status, Status.INTERRUPTED, str(error))
        return ""

    def _as_trained(self) -> RunRecord:
        """The run with the plan it has by now."""
        plan = self.training.plan if hasattr(self, "training") else self._record.plan
        return self._record._replace(plan_text=json.dumps(to_json(plan)))


class Polling:
    """What runs that train together do between two steps: all report in one transaction and apply their commands."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._next_poll = self._next_report = -math.inf  # commands from before the training count at its first step

    def __call__(self) -> bool:
        """Returns whether all of them go on."""
        runners, first = self._runners, self._runners[0]
        if first.interruption:
            report(runners)
            return all([runner.leave_interrupted() for runner in runners])  # each must leave
        now = time.monotonic()
        polls = now >= self._next_poll
        if now >= self._next_report and (polls or first.at_risk):
            report(runners)
            took = time.monotonic() - now
            self._next_report = now + min(took / _REPORT_SHARE, _REPORT_SECONDS)
        if not polls:
            return True
        self._next_poll = now + _POLL_SECONDS
        due = now - max(_CHECKPOINT_SECONDS, len(runners) * first.checkpoint_seconds / _CHECKPOINT_SHARE)
        for runner in runners:
            if runner.saved_at < due:
                runner.save()
        commands = first.store.commands_to([runner.run_id for runner in runners])
        applied = [runner.apply(commands[runner.run_id]) for runner in runners if runner.run_id in commands]
        return all(applied) and not any(runner.lost for runner in runners)


def report(runners: Sequence[Runner]) -> None:
    """Write down in one transaction what runs of one store measured, and what happened to them, since the last time."""
    reports = [one for runner in runners if (one := runner.report())]
    lost = runners[0].store.report(reports) if reports else {}
    for runner in runners:
        if runner.run_id in lost:
            runner.lost = lost[runner.run_id]


def _of_plan(config: Config, checkpoint: Checkpoint, plan: Plan) -> bool:
    """Whether the steps up to a checkpoint followed the plan."""
    taken, step = from_json(config.schema(), checkpoint.position["plan"]), checkpoint.step
    return forks.before(taken, step) == forks.before(plan, step)


def with_rescues(error: StoreError, rescues: Iterable[str]) -> StoreError:
    """The error, with the sentences that say where rescue files are."""
    return type(error)(" ".join(filter(None, (str(error), *rescues))))


def software(device: str) -> dict[str, str]:
    """What decides what a run computes: the versions of the software, and of a GPU its name and its use of TF32."""
    versions = {"wdtui": _version(), "torch": torch.__version__, "python": platform.python_version()}
    return versions | hardware(device)


@cache
def _version() -> str:
    return version("wdtui")  # reads a file, which would take 2 s for a batch of 1,024
