"""Identifies the process that owns a run, and finds out whether it is alive.

A process id alone is not enough, as the system reuses it. Together with the boot, the namespaces in which the id is
valid and the tick of its start it is unique. None of these changes when a clock is set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
import socket
import sys
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START = 0, 19
"""Indices of the fields after the name in /proc/PID/stat: state, and start in clock ticks since the boot (field 22)."""


class Life(enum.Enum):
    """Whether an owner is alive."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"
    """It cannot be inspected from this process, and no heartbeat was seen yet."""


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """A process that trains runs or has queued them."""

    host: str
    """For display only."""
    domain: str
    """Where its id and start are valid: processes of one domain can inspect each other."""
    pid: int
    start: float
    """Clock ticks since the boot on Linux; elsewhere the unix time of its start."""


def this_process() -> Owner:
    """The calling process."""
    start, _ = _look("self" if _has_proc() else os.getpid())
    return Owner(socket.gethostname(), domain(), os.getpid(), start)


def find_process(pid: int) -> Owner | None:
    """The process with this id in the domain of this one, or None if it cannot be inspected."""
    try:
        start, _ = _look(pid)
    except OSError:
        return None
    return Owner(socket.gethostname(), domain(), pid, start)


def domain() -> str:
    """The boot and the namespaces of process ids and of time on Linux; elsewhere the host.

    Containers on one machine share the boot but have their own process ids.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        parts = [boot, os.readlink(_PROC / "self/ns/pid")]
    except OSError:
        return f"{sys.platform} {socket.gethostname()}"
    with contextlib.suppress(OSError):  # Linux before 5.6 has none
        parts.append(os.readlink(_PROC / "self/ns/time"))
    return " ".join(parts)


def life(owner: Owner) -> Life:
    """Whether a process is alive: it exists, is not a zombie, and has the recorded start."""
    if owner.domain != domain():
        return Life.UNKNOWN
    try:
        start, running = _look(owner.pid)
    except ProcessLookupError:
        return Life.GONE
    except OSError:
        return Life.UNKNOWN
    return Life.ALIVE if running and start == owner.start else Life.GONE


def _has_proc() -> bool:
    return (_PROC / "self/stat").exists()


def _look(pid: int | str) -> tuple[float, bool]:
    """The start of a process, and whether it runs and is not a zombie.

    Raises ProcessLookupError if it does not exist and PermissionError if it is hidden from this process.
    """
    if not _has_proc():
        return _look_without_proc(int(pid))
    if pid != "self" and os.readlink(_PROC / "self") != str(os.getpid()):
        raise PermissionError("/proc belongs to another namespace of process ids")
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError as error:
        os.kill(int(pid), 0)  # raises ProcessLookupError if it does not exist, but not if /proc hides it
        raise PermissionError("the process is hidden") from error
    return float(fields[_START]), fields[_STATE] not in "ZX"


def _look_without_proc(pid: int) -> tuple[float, bool]:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(str(error)) from error
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from error
