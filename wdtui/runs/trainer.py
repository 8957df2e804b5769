"""Processes that train: how they start, get one run after another, and stop.

Importing PyTorch takes two seconds, longer than many runs, so a process that has trained one run can train the next.
Its parent writes a line for each run to its stdin and reads the exit status from its stdout. When the parent has ended,
stdin ends, and so does the process once its run has ended; one that is bound to its parent interrupts the run.

A process sees the environment of its parent. So CUDA_VISIBLE_DEVICES applies to it as well, and cuda:1 is the same GPU
in both.
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
from typing import IO, NoReturn

from wdtui.support import environment, private
from wdtui.support.store_files import log_path

_MODULE = "wdtui.runs.child"


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Runs to train, as a batch if there are several, on a device. `threads` is None for as many as suit them."""

    run_ids: tuple[int, ...]
    device: str
    threads: int | None


class Trainer:
    """A process that trains one run or batch at a time, in its own session: Ctrl-C and a closed terminal spare it."""

    def __init__(self, folder: Path, log: Path, *, bound: bool = False, background: bool = False) -> None:
        """Start it for the store in a folder. Raises OSError. Its log holds what goes wrong before its first run.

        If it is `bound`, it interrupts its run once this process has ended. In the `background` it gives way to others.
        """
        self.device = ""
        """Where it has trained, and may still hold memory."""
        options = ["--bound"] * bound + ["--background"] * background
        self._process = _start([str(folder), *options], log, pipe=subprocess.PIPE)
        self.pid = self._process.pid

    def begin(self, job: Job) -> None:
        """Start training a run. `answer` must have returned for the run before."""
        self.device = job.device
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has died, and `exit_status` says how
            self._process.stdin.write(f"{_words(job.run_ids)} {job.device} {job.threads or ''}\n".encode())
            self._process.stdin.flush()

    def answer(self) -> int | None:
        """Wait until the run ends. Returns an exit status of `wdtui.runs.worker`; None where the process has died."""
        assert self._process.stdout
        return next((int(line) for line in self._process.stdout if line.strip().isdigit()), None)

    def exit_status(self) -> int:
        """Wait until the process ends. Returns its exit status, or minus the signal that ended it."""
        return self._process.wait()

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def terminate(self) -> None:
        """Stop its run with a checkpoint, and end the process."""
        self._process.terminate()

    def dismiss(self) -> None:
        """Let it end, as there is nothing more to train. Returns at once."""
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
    """Start a process that trains groups of runs of the store in a folder, one after the other. Raises OSError.

    It needs no parent and writes to the log of its first run. It begins when one of the processes `after` has ended.
    """
    return _start(
        [str(folder), *_arguments(groups, device, threads, after)],
        log_path(folder, groups[0][0]),
        pipe=subprocess.DEVNULL,
    )


def _arguments(
    groups: Sequence[tuple[int, ...]], device: str, threads: int | None, after: Iterable[int] = ()
) -> list[str]:
    options = ["--device", device]
    options += ["--threads", str(threads)] if threads else []
    options += [word for pid in after for word in ("--after", str(pid))]
    return [*map(_words, groups), *options]


def read_group(text: str) -> tuple[int, ...]:
    """Read the runs of a batch, written as 3 or 3,4,5."""
    return tuple(map(int, text.split(",")))


def _words(run_ids: tuple[int, ...]) -> str:
    return ",".join(map(str, run_ids))


def reap(process: subprocess.Popen[bytes]) -> None:
    """Wait in a thread for a process that nobody watches, so that it does not stay as a zombie."""
    threading.Thread(target=process.wait, name=f"reap {process.pid}", daemon=True).start()


# In the process


def take_over_stdout() -> IO[bytes]:
    """The pipe to the parent, which carries only answers. Everything else that is printed goes to the log."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def start_anew(
    folder: Path, groups: Sequence[tuple[int, ...]], job: Job, answers: IO[bytes] | None, *, bound: bool = False
) -> NoReturn:
    """Replace this process by a fresh one of the same id that trains the groups left, or waits for more jobs.

    A CUDA error leaves a process without the GPU until it ends. The new one keeps the pipes, the log and the runs that
    the store has in its name. `job` is the last job, whose device and threads the groups share.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if answers:
        os.dup2(answers.fileno(), 1)
    arguments = _arguments(groups, job.device, job.threads) if groups else ["--bound"] if bound else []
    os.execv(sys.executable, environment.command_of(_MODULE, [str(folder), *arguments]))


def jobs_from_stdin(folder: Path) -> Iterator[Job]:
    """The jobs that the parent sends. Before each, the log becomes that of the job's first run."""
    for line in sys.stdin:
        runs, device, *threads = line.split()
        run_ids = read_group(runs)
        with _opened_log(log_path(folder, run_ids[0])) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        yield Job(run_ids, device, int(threads[0]) if threads else None)


def answer(answers: IO[bytes], code: int) -> bool:
    """Tell the parent how a run ended. Returns whether the parent still exists."""
    try:
        answers.write(f"{code}\n".encode())
        answers.flush()
    except BrokenPipeError:
        return False
    return True


def _start(arguments: Sequence[str], log: Path, *, pipe: int) -> subprocess.Popen[bytes]:
    with _opened_log(log) as errors:
        answers = subprocess.PIPE if pipe == subprocess.PIPE else errors
        return environment.start_module(
            _MODULE, arguments, stdin=pipe, stdout=answers, stderr=errors, start_new_session=True
        )


def _opened_log(path: Path) -> IO[bytes]:
    shared = private.is_shared(path.parent.parent)
    private.make_folder(path.parent, shared)
    return private.opened(path, "ab", shared)
