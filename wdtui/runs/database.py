"""The store's file: connections, transactions, and what SQLite's errors mean to a person."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from wdtui.runs import seals
from wdtui.runs.migrations import migrate, transaction
from wdtui.runs.records import StoreError, StoreGoneError

BUSY_SECONDS = 30.0
"""How long one writer waits for another."""

_WAY_OUT = "put a backup in its place, or move it aside with its -wal and -shm files, and a new store is started"
_GONE = (
    "The run store {path} was moved, deleted or replaced while it was in use, so that nothing more is written to it."
)
_SENTENCES = {
    sqlite3.SQLITE_NOTADB: f"The file {{path}} is damaged or no run store: {_WAY_OUT}.",
    sqlite3.SQLITE_CORRUPT: f"The file {{path}} is damaged, and `wdtui store check` says where: {_WAY_OUT}.",
    sqlite3.SQLITE_FULL: "The disk that holds {path} is full; free some space and try again.",
    sqlite3.SQLITE_IOERR: "The disk that holds {path} cannot be read or written ({error}); check its space and health.",
    sqlite3.SQLITE_BUSY: "The run store {path} was locked by another process for {seconds:g} seconds; try again.",
    sqlite3.SQLITE_READONLY: "The run store {path} is read-only; set WDTUI_HOME to a folder that you can write.",
    sqlite3.SQLITE_CANTOPEN: "The run store {path} cannot be opened; check that it is a file that you may read.",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "The run has a point at this step already; has another process trained it?",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "The run is not in the store {path}, or no longer; it may have been deleted.",
}


class Database:
    """A SQLite file with a connection per thread, all transactions short.

    Threads may share it. A process made by fork may not use its parent's: it opens its own. A commit survives the
    death of the process, `kill -9` included; a power failure may take the last moments, as the log is not forced to
    the disk at every commit (synchronous=NORMAL), but leaves the file whole.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file at an absolute path and bring it up to date; one that is read-only can still be read.

        Raises StoreError where that is impossible, as do all other methods.
        """
        self.path = path
        _make_folder(path.parent)
        self.read_only = not os.access(path if path.exists() else path.parent, os.W_OK)
        self.read_only |= not os.access(path.parent, os.W_OK)
        if self.read_only and not path.exists():
            raise StoreError(f"The folder {path.parent} is read-only; set WDTUI_HOME to a folder that you can write.")
        self._inode: tuple[int, int] | None = None
        self._name, self._revision = "", 0
        """Of the store when it was written to last: it is not to be taken for another one."""
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            with self.reading() as connection:
                self._name, self._revision = connection.execute("SELECT store, revision FROM counter").fetchone() or (
                    "",
                    0,
                )
                self._inode = _inode(path)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections of all threads, none of which may be at work in it; it cannot be used after."""
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
        except UnicodeDecodeError as error:  # an error of SQLite's that quotes what has rotted
            raise StoreError(_SENTENCES[sqlite3.SQLITE_CORRUPT].format(path=self.path)) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection within a transaction: all of it is committed, or none of it when an error leaves."""
        self.check_present()
        with self.reading() as connection, transaction(connection):
            self._check_same(connection)
            yield connection

    def check_same(self) -> None:
        """Raise StoreGoneError where the file, or the store in it, is no longer the one that was opened."""
        self.check_present()
        with self.reading() as connection:
            self._check_same(connection)

    def check_present(self) -> None:
        """Raise StoreGoneError where the file is no longer the one that was opened."""
        if _inode(self.path) != self._inode:
            raise StoreGoneError(_GONE.format(path=self.path))

    def _check_same(self, connection: sqlite3.Connection) -> None:
        """Within a transaction: whether what the file holds is the store that was opened, and not of a time before."""
        name, revision = connection.execute("SELECT store, revision FROM counter").fetchone() or ("", 0)
        if name != self._name or revision < self._revision:
            raise StoreGoneError(_GONE.format(path=self.path))
        self._revision = revision

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which reads the store as it is at one moment."""
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
                _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
            seals.install(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _address(self) -> str:
        """The file as a URI: read-only SQLite needs the write-ahead log's files, or the word that nobody writes."""
        address = self.path.as_uri()
        if not self.read_only:
            return address
        logged = self.path.with_name(self.path.name + "-wal").exists()
        return address + ("?mode=ro" if logged else "?mode=ro&immutable=1")

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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"{folder} cannot hold the run store: it, or a folder it lies in, is a file.") from None
    except OSError as error:
        hint = "set WDTUI_HOME to a folder that you can write"
        raise StoreError(f"The folder {folder} cannot be made ({error.strerror}); {hint}.") from error


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once; SQLite does not wait here by itself for a process that does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
