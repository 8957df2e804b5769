"""The requests of the app: those of `Service`, and those that need the app's scheduler. No Textual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wdtui.runs import forks
from wdtui.runs.service import Service
from wdtui.schema.steering import steering_to
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store

if TYPE_CHECKING:
    from wdtui.runs.scheduler import Scheduler


class Controls(Service):
    """The actions of the workbench on one store. The app's scheduler trains the runs."""

    def __init__(self, store: Store, scheduler: Scheduler, *, device: str = "auto") -> None:
        super().__init__(store, scheduler, device=None if device == "auto" else device)
        self.scheduler = scheduler

    @property
    def queueing(self) -> bool:
        """Whether a sweep is being queued, in another thread."""
        if free := self.sweeping.acquire(blocking=False):
            self.sweeping.release()
        return not free

    def interrupt(self, reason: str) -> None:
        """Stop all runs of this app with a checkpoint; wait for those that are being queued, so that none is left."""
        self.scheduler.interrupt(reason)  # runs that are queued from now on become interrupted
        with self.sweeping:
            pass

    def detach(self) -> None:
        """Let all runs of this app go on without it; wait for those that are being queued."""
        with self.sweeping:
            self.scheduler.detach()

    def pause_or_resume(self, run_id: int) -> str:
        """Pause a running run, resume any other."""
        running = self.store.run(run_id).status == Status.RUNNING
        return self.pause(run_id) if running else self.resume(run_id)

    def in_force_next(self, run: RunRecord) -> dict[str, Any]:
        """The values of all fields at a live run's next point, including pending steering."""
        next_point = run.step + run.config.log_every * run.config.steps_per_epoch  # the plan is in force by then
        values = forks.in_force(run.config, run.plan, next_point)
        for command in self.store.commands(run.id):
            if command.kind == "steer":
                values |= {
                    name: steering_to(run.schema.field(name), to, next_point, values[name]).new
                    for name, to in command.data.items()
                }
        return values

    def set_slots(self, text: str) -> str:
        """Set how many runs train at once; an empty text selects the machine's default."""
        text = text.strip()
        if text and not (text.isascii() and text.isdigit() and int(text) > 0):
            return f"{text} is not a number of runs: give 1 or more, or leave it empty for the default of this machine."
        self.scheduler.slots = int(text) if text else None
        return f"{text or 'The default number of runs'} at once."
