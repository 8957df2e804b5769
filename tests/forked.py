"""Runs `python -m MODULE` in processes that are forked from one that has imported PyTorch.

A fresh process takes two seconds to import it, a forked one a hundredth of that. What is forked is otherwise like a
process of its own: its id, session, signals, folder, environment, streams, and what happens at its end. It differs in
that its modules are imported already, and in that it is no child of the process that asks for it.

    python forked.py ASKING ANSWERING

is the server, with the numbers of a pair of sockets. It forks a process for each message, and what it has forked can
ask it too. It ends with the process that has started it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from typing import IO, Any

from wdtui.support import environment
from wdtui.support.environment import own_environment

POSSIBLE = sys.platform == "linux"
_ENVIRONMENT = own_environment() | {"OMP_NUM_THREADS": "1"}
"""As it is before any test changes it, but for PyTorch's threads: conftest.py says why."""
MOST_BYTES = 1 << 20
"""The most that a message to a server has."""
_IMPORTED = (
    "torch._dynamo",
    "wdtui.cli.root",
    "wdtui.cli.headless",
    "wdtui.cli.sweep_views",
    "wdtui.cli.verify_views",
    "wdtui.problems.describe",
    "wdtui.runs.group",
    "wdtui.training.declared",
    "wdtui.tui.app",
)
"""What brings the modules along that take long; optimizers import the first."""


_statuses: dict[int, list[int]] = {}
"""Of each process that this one has asked for its exit status, once it has ended."""


def kill_all() -> None:
    """Kill what this process has asked for and what has not ended."""
    for pid, status in _statuses.items():
        _kill(pid, status, signal.SIGKILL)
    _statuses.clear()


def _kill(pid: int, status: list[int], number: int) -> None:
    if not status:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _note_end(told: IO[str], status: list[int]) -> None:
    with told:
        status.append(int(told.readline()))


