"""Move a store to another folder, or copy it to a file, with SQLite's online backup."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from wdtui.store.records import StoreError
from wdtui.store.store import Store
from wdtui.support import private
from wdtui.support.outputs import writing
from wdtui.support.store_files import BESIDE_STORE, FILE_NAME

_LOGS = "-wal", "-shm", "-journal"


def backup(store: Store, path: Path, *, force: bool = False) -> None:
    """Copy all runs, points, events and sweeps to one file, completely or not at all. Checkpoints are not copied.

    Runs may be live: the copy contains what was committed when it ends. An existing file is replaced only with
    `force`. Raises StoreError and FileError.
    """
    with writing(path, force=force, mode=0o600) as partial:
        _copy(store, partial)


def move(store: Store, folder: Path) -> None:
    """Move a store without live runs, and the other files of its folder, to a new or empty folder.

    The old files are removed after the copy was checked. On StoreError the store stays where it is.
    """
    folder, old = folder.expanduser().absolute(), store.folder
    if folder == old or old in folder.parents:
        raise StoreError(f"{folder} is the store's own folder or inside it. Give a folder elsewhere.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is not an empty folder. Give a new one.")
    try:
        with store.holding_still():
            _relocate(store, folder)
    except OSError as error:
        raise StoreError(f"The store cannot be moved to {folder}: {error.strerror}.") from error
    with contextlib.suppress(OSError):  # the folder may contain other files
        old.rmdir()


def _relocate(store: Store, folder: Path) -> None:
    """Copy and remove; on OSError and StoreError everything is put back."""
    old = store.folder
    renamed: list[Path] = []
    copied: list[Path] = []
    try:
        private.make_folder(folder, private.is_shared(old))
        private.opened(folder / FILE_NAME, "wb", private.is_shared(old)).close()
        _copy(store, folder / FILE_NAME)
        for path in [*map(old.joinpath, BESIDE_STORE), *old.glob("run-*-rescued-*.jsonl")]:
            if not path.exists():
                continue
            try:
                os.rename(path, folder / path.name)
                renamed.append(path)
            except OSError:  # the new folder is on another file system
                if path.is_dir():
                    shutil.copytree(path, folder / path.name, symlinks=True)
                else:
                    shutil.copy2(path, folder / path.name)
                copied.append(path)
        (old / FILE_NAME).unlink()
    except BaseException:
        for path in renamed:
            os.rename(folder / path.name, path)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for path in [*copied, *(old / f"{FILE_NAME}{suffix}" for suffix in _LOGS)]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _copy(store: Store, path: Path) -> None:
    """Copy the database over an empty file and check the copy."""
    source = f"{(store.folder / FILE_NAME).as_uri()}?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(source, uri=True)) as original,
            contextlib.closing(sqlite3.connect(path)) as copy,
        ):
            original.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
            verdict = str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise StoreError(
            f"The store cannot be copied to {path}: {error}. `wdtui store check` shows details."
        ) from error
    if verdict != "ok":
        path.unlink(missing_ok=True)
        raise StoreError(f"The store is damaged ({verdict}) and was not copied: `wdtui store check` shows details.")
