"""`python -m wdtui.runs.child STORE RUN…`: train runs of a store one after the other, in a process of their own.

Without runs, its parent says what to train, through `wdtui.runs.trainer`, until nothing is left. The store holds the
results and, if possible, the errors. Errors also go to stderr, which is a log. SIGTERM, SIGINT, SIGUSR1 and SIGUSR2
stop the run with a checkpoint, and the runs that follow do not begin. After a run that failed on a GPU, the process
replaces itself by a fresh one, since a CUDA error would fail every later run too.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from wdtui.runs.trainer import Job, answer, jobs_from_stdin, read_group, start_anew, take_over_stdout
from wdtui.runs.worker import BUSY, SIGNALS, STORE_FAILED, sentence
from wdtui.store.store import RunBusyError, RunStoppedError, Status, Store, StoreError
from wdtui.support.priority import give_way

if TYPE_CHECKING:
    from wdtui.runs.group import Group
    from wdtui.runs.runner import Runner

_LOOK_SECONDS = 0.5


class _Interruption:
    """A signal stops the runner with a checkpoint. Without a runner there is nothing to save, and the process exits."""

    def __init__(self, *, awaited: bool) -> None:
        """`awaited` says that a parent waits for answers. They and the store tell it how runs ended."""
        self.reason = ""
        self.code = 0
        """The exit status after a signal: 128 + its number, as in shells, or 0 for a parent that waits for answers."""
        self._awaited = awaited
        self.runner: Runner | Group | None = None
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.code = 0 if self._awaited else 128 + number
        self.interrupt(SIGNALS[signal.Signals(number)])
        if self.runner is None:
            sys.exit(self.code)

    def interrupt(self, reason: str) -> None:
        """Stop the runner, or the one that is about to train, with a checkpoint."""
        self.reason = reason
        if self.runner:
            self.runner.interruption = reason


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the runs. Returns the exit status of the last one tried, as `wdtui.runs.worker` defines them.

    After a signal it is 128 + the signal's number.
    """
    options = _parser().parse_args(arguments)
    interruption = _Interruption(awaited=not options.runs)
    if options.background:
        give_way()
    code = 0
    _wait_for_one(options.after)
    jobs = [Job(run_ids, options.device, options.threads) for run_ids in options.runs]
    answers = None if jobs else take_over_stdout()
    if options.bound:
        threading.Thread(target=_leave_with_the_parent, args=[interruption], daemon=True).start()
    with Store(options.store) as store:
        for number, job in enumerate(jobs or jobs_from_stdin(store.folder), start=1):
            code = _train(store, job, interruption)
            if interruption.reason or (answers and not answer(answers, code)):  # without a parent, nothing more comes
                break
            if (answers or jobs[number:]) and _may_have_lost_the_gpu(store, job):
                left = [later.run_ids for later in jobs[number:]]
                start_anew(store.folder, left, job, answers, bound=options.bound)
    return interruption.code or code


def _leave_with_the_parent(interruption: _Interruption) -> None:
    """Wait until nobody can write to stdin any more, without reading it."""
    hung_up = select.poll()
    hung_up.register(0, select.POLLHUP)
    hung_up.poll()
    interruption.interrupt("The process that had started it ended")


def _may_have_lost_the_gpu(store: Store, job: Job) -> bool:
    """Whether a run failed while this process used CUDA; what the error means for later runs cannot be known."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    with contextlib.suppress(StoreError):  # one may have been deleted
        return any(store.run(run_id).status == Status.FAILED for run_id in job.run_ids)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m wdtui.runs.child", description=__doc__)
    parser.add_argument("store", type=Path, help="the folder of the store")
    parser.add_argument(
        "runs", type=read_group, nargs="*", metavar="RUN[,RUN…]", help="runs that the store holds; a group is one batch"
    )
    parser.add_argument("--bound", action="store_true", help="interrupt the run when the parent has ended")
    parser.add_argument("--background", action="store_true", help="give way to other programs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--after", type=int, action="append", default=[], metavar="PID", help="begin when one of these has ended"
    )
    return parser


def _train(store: Store, job: Job, interruption: _Interruption) -> int:
    """Train one run or batch. Returns an exit status. Raises StoreError if a failure cannot be stored."""
    try:
        from wdtui.runs.group import runner_of  # here, because it imports torch, which takes seconds and may fail

        runner = runner_of(store, job.run_ids, device=job.device, threads=job.threads)
        interruption.runner = runner
        if not interruption.reason:
            runner.run()
    except RunStoppedError:
        return 0
    except StoreError as error:
        print(error, file=sys.stderr, flush=True)
        return BUSY if isinstance(error, RunBusyError) else STORE_FAILED
    except Exception as error:
        traceback.print_exc()
        for run_id in job.run_ids:
            store.transition(run_id, Status.FAILED, sentence(error))
    finally:
        interruption.runner = None
    return 0


def _wait_for_one(pids: Sequence[int]) -> None:
    """Return when one of the processes has ended: two runs at once on the same cores take longer than in turn."""
    import psutil

    try:
        processes = [psutil.Process(pid) for pid in pids]
        while processes and all(map(_runs, processes)):
            time.sleep(_LOOK_SECONDS)
    except psutil.NoSuchProcess:
        return


def _runs(process: Any) -> bool:
    import psutil

    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


if __name__ == "__main__":
    sys.exit(main())
