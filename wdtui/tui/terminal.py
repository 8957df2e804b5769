"""What passes between app and terminal beyond the screen: signals that end it, notifications that outlast it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from wdtui.runs.worker import SIGNALS
from wdtui.support.text import clean
from wdtui.support.third_party import write_to_terminal

if TYPE_CHECKING:
    from wdtui.tui.app import WorkbenchApp

_PATIENCE_SECONDS = 90.0
"""How long leaving may take after a signal, before the process ends all the same."""

_GRACE_SECONDS = 3.0
"""How long the app may take to restore its terminal once the runs are let go."""


def handle_signals(app: WorkbenchApp) -> None:
    """SIGHUP leaves the runs to the background, SIGTERM and SIGUSR stop them with a checkpoint; all then end the app.

    Without this a signal would kill the process and leave the terminal in raw mode.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        # Not in the event loop: on a terminal that is gone, the next thing drawn may block it for ever.
        threading.Thread(target=_detach_and_exit, args=(app, loop), name="hang up").start()

    def terminate(number: signal.Signals) -> None:
        _end_at_last(128 + number)
        app.run_worker(app.stop_and_exit(SIGNALS[number], 128 + number), exclusive=True)

    with contextlib.suppress(NotImplementedError, AttributeError):  # no such signals on Windows
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, terminate, number)


def _detach_and_exit(app: WorkbenchApp, loop: asyncio.AbstractEventLoop) -> None:
    """Leave the runs to the background, then the terminal as it was if it still is there, then the process."""
    code = 128 + signal.SIGHUP
    _end_at_last(code)
    app.controls.scheduler.detach()
    loop.call_soon_threadsafe(lambda: app.exit(return_code=code))
    time.sleep(_GRACE_SECONDS)
    os._exit(code)


def _end_at_last(code: int) -> None:
    """Whatever happens: a process on a dead terminal must not go on for ever."""
    timer = threading.Timer(_PATIENCE_SECONDS, os._exit, [code])
    timer.daemon = True
    timer.start()


def announce(app: WorkbenchApp, text: str) -> None:
    """Ring, and ask the terminal for a desktop notification (OSC 9), which those that know none ignore."""
    app.bell()
    write_to_terminal(app, f"\x1b]9;{clean(text)}\x07")