class Process:
    """A forked process, with what tests and the program use of `subprocess.Popen`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        env: dict[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        self.args = [module, *arguments]
        self._text = text
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        theirs = []
        for name, given in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
            if given == subprocess.PIPE:
                ends = os.pipe()
                ours, their = ends[::-1] if name == "stdin" else ends
                setattr(self, name, os.fdopen(ours, ("w" if name == "stdin" else "r") + ("" if text else "b")))
            else:
                their = os.open(os.devnull, os.O_RDWR) if given == subprocess.DEVNULL else os.dup(given)
            theirs.append(their)
        told, telling = os.pipe()
        message = {"module": module, "arguments": [*arguments], "env": env, "folder": os.getcwd()}
        message["session"] = start_new_session
        socket.send_fds(_server(), [json.dumps(message).encode()], [*theirs, telling])
        for descriptor in (*theirs, telling):
            os.close(descriptor)
        said = os.fdopen(told)
        self.pid = int(said.readline())
        self._status: list[int] = []
        _statuses[self.pid] = self._status
        self._ended = threading.Thread(target=_note_end, args=[said, self._status], daemon=True)
        self._ended.start()

    @property
    def returncode(self) -> int | None:
        return self._status[0] if self._status else None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._ended.join(timeout)
        if not self._status:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._status[0]

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write the input, which must be short, read both outputs to their ends, and wait."""
        if self.stdin:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(input or ("" if self._text else b""))
        read: dict[str, Any] = {}
        readers = [
            threading.Thread(target=lambda name=name, stream=stream: read.update({name: stream.read()}), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream and not stream.closed
        ]
        for reader in readers:
            reader.start()
        until = time.monotonic() + (timeout or 1e6)
        for reader in readers:
            reader.join(until - time.monotonic())
        self.wait(max(until - time.monotonic(), 0.01))
        return read.get("stdout"), read.get("stderr")

    def send_signal(self, number: int) -> None:
        _kill(self.pid, self._status, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_module(
    module: str, arguments: Sequence[str], *, env: dict[str, str], terminal: int | None = None
) -> Process | subprocess.Popen[str]:
    """Run a module in a process of its own, a forked one where that is possible.

    Its text goes through pipes, unless it has a terminal, with a session for itself.
    """
    streams: Any = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    if terminal is not None:
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal, "start_new_session": True}
    if POSSIBLE:
        return Process(module, arguments, env=env, text=True, **streams)
    return subprocess.Popen([sys.executable, "-m", module, *arguments], env=env, text=True, **streams)


def start_module(module: str, arguments: Sequence[str] = (), **options: Any) -> Process:
    """Stands in for `wdtui.support.environment.start_module`."""
    numbers = {name: given if isinstance(given, int) else given.fileno() for name, given in options.items()}
    return Process(module, arguments, env=own_environment(), **numbers)


_asking: socket.socket | None = None
_started: Any = None
_starting = threading.Lock()


def ask(server: socket.socket) -> None:
    """Have this server, which answers as the one below does, fork all that this process starts."""
    global _asking
    _asking = server


def offer(path: str) -> socket.socket:
    """Have processes that are not forked ask this one's server too; until the returned socket is closed."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()

    def hand_over() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listening.accept()[0] as connection:
                    socket.send_fds(connection, [b"."], [_server().fileno()])

    threading.Thread(target=hand_over, daemon=True).start()
    return listening


def accept(path: str) -> None:
    """Ask the server that is offered at a path."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        _, (descriptor,), _, _ = socket.recv_fds(connection, 1, 1)
    ask(socket.socket(fileno=descriptor))


def _server() -> socket.socket:
    """Where to ask. The first who does starts the server."""
    global _asking, _started
    with _starting:
        if _asking is None:
            _asking, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ends = [_asking.fileno(), answering.fileno()]
            # its stdin ends with this process
            command = [sys.executable, __file__, *map(str, ends)]
            _started = subprocess.Popen(
                command, env=_ENVIRONMENT, stdin=subprocess.PIPE, pass_fds=ends, start_new_session=True
            )
            answering.close()
        return _asking


# In the server


def _serve(answering: socket.socket) -> dict[str, Any]:
    """Fork a process for each message until stdin ends. Returns in each of them, with its message."""
    from haste import load_once, look_often  # here, as it imports commands

    gc.disable()  # while what stays is imported
    look_often()
    load_once()
    warm_up()
    environment.start_module = start_module  # type: ignore[assignment]
    ended, ending = socket.socketpair()
    ending.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ending.fileno(), warn_on_full_buffer=False)
    told_of: dict[int, int] = {}
    gc.freeze()
    gc.enable()
    while True:
        ready, _, _ = select.select([0, answering, ended], [], [])
        if 0 in ready:
            sys.exit()
        if ended in ready:
            ended.recv(4096)
            _tell_ends(told_of)
        if answering not in ready:
            continue
        data, (*streams, told), _, _ = socket.recv_fds(answering, MOST_BYTES, 4)
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (ended.detach(), ending.detach(), told, *told_of.values()):
                os.close(descriptor)
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
        for descriptor in streams:
            os.close(descriptor)
        if not pid:
            return json.loads(data)
        told_of[pid] = told
        _tell(told, pid)


def _tell_ends(told_of: dict[int, int]) -> None:
    """Tell those who wait for processes that have ended how they ended."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            told = told_of.pop(found[0])
            _tell(told, os.waitstatus_to_exitcode(found[1]))
            os.close(told)


def _tell(told: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(told, f"{number}\n".encode())


def warm_up() -> None:
    """Import what takes long, and train a tiny run, so that all is there that forked processes share."""
    for name in _IMPORTED:
        importlib.import_module(name)
    from wdtui.cli.main import main

    run = ["run", "training-curves", "--headless", "--threads", "1"]
    tiny = ["--width", "8", "--epochs", "2", "--train-size", "160"]
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if main([*run, *tiny, "--store", folder]):
            raise RuntimeError(said.getvalue())


def _run(message: dict[str, Any]) -> int:
    """Run the module as a process of its own would; returns its exit status."""
    if message["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(message["env"])
    os.chdir(message["folder"])
    sys.argv = [message["module"], *message["arguments"]]
    given = message["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*given, *(entry for entry in sys.path if entry not in given)]
    with contextlib.suppress(ImportError):
        import sitecustomize  # noqa: F401  a test may have put one there
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    try:
        status = importlib.import_module(message["module"]).main()
    except SystemExit as left:
        status = left.code
    except BaseException:
        traceback.print_exc()
        status = 1
    return status if isinstance(status, int) else int(status is not None)


def _end(status: int) -> None:
    """End as a process does, but let all memory be freed at once, which would take longer than most runs."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    ask(socket.socket(fileno=int(sys.argv[1])))
    _end(_run(_serve(socket.socket(fileno=int(sys.argv[2])))))
