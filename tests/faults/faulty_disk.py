"""A disk that fails at a chosen write: SQLite's own file layer, with an error at the n-th call that changes a file.

The default VFS of the SQLite that Python uses is replaced by one that is the same but for opening: the files that it
opens count their writes, truncations and syncs, and let one of them fail, or that one and all that follow.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

_OK = 0
_ERRORS = {"write": 10 | 3 << 8, "sync": 10 | 4 << 8, "truncate": 10 | 6 << 8}
_File, _Pointer = ctypes.c_void_p, ctypes.c_void_p
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _File, _Pointer, ctypes.c_int, ctypes.c_int64)
_Truncate = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _Pointer),
        ("name", ctypes.c_char_p),
        ("data", _Pointer),
        ("open", _Pointer),
        ("others", _Pointer * 15),
    )


class _Methods(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_int),
        ("close", _Pointer),
        ("read", _Pointer),
        ("write", _Pointer),
        ("truncate", _Pointer),
        ("sync", _Pointer),
        ("others", _Pointer * 13),
    )


_alive: list[object] = []
"""What SQLite points to as long as the process lives."""


def library() -> ctypes.CDLL | None:
    """The SQLite that Python's module uses; None where its functions cannot be called."""
    mapped = re.findall(r"/\S*libsqlite3\S*", Path("/proc/self/maps").read_text()) if Path("/proc").is_dir() else []
    for path in (*mapped, getattr(_sqlite3, "__file__", "")):
        try:
            found = ctypes.CDLL(path)
            found.sqlite3_vfs_find.restype = _Pointer
        except (OSError, AttributeError):
            continue
        return found
    return None


def fail_at(nth: int, lasting: bool = False, count: Callable[[int], None] = lambda calls: None) -> None:
    """From now on, let the n-th change of a file that this process makes through SQLite fail, or all from there on.

    `count` hears of every change. There is no way back: call it in a process made for it.
    """
    sqlite = library()
    assert sqlite
    address = sqlite.sqlite3_vfs_find(None)
    original = _Vfs.from_address(address)
    changed = _Vfs.from_buffer_copy(original)
    calls, methods = iter(range(1, 10**9)), {}

    def failing(kind: str) -> int:
        at = next(calls)
        count(at)
        return _ERRORS[kind] if at == nth or (lasting and at > nth) else _OK

    def faulty(known: int) -> int:
        """The address of methods that are as those at an address, but may fail."""
        if known not in methods:
            copy = _Methods.from_buffer_copy(_Methods.from_address(known))
            write, truncate, sync = _Write(copy.write), _Truncate(copy.truncate), _Sync(copy.sync)
            hooks = (
                _Write(lambda file, data, size, at: failing("write") or write(file, data, size, at)),
                _Truncate(lambda file, size: failing("truncate") or truncate(file, size)),
                _Sync(lambda file, flags: failing("sync") or sync(file, flags)),
            )
            copy.write, copy.truncate, copy.sync = (ctypes.cast(hook, _Pointer) for hook in hooks)
            methods[known] = copy
            _alive.extend((copy, hooks, write, truncate, sync))
        return ctypes.addressof(methods[known])

    def opened(vfs: int, name: bytes, file: int, flags: int, out: int) -> int:
        code = int(open_file(address, name, file, flags, out))
        first = ctypes.cast(file, ctypes.POINTER(_Pointer))
        if code == _OK and first[0]:
            first[0] = faulty(first[0])
        return code

    # the name of a file is more than a C string to SQLite, so that its address is handed on and not a copy
    raw_open = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, _File, ctypes.c_int, _Pointer)
    open_file = raw_open(original.open)
    hook = raw_open(opened)
    changed.name, changed.open = b"faulty", ctypes.cast(hook, _Pointer)
    _alive.extend((changed, hook, open_file))
    assert sqlite.sqlite3_vfs_register(ctypes.byref(changed), 1) == _OK
