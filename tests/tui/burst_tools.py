"""The workbench in a pseudo-terminal, with runs that train meanwhile: types in one write, and tells what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked

from wdtui.support.environment import own_environment

_APP = Path(__file__).with_name("burst_app.py")
SMALL = {"train_size": 512, "validation_size": 16, "test_size": 64}


@dataclasses.dataclass(frozen=True)
class Typed:
    """What the app is like after something was typed."""

    screen: str
    box: str
    """The id of the focused widget, or of what it is in."""
    text: str


class Terminal:
    """A pseudo-terminal of 120×40 with the workbench in it."""

    def __init__(self, folder: Path, *, runs: int = 3, **config: Any) -> None:
        self._keyboard, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._reports, report = os.pipe()
        server = str(folder / "server") if forked.POSSIBLE else ""
        self._offered = forked.offer(server) if server else None
        arguments = [str(folder), str(report), json.dumps(SMALL | config), str(runs), server]
        self._process = subprocess.Popen(
            [sys.executable, str(_APP), *arguments],
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": own_environment()["PYTHONPATH"]},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            pass_fds=[report],
            start_new_session=True,
        )
        os.close(terminal)
        os.close(report)
        self._pending = b""
        threading.Thread(target=self._drain, daemon=True).start()
        self._runs = runs

    def _drain(self) -> None:
        """Take what is drawn, as a terminal does; one that is full would stop the app."""
        with contextlib.suppress(OSError):
            while os.read(self._keyboard, 65_536):
                pass

    def write(self, burst: str) -> None:
        """Type all of it in one write."""
        data = burst.encode()
        assert os.write(self._keyboard, data) == len(data)

    def state(self) -> dict[str, Any]:
        self._process.send_signal(signal.SIGURG)
        return self._report()

    def _report(self) -> dict[str, Any]:
        while b"\n" not in self._pending:
            assert select.select([self._reports], [], [], 60)[0], "the app does not answer"
            more = os.read(self._reports, 65_536)
            assert more, "the app has ended"
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        state: dict[str, Any] = json.loads(line)
        return state

    def wait_until_training(self) -> None:
        self._report()  # it has set its handlers: before that a signal would end it
        for _ in range(600):
            if self.state()["training"] == self._runs:
                return
            time.sleep(0.1)
        raise AssertionError(f"not all runs train: {self.state()}")

    def comes_to(self, wanted: Typed, seconds: float) -> bool:
        """Whether what was typed comes to this, and to nothing else, in so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = self.state()
            screens = ["Workbench", *([wanted.screen] if wanted.screen != "Workbench" else [])]
            there = state["screens"] == screens and wanted.box in ["", *state["inside"]]
            if there and state["text"] == wanted.text and state["theme"] == "wdtui-dark":
                return True
            time.sleep(0.02)
        return False

    def clear(self) -> None:
        """Close dialogs, filter and form, and go back to the table."""
        self._process.send_signal(signal.SIGVTALRM)
        assert self.comes_to(Typed("Workbench", "runs", ""), 30)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._offered:
            self._offered.close()
        os.close(self._keyboard)
        os.close(self._reports)


@contextlib.contextmanager
def terminal(folder: Path, **config: Any) -> Iterator[Terminal]:
    """The workbench on a store in this folder, once all its runs train."""
    opened = Terminal(folder, **config)
    try:
        opened.wait_until_training()
        yield opened
    finally:
        opened.close()
