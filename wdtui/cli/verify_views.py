"""Views of the training in `wdtui experiments verify`, on stderr: a bar, or plain lines without a terminal."""

from __future__ import annotations

import sys
import time
from typing import Protocol, Self

from rich.progress import TaskID

from wdtui.cli.views import Bar, Unframed
from wdtui.runs.trained import Progress
from wdtui.support.text import clean, duration, number

_PLAIN_SECONDS = 5.0


class VerifyView(Protocol):
    """Protocol of the view of a verification: `say` prints an event, `advance` shows the progress."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def say(self, line: str) -> None: ...
    def advance(self, progress: Progress) -> None: ...


def choose_view(experiment: str) -> VerifyView:
    return ProgressView(experiment) if sys.stderr.isatty() else PlainView()


class PlainView(Unframed):
    """A line for each event, and one every few seconds for the progress."""

    def __init__(self) -> None:
        self._written = -_PLAIN_SECONDS

    def say(self, line: str) -> None:
        print(clean(line), file=sys.stderr, flush=True)

    def advance(self, progress: Progress) -> None:
        if time.monotonic() - self._written >= _PLAIN_SECONDS:
            self._written = time.monotonic()
            self.say(progress_line(progress))


class ProgressView(Bar):
    """A progress bar below a line for each event."""

    def __init__(self, experiment: str) -> None:
        super().__init__()
        self._experiment = experiment
        self._shown: TaskID | None = None

    def say(self, line: str) -> None:
        self._progress.console.print(clean(line), markup=False, highlight=False)

    def advance(self, progress: Progress) -> None:
        if self._shown is None:
            self._shown = self._progress.add_task(self._experiment, total=progress.all_steps, state="")
        state = progress_line(progress) if progress.seconds else "starting PyTorch"
        self._progress.update(self._shown, completed=progress.steps, state=state)


def progress_line(progress: Progress) -> str:
    """The progress of a verification: runs, steps, and the time left once the speed is known."""
    runs = f"{number(progress.finished)}/{number(progress.runs)} runs done"
    steps = f"{number(progress.steps)}/{number(progress.all_steps)} steps"
    speed = progress.speed
    left = [f"{number(round(speed))} steps/s  {duration(progress.seconds_left)} left"] if speed else []
    return "  ".join([runs, steps, *left])
