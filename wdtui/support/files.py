"""Safe reading of files that somebody else may have written: only regular files of bounded size, without blocking.

Opening a named pipe blocks, a device has no end, and a large file fills the memory. Plain Python.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

MOST_TOML_BYTES = 1_000_000
"""TOML files written by hand have a few thousand bytes."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_UNSIZED = 1_000_000
"""The number of bytes read from files without a size, such as those in /proc."""
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){50}""")
"""A key with very many parts. Nobody writes one, and tomllib takes quadratic time for it."""


def check_regular(path: Path, most: int, *, links: bool = True) -> None:
    """Raise OSError, with the reason in `strerror`, unless the path is a regular file of at most `most` bytes.

    With `links` it may be a link to one.
    """
    _check(path.stat() if links else path.lstat(), path, most)


def read_regular(path: Path, most: int, *, links: bool = True) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError as `check_regular` does."""
    check_regular(path, most, links=links)  # before opening, which may have effects on a device
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE | (0 if links else _NO_LINK))
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check(found, path, most)  # it may have been replaced since
        most = max(found.st_size, min(most, _UNSIZED))
        content = file.read(most + 1)
    if len(content) > most:
        raise _too_large(path, most)
    return content


def read_toml_text(path: Path) -> str:
    """The text of a TOML file, or of the target of a link. Raises OSError and UnicodeDecodeError."""
    return read_regular(path, MOST_TOML_BYTES).decode("utf-8")


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML text. Raises TOMLDecodeError, also if it is nested too deeply."""
    if not _LONG_KEY.search(text):
        try:
            return tomllib.loads(text)
        except RecursionError:
            pass
    raise tomllib.TOMLDecodeError("it is nested too deeply")


def _check(found: os.stat_result, path: Path, most: int) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if kind == stat.S_IFLNK:
        raise OSError(errno.ELOOP, "it is a link, and links are not followed", str(path))
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'a special file')}, not a regular file", str(path))
    if found.st_size > most:
        raise _too_large(path, most)


def _too_large(path: Path, most: int) -> OSError:
    size = f"{most / 1e6:,.0f} MB" if most >= 1e6 else f"{most:,} bytes"
    return OSError(errno.EFBIG, f"it is larger than {size}", str(path))
