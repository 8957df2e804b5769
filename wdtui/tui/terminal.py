"""Interaction with the terminal outside the screen: signals that end the app, and desktop notifications."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

from wdtui.runs.worker import SIGNALS
from wdtui.support.text import clean
from wdtui.support.third_party import write_to_terminal

if TYPE_CHECKING:
    from wdtui.tui.app import WorkbenchApp

_PATIENCE_SECONDS = 90.0
"""The maximum time to quit after a signal. The process is then ended."""

_GRACE_SECONDS = 3.0
"""The maximum time for the app to restore its terminal after the runs were detached."""


def handle_signals(app: WorkbenchApp) -> None:
    """On SIGHUP detach the runs, on SIGTERM and SIGUSR stop them with a checkpoint; then quit.

    Without this a signal would kill the process and leave the terminal in raw mode.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def hang_up() -> None:
        # Not in the event loop: if the terminal is gone, drawing may block it forever.
        threading.Thread(target=_detach_and_exit, args=(app, loop), name="hang up").start()

    def terminate(number: signal.Signals) -> None:
        _end_within(_PATIENCE_SECONDS, 128 + number)
        app.run_worker(app.stop_and_exit(SIGNALS[number], 128 + number), exclusive=True)

    with contextlib.suppress(NotImplementedError, AttributeError):  # no such signals on Windows
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, terminate, number)


def _detach_and_exit(app: WorkbenchApp, loop: asyncio.AbstractEventLoop) -> None:
    """Detach the runs, restore the terminal if it still exists, and end the process."""
    code = 128 + signal.SIGHUP
    _end_within(_PATIENCE_SECONDS, code)
    app.controls.detach()
    loop.call_soon_threadsafe(lambda: app.exit(return_code=code))
    _end_within(_GRACE_SECONDS, code)


def _end_within(seconds: float, code: int) -> None:
    """End the process after a while in any case: it must not run forever on a dead terminal."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    timer.start()


def announce(app: WorkbenchApp, text: str) -> None:
    """Ring the bell and send a desktop notification (OSC 9). Terminals without support ignore it."""
    app.bell()
    write_to_terminal(app, f"\x1b]9;{clean(text)}\x07")
