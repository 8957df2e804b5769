"""Folders and files that only their owner, or a group, can access, whatever the umask. Plain Python, POSIX modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO


def make_folder(folder: Path, shared: bool) -> None:
    """Make a folder, and missing ones above it, for its owner or for its group too. An existing one is not changed.

    Raises OSError.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o2770 if shared else 0o700)


def is_shared(folder: Path) -> bool:
    """Whether the group can write to a folder. New files in it are then shared with the group."""
    return os.name == "posix" and bool(folder.stat().st_mode & stat.S_IWGRP)


def opened(path: Path, mode: str, shared: bool = False) -> IO[bytes]:
    """Open a file in binary mode. Only the owner can access a new one, or the group too. Raises OSError."""
    return open(path, mode, opener=lambda name, flags: _opened(name, flags, 0o660 if shared else 0o600))


def _opened(name: str, flags: int, mode: int) -> int:
    existed = os.path.exists(name)
    descriptor = os.open(name, flags, mode)
    if not existed:
        os.chmod(name, mode)  # past the umask
    return descriptor


def share(folder: Path) -> None:
    """Give the group access to a folder and its content, as SQLite needs it. Skips files of others. Raises OSError."""
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode):
            continue
        needed = 0o2770 if stat.S_ISDIR(status.st_mode) else 0o660
        if status.st_mode & needed != needed:
            path.chmod(stat.S_IMODE(status.st_mode) | needed)
