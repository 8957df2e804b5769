"""Which moments of a run are kept as checkpoints, and the thread that writes them while training goes on."""

from __future__ import annotations

import dataclasses
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from wdtui.analysis.milestones import CRASHED, FIT, GENERALISED, RECOVERED
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves, Point

if TYPE_CHECKING:
    from torch import Tensor

    from wdtui.training.session import Session

_POINTS_BEFORE = 4
"""A blow-up is best understood from some points before its fall: so many at least, and less than twice as many."""
_MOST_BYTES = 256e6
"""Of larger networks no copies are held in memory, so that nothing is kept of the time before a blow-up."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A copy of a run between two steps, which stays as it is while training goes on."""

    step: int
    position: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, training: Session) -> Self:
        """A copy in the memory of the host."""
        return cls(training.step, training.position(), training.state()).fetched()

    @classmethod
    def on_device(cls, training: Session) -> Self:
        """A copy where the training is, which the host does not wait for."""
        return cls(training.step, training.position(), training.copied_state())

    def fetched(self) -> Self:
        """The same in the memory of the host."""
        tensors = {name: tensor.to("cpu", copy=True) for name, tensor in self.tensors.items()}
        return dataclasses.replace(self, tensors=tensors)


class Watch:
    """Sees the milestones as they come, a point at a time: the same as `milestones` finds in the whole."""

    def __init__(self) -> None:
        self._fit = self._generalised = self._well = False

    def add(self, fit: float, generalised: float) -> list[str]:
        """The milestones that a point with these values of the metrics they are judged by is."""
        seen = []
        if not self._generalised and generalised >= GENERALISED:
            self._generalised = True
            seen.append("generalised")
        if not self._fit and fit > FIT:
            self._fit = True
            seen.append("fit")
        if self._fit and fit > RECOVERED:
            self._well = True
        elif self._well and fit < CRASHED:
            self._well = False
            seen.append("blow-up")
        return seen


class RetentionPolicy:
    """Says after each point what is worth a checkpoint that stays, and why."""

    def __init__(self, config: Config, training: Session, before: Curves, fork_step: int | None) -> None:
        """`before` are the points up to where the training stands, `fork_step` is where the run leaves its parent."""
        self._config = config
        self._fork_step = fork_step
        self._watch = Watch()
        for fit, generalised in zip(*(before[name].tolist() for name in training.schema.judged), strict=True):
            self._watch.add(fit, generalised)
        self._epoch = training.epoch
        self._before = _POINTS_BEFORE * config.log_every
        """How many epochs before a blow-up the copy is to be that is kept of it."""
        self._copies: deque[Snapshot] = deque(maxlen=2)
        size = sum(tensor.numel() * tensor.element_size() for tensor in training.state().values())
        self._copying = size <= _MOST_BYTES
        if self._copying:  # on the host, as those beside it may not have been restored yet
            self._copies.append(Snapshot.of(training))

    def after(self, point: Point, training: Session) -> Iterator[tuple[Snapshot, str]]:
        """What to keep, given the point just measured and the training as it stands at that point."""
        config, last, self._epoch = self._config, self._epoch, point.epoch
        measured = dict(zip(training.columns, point.values, strict=True))
        reasons = self._watch.add(*(measured.get(name, math.nan) for name in training.schema.judged))
        if config.keep_every and point.epoch // config.keep_every > last // config.keep_every:
            reasons.append("interval")
        if point.step == self._fork_step:
            reasons.append("fork")
        if "blow-up" in reasons:
            reasons.remove("blow-up")
            latest = point.step - self._before * config.steps_per_epoch
            before = next((copy for copy in reversed(self._copies) if copy.step <= latest), None)
            if before:
                yield before.fetched(), "blow-up"
        if reasons:
            yield (
                Snapshot.of(training),
                next(why for why in ("fork", "fit", "generalised", "interval") if why in reasons),
            )
        if self._copying and point.epoch // self._before > last // self._before:
            self._copies.append(Snapshot.on_device(training))


class Writer:
    """Writes snapshots one after the other in a thread of its own; an error there is raised by the next call here."""

    def __init__(self, write: Callable[[Snapshot, str], None]) -> None:
        self.seconds = 0.0
        """What the last one took."""
        self._write = write
        self._queue: queue.Queue[tuple[Snapshot, str] | None] = queue.Queue(maxsize=1)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def put(self, snapshot: Snapshot, why: str = "") -> None:
        """Queue it for writing; blocks while one is being written and another waits."""
        self._complain()
        self._queue.put((snapshot, why))

    def flush(self) -> None:
        """Wait until all is written."""
        self._queue.join()
        self._complain()

    def close(self) -> None:
        """Write what waits and end the thread; raises nothing."""
        self._queue.put(None)
        self._thread.join()

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            began = time.monotonic()
            try:
                self._write(*item)
            except Exception as error:
                self._error = error
            self.seconds = time.monotonic() - began
            self._queue.task_done()
