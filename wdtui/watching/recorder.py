"""Recorder: all that a watched run has to do with the store, in a thread of its own.

The training only puts things into a queue and looks at another one, so that it never waits for the store. Where the
store cannot be written, the recorder says so once on stderr and tries again every few seconds.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wdtui.problems.declared import DeclaredConfig
from wdtui.runs.retention import MilestoneTracker
from wdtui.runs.runner import software
from wdtui.schema.curves import Point
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan, Steering, to_json
from wdtui.store import rescue
from wdtui.store.store import Command, OwnershipLostError, Status, Store, StoreError, StoreGoneError
from wdtui.support.text import clean, say
from wdtui.watching.points import Measured

_POLL_SECONDS = 0.2
"""How often points are written and commands looked for; what a watcher reads is at most this old."""
_HEARTBEAT_SECONDS = 5.0
_RETRY_SECONDS = 5.0
_MOST_WAITING = 10_000
"""Points and other things that wait for a store to be writable again; with more, recording ends."""
_LONGEST_NAME = 200
_LAST_SECONDS = 10.0
"""How long the end of a script waits for the store."""


class Recorder:
    """The owner of one watched run in the store. All methods return at once, but for `close`."""

    def __init__(self, folder: Path | None, config: DeclaredConfig, *, name: str, device: str, threads: int) -> None:
        """Add the run and claim it. Where the store cannot be written, say so; nothing is recorded then."""
        self.commands: deque[Command] = deque()
        """The commands sent to the run that the training has not applied."""
        self.run_id: int | None = None
        self._queue: queue.SimpleQueue[Callable[[], None] | Measured | None] = queue.SimpleQueue()
        """To be written, in order; None ends it. A SimpleQueue, as a garbage collection may put something into it."""
        self._waiting: deque[Callable[[], None] | Measured] = deque()
        self._pid = os.getpid()
        self._schema: Schema = config.declared
        self.lost = False
        """Whether nothing is recorded any more."""
        self.open: Measured | None = None
        """The point that the training may still add to; it is written when the run ends."""
        self._said = self._closing = False
        self._seen_command = -1
        self._heartbeat_at = time.monotonic()
        try:
            self._store = Store(folder)
            self.run_id = self._store.add_run(config, name=clean(name)[:_LONGEST_NAME])
            self._claim = self._store.claim(self.run_id, device=device, threads=threads, versions=software(device))
            self._record = self._store.run(self.run_id)
            self._checkpoints = self._store.checkpoints(self._record, self._claim)
        except StoreError as error:
            say(f"{error} The training goes on, and nothing of it is recorded.")
            self.lost = True
            return
        self._columns = config.columns
        self._tracker: MilestoneTracker | None = None
        self._latest: dict[str, float] = {}
        """The newest value of each metric that not every point has."""
        self._measured = rescue.Measured(self._columns)
        """All points, should the store be lost."""
        say(f"watching run {self.run_id}{f' ({clean(name)})' if clean(name) else ''}. `wdtui` shows it.")
        self._thread = threading.Thread(target=self._run, name=f"wdtui-run-{self.run_id}", daemon=True)
        self._thread.start()

    # What the training asks for

    def point(self, measured: Measured) -> None:
        """A point to which nothing will be added any more."""
        self.open = None
        self._put(measured)

    def event(self, step: int, kind: str, data: Mapping[str, Any]) -> None:
        self._put(lambda: self._store.add_event(self._claim, step, kind, data))

    def steered(self, steering: Steering) -> None:
        self.event(steering.step, "steered", dataclasses.asdict(steering))

    def taken(self, command: Command, plan: Plan | None = None) -> None:
        """Note that a command was applied, and the plan that follows from it if it steers."""
        self._put(lambda: self._take(command, plan))

    def status(self, status: Status) -> None:
        self._put(lambda: self._store.set_status(self._claim, status))

    def checkpoint(self, step: int, position: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self._put(lambda: self._save(step, position, tensors))

    def close(self, status: Status, reason: str = "") -> None:
        """Write what is left and how the run ended; waits for the store, for ten seconds at most."""
        if self.lost or self._closing or os.getpid() != self._pid:  # a forked process has no thread
            return
        if self.open:
            self._put(self.open)
        self._put(lambda: self._store.set_status(self._claim, status, reason))
        self._closing = True
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(_LAST_SECONDS)
            if self._thread.is_alive():
                say(f"the store does not answer, so the end of run {self.run_id} may be missing in it.")

    def _put(self, item: Callable[[], None] | Measured) -> None:
        if not (self.lost or self._closing):
            self._queue.put(item)

    # In the thread

    def _run(self) -> None:
        try:
            going_on, wait = True, _POLL_SECONDS
            while going_on and not self.lost:
                going_on = self._gather(wait)
                wait = _POLL_SECONDS if self._written() else _RETRY_SECONDS
            deadline = time.monotonic() + _LAST_SECONDS / 2
            while self._waiting and not self.lost and time.monotonic() < deadline:
                time.sleep(min(wait, 1))
                self._written()
            self._leave()
        except Exception as error:  # a fault of wdtui's is no reason for the training to end
            self._lose(f"{type(error).__name__}: {error}.")

    def _written(self) -> bool:
        """Write what waits and look for commands; returns whether the store could be used."""
        try:
            self._write()
            self._listen()
        except StoreError as error:
            self._failed(error)
            return False
        return True

    def _gather(self, seconds: float) -> bool:
        """Collect what comes within some time. Returns False, at once, where that is the last."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if item is None:
                return False
            self._waiting.append(item)
        return True

    def _write(self) -> None:
        """Write all that waits, in order, and forget each thing once it is written."""
        while self._waiting:
            if isinstance(self._waiting[0], Measured):
                self._append(self._first_points())
            else:
                self._waiting[0]()
                self._waiting.popleft()

    def _first_points(self) -> list[Measured]:
        """The points that wait before anything else does."""
        points: list[Measured] = []
        for item in self._waiting:
            if not isinstance(item, Measured):
                break
            points.append(item)
        return points

    def _append(self, measured: list[Measured]) -> None:
        fetched = [one.fetch() for one in measured]
        names = dict.fromkeys(name for values in fetched for name in values)
        if new := [name for name in names if name not in self._columns]:
            traits = {name: of_name for one in measured for name, of_name in one.traits.items()}
            self._columns = self._store.add_columns(self._claim, new, traits)
            self._schema = self._schema.recording(self._columns, traits)
            self._measured.widen(self._columns)
            self._tracker = None
        *columns, _ = self._columns
        points = [
            Point(one.step, one.step, (*(values.get(name, math.nan) for name in columns), one.speed))
            for one, values in zip(measured, fetched, strict=True)
        ]
        judged = self._schema.judged
        if self._tracker is None:
            self._tracker = MilestoneTracker.of(self._store.curves(self._claim.run_id), judged)
        tracker = copy.copy(self._tracker)  # as it is only once the points are written
        for point in points:
            values = dict(zip(self._columns, point.values, strict=True))
            tracker.add(point.step, *(values.get(name, math.nan) for name in judged))
            self._latest |= {
                name: value for name, value in values.items() if math.isfinite(value) and self._is_sparse(name)
            }
        self._store.append(
            self._claim, points, speed=points[-1].values[-1], milestones=tracker.summary, latest=self._latest
        )
        self._tracker = tracker
        for point in points:
            self._measured.add(point)
            self._waiting.popleft()

    def _is_sparse(self, name: str) -> bool:
        metric = self._schema.metrics.get(name)
        return metric is not None and bool(metric.every)

    def _take(self, command: Command, plan: Plan | None) -> None:
        self._store.take(self._claim, command, plan)
        if plan is not None:
            self._record = self._record._replace(plan_text=json.dumps(to_json(plan)))

    def _save(self, step: int, position: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self._checkpoints.save(step, position, tensors, "request")
        self._store.set_checkpoint(self._claim, step)

    def _listen(self) -> None:
        """Say that the owner lives, and look for commands."""
        if time.monotonic() - self._heartbeat_at > _HEARTBEAT_SECONDS:
            self._store.heartbeat(self._claim)
            self._heartbeat_at = time.monotonic()
        for command in self._store.commands(self._claim.run_id):
            if command.id > self._seen_command:
                self._seen_command = command.id
                self.commands.append(command)

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, (OwnershipLostError, StoreGoneError)) or len(self._waiting) > _MOST_WAITING:
            self._lose(" ".join(filter(None, (str(error), self._rescued()))))
        elif not (self._said or self._closing):
            self._said = True
            say(f"{error} The training goes on, and wdtui tries again every {_RETRY_SECONDS:g} seconds.")

    def _rescued(self) -> str:
        """Where the points are if the store is lost, in a sentence; empty if it is not, or if there are none."""
        with contextlib.suppress(StoreError):
            run_id = self._claim.run_id
            if len(self._measured) and (path := self._store.rescue(run_id, self._record, self._measured)):
                return f"Its points so far are in {path}, which `wdtui runs import {path}` imports."
        return ""

    def _lose(self, why: str) -> None:
        self.lost = True
        self.commands.append(Command(-1, -1, 0.0, "resume", {}))  # nobody else could resume a paused training
        say(f"{why} The training goes on, and nothing more of it is recorded.")

    def _leave(self) -> None:
        if self._waiting and not self.lost:
            say(f"the store cannot be written, so the end of run {self.run_id} is missing in it.")
        self._store.close()
