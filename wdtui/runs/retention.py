"""Which moments of a run are kept as checkpoints, and the thread that writes them while training continues."""

from __future__ import annotations

import dataclasses
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from wdtui.analysis.milestones import CRASHED, FIT, GENERALISED, RECOVERED, Milestones
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves, Point
from wdtui.schema.schema import Judged

if TYPE_CHECKING:
    from torch import Tensor

    from wdtui.training.session import Session

_POINTS_BEFORE = 4
"""A checkpoint before a blow-up lies at least this many points before the fall, and less than twice as many."""
_MOST_BYTES = 256e6
"""Larger networks are not copied in memory, so nothing is kept of the time before a blow-up."""


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


class MilestoneTracker:
    """Finds the milestones of a run point by point: the same as `milestones` finds in all its curves."""

    def __init__(self) -> None:
        self._fit_step: int | None = None
        self._generalise_step: int | None = None
        self._blowup_steps: tuple[int, ...] = ()
        self._well = False
        self._summary: dict[str, Any] | None = None

    @classmethod
    def of(cls, curves: Curves, judged: Judged) -> Self:
        """The milestones in some points, by the metrics that decide them."""
        tracker = cls()
        for values in zip(curves.steps.tolist(), *(curves[name].tolist() for name in judged), strict=True):
            tracker.add(*values)
        return tracker

    def add(self, step: int, fit: float, generalised: float, stable: float) -> list[str]:
        """Which milestones the next point is, by its values of the metrics that decide them."""
        seen = []
        if self._generalise_step is None and generalised >= GENERALISED:
            self._generalise_step = step
            seen.append("generalised")
        if self._fit_step is None and fit > FIT:
            self._fit_step = step
            seen.append("fit")
        if self._fit_step is not None and stable > RECOVERED:
            self._well = True
        elif self._well and stable < CRASHED:
            self._well = False
            self._blowup_steps += (step,)
            seen.append("blow-up")
        if seen:
            self._summary = None
        return seen

    @property
    def summary(self) -> dict[str, Any]:
        """The milestones so far, as `Milestones.to_json` writes them."""
        if self._summary is None:
            self._summary = Milestones(self._fit_step, self._generalise_step, self._blowup_steps).to_json()
        return self._summary


class RetentionPolicy:
    """Decides after each point which checkpoints to keep, and why."""

    def __init__(self, config: Config, training: Session, before: Curves, fork_step: int | None) -> None:
        """`before` are the points up to where the training stands; at `fork_step` the run leaves its parent."""
        self._config = config
        self._fork_step = fork_step
        self.watch_from(training, before)
        self._epoch = training.epoch
        self._before = _POINTS_BEFORE * config.log_every
        """How many epochs before a blow-up its copy lies, at least."""
        self._copies: deque[Snapshot] = deque(maxlen=2)
        size = sum(tensor.numel() * tensor.element_size() for tensor in training.state().values())
        self._copying = size <= _MOST_BYTES
        if self._copying:  # on the host, as those beside it may not have been restored yet
            self._copies.append(Snapshot.of(training))

    def watch_from(self, training: Session, before: Curves) -> None:
        """Find the milestones in the points before, by the metrics that the training is judged by now."""
        self.watch = MilestoneTracker.of(before, training.schema.judged)

    def after(self, point: Point, training: Session) -> Iterator[tuple[Snapshot, str]]:
        """What to keep, given the point just measured and the training at that point."""
        config, last, self._epoch = self._config, self._epoch, point.epoch
        reasons = self.watch.add(point.step, *_judged(training, point))
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


def _judged(training: Session, point: Point) -> Iterator[float]:
    """The values of a point by which the training is judged, NaN where it does not record one."""
    columns = training.columns
    return (point.values[columns.index(name)] if name in columns else math.nan for name in training.schema.judged)


class Writer:
    """Does jobs one after the other in a thread of its own, such as writing checkpoints. An error there is raised by
    the next call here."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """How long the last job took."""
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=1)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Queue a job. This blocks while one is done and another waits."""
        self._complain()
        self._queue.put(job)

    def flush(self) -> None:
        """Wait until all jobs are done."""
        self._queue.join()
        self._complain()

    def close(self) -> None:
        """Do the jobs that wait, and end the thread. Raises nothing."""
        self._queue.put(None)
        self._thread.join()

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            began = time.monotonic()
            try:
                job()
            except Exception as error:
                self._error = error
            self.seconds = time.monotonic() - began
            self._queue.task_done()
