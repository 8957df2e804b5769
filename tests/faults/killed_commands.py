"""Commands of wdtui, and the training processes that they start, in forked processes that are killed now and then.

What a command starts to train is forked too, as importing PyTorch anew would take two seconds each time: by a server
that the command forks before it has a thread or a store, since nothing else can be taken along safely.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fault_tools import Prepare, dying_in_a_checkpoint, dying_in_a_commit, ended, forked, train_hastily
from forked import MOST_BYTES, ask, start_module

from wdtui.runs import child
from wdtui.support import environment

_KILLED = -signal.SIGKILL, -signal.SIGALRM
_PATIENCE_SECONDS = 60.0
_START_MODULE = environment.start_module
"""As it is before any test changes it."""


class Scene:
    """A folder with a store, and the processes at work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.commands_killed = 0
        self._journal = folder / "journal"
        self._to_die = folder / "to-die"
        folder.mkdir(parents=True, exist_ok=True)
        self._journal.touch()

    def perform(self, work: Callable[[], int], moment: str = "") -> int:
        """Do some work in a process, and return its exit status; processes that it has started may outlive it.

        With a moment one process is killed: "training" means any of them within half a second or so, "checkpoint" and
        "commit" the one that first comes to the nth file of a checkpoint or to its nth commit, if one does.
        """
        prepare: Prepare = lambda: None  # noqa: E731
        self._to_die.touch()
        if moment == "checkpoint":
            prepare = dying_in_a_checkpoint(random.randint(1, 12), self._first_to_die)
        elif moment == "commit":
            prepare = dying_in_a_commit(random.randint(1, 40), self._first_to_die)
        asked, asking = os.pipe()
        pid = forked(partial(self._perform, work, prepare, asking))
        os.close(asking)
        if moment == "training":
            time.sleep(random.random() * 0.4)
            self._kill_one(pid)
        code = ended(pid)
        os.read(asked, 1)  # ends when all processes that the command has asked for are written down
        os.close(asked)
        self.commands_killed += code in _KILLED
        return code

    @property
    def deaths(self) -> int:
        """How many processes have been killed so far, commands included."""
        return self.commands_killed + sum(code in _KILLED for code in self._processes().values())

    def at_work(self) -> set[int]:
        """The training processes that have not ended."""
        return {pid for pid, code in self._processes().items() if code is None}

    def settle(self) -> None:
        """Wait until no process is at work any more."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.at_work():
            assert time.monotonic() < deadline, f"{self.at_work()} are at work still"
            time.sleep(0.01)

    def said(self) -> str:
        """All that the commands have printed."""
        return (self.folder / "output").read_text(errors="replace")

    # In this process

    def _processes(self) -> dict[int, int | None]:
        """The training processes so far, each with its exit status once it has ended."""
        words = [list(map(int, line.split())) for line in self._journal.read_text().splitlines()]
        return {pid: code[0] if code else None for pid, *code in words}

    def _kill_one(self, command: int) -> None:
        alive = list(self.at_work())
        if os.waitid(os.P_PID, command, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            alive.append(command)
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(random.choice(alive), signal.SIGKILL)

    # In the process of the command

    def _perform(self, work: Callable[[], int], prepare: Prepare, asking: int) -> None:
        said = os.open(self.folder / "output", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        _take_over(os.open(os.devnull, os.O_RDONLY), said, said)
        train_hastily()
        prepare()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        forked(partial(self._serve, ours, theirs, asking))
        theirs.close()
        ask(ours)
        environment.start_module = _started
        os._exit(work())

    def _first_to_die(self) -> bool:
        """Whether of all processes that might die this one is the first."""
        try:
            self._to_die.unlink()
        except FileNotFoundError:
            return False
        return True

    # In the server

    def _serve(self, ours: socket.socket, theirs: socket.socket, asking: int) -> None:
        """Fork a training process for each message, until the command is gone."""
        ours.close()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            message, pipes, _, _ = socket.recv_fds(theirs, MOST_BYTES, 4)
            if not message:
                return
            forked(partial(self._watch, json.loads(message)["arguments"], asking, *pipes))
            for pipe in pipes:
                os.close(pipe)

    def _watch(self, arguments: list[str], asking: int, stdin: int, stdout: int, stderr: int, told: int) -> None:
        """Fork the training process; tell its id, and how it has ended."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pid = forked(partial(self._train, arguments, asking, stdin, stdout, stderr, told))
        for pipe in (asking, stdin, stdout, stderr):
            os.close(pipe)
        with contextlib.suppress(BrokenPipeError):
            os.write(told, f"{pid}\n".encode())
        code = ended(pid)
        self._write_down(pid, code)
        with contextlib.suppress(BrokenPipeError):
            os.write(told, f"{code}\n".encode())

    def _train(self, arguments: list[str], asking: int, stdin: int, stdout: int, stderr: int, told: int) -> None:
        os.setsid()
        self._write_down(os.getpid())
        os.close(asking)
        _take_over(stdin, stdout, stderr)
        os.close(told)
        os._exit(child.main(arguments))

    def _write_down(self, *numbers: int) -> None:
        with open(self._journal, "a") as journal:
            journal.write(f"{' '.join(map(str, numbers))}\n")


def _started(module: str, arguments: Sequence[str] = (), **options: Any) -> Any:
    """Stands in for `environment.start_module`: what trains is forked, and may be killed."""
    start = start_module if module == child.__name__ else _START_MODULE
    return start(module, arguments, **options)


def _take_over(*standard: int) -> None:
    """Make these this process's stdin, stdout and stderr."""
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    for descriptor in {*standard}:
        os.close(descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
