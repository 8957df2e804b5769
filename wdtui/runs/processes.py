"""Which process owns a run, and whether it still lives.

A process id alone names nobody for long, as the system gives it to others later; with the moment of its start it does.
"""

from __future__ import annotations

import dataclasses
import os
import socket

START_TOLERANCE = 1.0
"""Seconds by which two readings of one process's start may differ."""
HEARTBEAT_LIMIT = 60.0
"""Seconds of silence after which an owner on another host counts as dead."""


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """A process that trains a run."""

    host: str
    pid: int
    start: float
    """Unix time in seconds."""


def this_process() -> Owner:
    """The process that calls."""
    import psutil

    return Owner(socket.gethostname(), os.getpid(), psutil.Process().create_time())


def owner_alive(
    host: str | None, pid: int | None, process_start: float | None, heartbeat: float | None, now: float
) -> bool:
    """Whether the owner that a run's row names still lives; times are unix seconds, None where nobody owned the run.

    On this host the process must exist, be no zombie and have started when the owner did. Processes elsewhere cannot
    be looked at, so that there a heartbeat of the last HEARTBEAT_LIMIT seconds decides.
    """
    if host is None or pid is None or process_start is None:
        return False
    if host != socket.gethostname():
        return heartbeat is not None and now - heartbeat < HEARTBEAT_LIMIT
    return _process_alive(pid, process_start)


def _process_alive(pid: int, start: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        drift = abs(process.create_time() - start)
        return bool(drift <= START_TOLERANCE and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it exists and is somebody else's
        return True
