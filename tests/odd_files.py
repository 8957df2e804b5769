"""Files that are no files: what somebody else may have put where a file is read, and a read that must not wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD = ("fifo", "folder", "device", "dangling link")
LONGEST_WAIT = 20.0
"""Seconds; a read that blocks would never end."""


def make_odd(kind: str, path: Path) -> None:
    """Put something there that is no regular file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.parent / "not there")


def at_once(action: Callable[[], Any]) -> Any:
    """What an action returns or raises; fails where it waits for something."""
    outcome: list[Any] = []

    def act() -> None:
        try:
            outcome.append((action(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(LONGEST_WAIT)
    assert outcome, "it is still at it"
    result, error = outcome[0]
    if error:
        raise error
    return result
