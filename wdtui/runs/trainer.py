"""Processes that train: how they are started, given one run after another, and told to stop.

Importing PyTorch takes two seconds, longer than many a run; so a process that has trained one may train the next. Its
parent writes a line for each run to its stdin and reads the exit status from its stdout; when the parent is gone, stdin
ends, and the process with it, once the run under way is trained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from wdtui.store.paths import log_path
from wdtui.support import private


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Runs to train, side by side where there are several, on a device, with so many threads or as suits them."""

    run_ids: tuple[int, ...]
    device: str
    threads: int | None


class Trainer:
    """A process of its own session, so that neither Ctrl-C nor a closed terminal reaches it, for one run at a time."""

    def __init__(self, folder: Path, log: Path) -> None:
        """Start it for the store in a folder; raises OSError. What goes wrong before its first run is in the log."""
        self._process = _start([str(folder)], log, pipe=subprocess.PIPE)
        self.pid = self._process.pid

    def begin(self, job: Job) -> None:
        """Start training a run; `outcome` must have returned for the one before."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has died, as `outcome` will tell
            self._process.stdin.write(f"{_words(job.run_ids)} {job.device} {job.threads or ''}\n".encode())
            self._process.stdin.flush()

    def outcome(self) -> int:
        """Wait for the end of the run; an exit status as `wdtui.runs.worker` defines them, or the dead process's."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.strip().isdigit():
                return int(line)
        return self._process.wait()

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def terminate(self) -> None:
        """Stop its run with a checkpoint, and end the process."""
        self._process.terminate()

    def dismiss(self) -> None:
        """Let it end, as there is nothing more to train; returns at once."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        reap(self._process)


def start_process(
    folder: Path,
    groups: Sequence[tuple[int, ...]],
    *,
    device: str,
    threads: int | None,
    after: Iterable[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that trains groups of runs of the store in a folder one after the other; raises OSError.

    It needs no parent, and writes to the log of its first run. It begins once one of the processes `after` has ended.
    """
    options = ["--device", device]
    options += ["--threads", str(threads)] if threads else []
    options += [word for pid in after for word in ("--after", str(pid))]
    log = log_path(folder, groups[0][0])
    return _start([str(folder), *map(_words, groups), *options], log, pipe=subprocess.DEVNULL)


def read_group(text: str) -> tuple[int, ...]:
    """Read runs that are trained side by side, as 3 or 3,4,5."""
    return tuple(map(int, text.split(",")))


def _words(run_ids: tuple[int, ...]) -> str:
    return ",".join(map(str, run_ids))


def reap(process: subprocess.Popen[bytes]) -> None:
    """Keep a process that nobody watches from staying as a zombie for as long as this one lives."""
    threading.Thread(target=process.wait, name=f"reap {process.pid}", daemon=True).start()


# In the process


def take_over_stdout() -> IO[bytes]:
    """The pipe to the parent, for answers alone: whatever else is printed goes to the log."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def jobs_from_stdin(folder: Path) -> Iterator[Job]:
    """The runs that the parent asks for; before each, the log is changed to the run's."""
    for line in sys.stdin:
        runs, device, *threads = line.split()
        run_ids = read_group(runs)
        with _opened_log(log_path(folder, run_ids[0])) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        yield Job(run_ids, device, int(threads[0]) if threads else None)


def answer(answers: IO[bytes], code: int) -> bool:
    """Tell the parent how a run ended; returns whether there still is a parent."""
    try:
        answers.write(f"{code}\n".encode())
        answers.flush()
    except BrokenPipeError:
        return False
    return True


def _start(arguments: Sequence[str], log: Path, *, pipe: int) -> subprocess.Popen[bytes]:
    # -P and PYTHONPATH: it must import what this process would, not what lies in the folder it happens to be run in
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    with _opened_log(log) as errors:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "wdtui.runs.child", *arguments],
            env=os.environ | {"PYTHONPATH": path},
            stdin=pipe,
            stdout=subprocess.PIPE if pipe == subprocess.PIPE else errors,
            stderr=errors,
            start_new_session=True,
        )


def _opened_log(path: Path) -> IO[bytes]:
    shared = private.is_shared(path.parent.parent)
    private.make_folder(path.parent, shared)
    return private.opened(path, "ab", shared)
