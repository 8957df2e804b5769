"""The SQLite file of the store: connections, transactions, and the messages for SQLite's errors."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Hashable, Iterator
from pathlib import Path

from wdtui.store import seals
from wdtui.store.migrations import migrate, transaction
from wdtui.store.records import StoreError, StoreGoneError
from wdtui.support import private

BUSY_SECONDS = 30.0
"""The longest wait for another writer."""

_WAY_OUT = "Restore a backup, or move it away with its -wal and -shm files to start a new store"
_MOUNTS = Path("/proc/self/mounts")
_ESCAPED = re.compile(rb"\\([0-7]{3})")
"""The octal code of a space or another special character in that file."""
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "sshfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "davfs")
)
notices: list[str] = []
"""Messages to show once to the person who opened a store. The command line prints and clears them."""

_GONE = "The run store {path} was moved, deleted or replaced while it was in use. Nothing more is written to it."
_SENTENCES = {
    sqlite3.SQLITE_NOTADB: f"The file {{path}} is damaged or not a run store. {_WAY_OUT}.",
    sqlite3.SQLITE_CORRUPT: f"The file {{path}} is damaged, and `wdtui store check` shows where. {_WAY_OUT}.",
    sqlite3.SQLITE_FULL: "The disk that holds {path} is full. Free some space and try again.",
    sqlite3.SQLITE_IOERR: (
        "The disk that holds {path} cannot be read or written ({error}). Check its free space and its condition."
    ),
    sqlite3.SQLITE_BUSY: "The run store {path} was locked by another process for {seconds:g} seconds. Try again.",
    sqlite3.SQLITE_READONLY: "The run store {path} is read-only. Set WDTUI_HOME to a folder that you can write to.",
    sqlite3.SQLITE_CANTOPEN: "The run store {path} cannot be opened. Check that it is a file that you may read.",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: (
        "The run already has a point at this step. Another process may have trained it."
    ),
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "The run is not in the store {path}. It may have been deleted.",
}


class Database:
    """A SQLite file with one connection per thread and short transactions.

    Threads may share it. A process made by fork must open its own. A commit survives the death of the process, also by
    `kill -9`. A power failure may lose the last commits, as the log is not synced to the disk at each commit
    (synchronous=NORMAL), but it does not damage the file.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        """Open or create the file at an absolute path and migrate it. A read-only file can still be read.

        Only the owner can access a new file. With `shared`, or in a folder that the group can write to, the group can
        too. This method and all others raise StoreError on failure.
        """
        self.path = path
        _make_folder(path.parent, shared)
        self.read_only = not os.access(path if path.exists() else path.parent, os.W_OK)
        self.read_only |= not os.access(path.parent, os.W_OK)
        if self.read_only and not path.exists():
            raise StoreError(
                f"The folder {path.parent} is read-only. Set WDTUI_HOME to a folder that you can write to."
            )
        self._network = network_file_system(path.parent)
        if not self.read_only:
            self._make_private(shared)
        self._inode: tuple[int, int] | None = None
        self._name, self._revision = "", 0
        """The name and revision of the store at the last write. They show when another store has replaced it."""
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._frozen: dict[threading.Thread, Hashable] = {}
        """The state of the file when a thread opened it as immutable."""
        self.reopened = 0
        """How often a connection was replaced because another process had written."""
        self._lock = threading.Lock()
        self._closed = False
        try:
            with self.reading() as connection:
                counter = connection.execute("SELECT store, revision FROM counter").fetchone()
                self._name, self._revision = counter or ("", 0)
                self._inode = _inode(path)
            if self._network and not self.read_only:
                self._say_network()
        except StoreError:
            self.close()
            raise

    def _make_private(self, shared: bool) -> None:
        """Create the file if it is missing: SQLite would use the umask, and its logs get the mode of the file."""
        try:
            if shared and not private.is_shared(self.path.parent):
                private.share(self.path.parent)
            if not self.path.exists():
                private.opened(self.path, "ab", private.is_shared(self.path.parent)).close()
        except OSError as error:
            raise StoreError(f"The run store {self.path} cannot be created: {error.strerror}.") from error

    def _say_network(self) -> None:
        """Add a notice, once for each store and kind of file system."""
        with self.writing() as connection:
            new = connection.execute("UPDATE counter SET network = ? WHERE network != ?", [self._network] * 2).rowcount
        if new:
            notices.append(
                f"The run store {self.path} is on a network file system ({self._network}), so it uses a"
                " rollback journal. This is slower, and readers and writers wait for each other."
            )

    def close(self) -> None:
        """Close the connections of all threads. No thread may be using one, and the database cannot be used after."""
        with self._lock:
            self._closed = True
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, for statements that change nothing."""
        try:
            yield self._connection()
        except sqlite3.Error as error:
            raise StoreError(self._sentence(error)) from error
        except UnicodeDecodeError as error:  # SQLite's error message quotes damaged bytes
            raise StoreError(_SENTENCES[sqlite3.SQLITE_CORRUPT].format(path=self.path)) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection within a transaction, which is rolled back when the block raises."""
        self.check_present()
        with self.reading() as connection, transaction(connection):
            self._check_same(connection)
            yield connection

    def check_same(self) -> None:
        """Raise StoreGoneError if the file, or the store in it, is no longer the one that was opened."""
        self.check_present()
        with self.reading() as connection:
            self._check_same(connection)

    def check_present(self) -> None:
        """Raise StoreGoneError if the file is no longer the one that was opened."""
        if _inode(self.path) != self._inode:
            raise StoreGoneError(_GONE.format(path=self.path))

    def _check_same(self, connection: sqlite3.Connection) -> None:
        """Within a transaction: raise StoreGoneError if the file holds another store, or an older state of this one."""
        name, revision = connection.execute("SELECT store, revision FROM counter").fetchone() or ("", 0)
        if name != self._name or revision < self._revision:
            raise StoreGoneError(_GONE.format(path=self.path))
        self._revision = revision

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection in a transaction that reads one consistent state."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        thread = threading.current_thread()
        connection = self._connections.get(thread)
        if connection and self._frozen.get(thread, self._state()) != self._state():
            self._connections.pop(thread).close()  # it was opened as immutable, and the file has changed
            connection, self.reopened = None, self.reopened + 1
        if connection is None:
            with self._lock:
                if self._closed:
                    raise StoreError(f"The run store {self.path} was closed.")
                self._forget_dead_threads()
                connection = self._connections[thread] = self._connect()
        return connection

    def _forget_dead_threads(self) -> None:
        for thread in [thread for thread in self._connections if not thread.is_alive()]:
            self._connections.pop(thread).close()

    def _connect(self) -> sqlite3.Connection:
        if self._inode:
            self.check_present()
        connection = sqlite3.connect(
            self._address(), uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if not self.read_only:
                _use_journal(connection, "TRUNCATE" if self._network else "WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._network else 'NORMAL'}")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
            if not self.read_only:
                seals.install(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _address(self) -> str:
        """The file as a URI. Read-only SQLite needs either the files of the write-ahead log or `immutable`.

        `immutable` is correct until the file changes or a log appears. The connection is then replaced.
        """
        address = self.path.as_uri()
        if not self.read_only:
            return address
        if self._logged():
            self._frozen.pop(threading.current_thread(), None)
            return address + "?mode=ro"
        self._frozen[threading.current_thread()] = self._state()
        return address + "?mode=ro&immutable=1"

    def _logged(self) -> bool:
        return self.path.with_name(self.path.name + "-wal").exists()

    def _state(self) -> Hashable:
        """A value that changes when the file or its log does; None where the file is writable."""
        if not self.read_only:
            return None
        status = self.path.stat() if self.path.exists() else None
        return self._logged(), status and (status.st_ino, status.st_size, status.st_mtime_ns)

    def _sentence(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0)
        sentence = _SENTENCES.get(code) or _SENTENCES.get(code & 0xFF) or "The run store {path} failed: {error}."
        return sentence.format(path=self.path, error=error, seconds=BUSY_SECONDS)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def network_file_system(folder: Path) -> str:
    """The kind of network file system that holds a folder, or "". A write-ahead log does not work on one."""
    mounts, resolved = _mounts(), folder.resolve()
    kind = next((mounts[str(path)] for path in (resolved, *resolved.parents) if str(path) in mounts), "").lower()
    return kind if kind.removeprefix("fuse.") in _NETWORK else ""


def _mounts() -> dict[str, str]:
    """The kind of file system at each mount point. On Linux this avoids psutil, whose import takes 30 ms."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        import psutil

        return {partition.mountpoint: partition.fstype for partition in psutil.disk_partitions(all=True)}
    entries = (line.split(b" ") for line in lines)
    return {os.fsdecode(_ESCAPED.sub(_unescaped, entry[1])): entry[2].decode() for entry in entries}


def _unescaped(code: re.Match[bytes]) -> bytes:
    return bytes([int(code[1], 8)])


def _make_folder(folder: Path, shared: bool) -> None:
    try:
        private.make_folder(folder, shared)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"{folder} cannot hold the run store: it, or one of its parent folders, is a file.") from None
    except OSError as error:
        hint = "Set WDTUI_HOME to a folder that you can write to"
        raise StoreError(f"The folder {folder} cannot be created ({error.strerror}). {hint}.") from error


def _use_journal(connection: sqlite3.Connection, mode: str) -> None:
    """Set the journal mode. WAL lets readers and a writer work at once; SQLite does not retry by itself here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
