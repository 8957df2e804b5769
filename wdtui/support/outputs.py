"""Writes the output files of commands: completely or not at all, without replacing files unless forced.

Plain Python: no torch, no UI. Every command that writes a file uses `writing` or `filling`. Links are not followed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from wdtui.support.errors import WdtuiError
from wdtui.support.store_files import BESIDE_STORE, FILE_NAME


class FileError(WdtuiError):
    """Says in one sentence what cannot be written and what to do about it."""


def check_file(path: Path, *, force: bool = False) -> None:
    """Raise FileError if `writing` would refuse. Call it before a long computation."""
    with _errors_of(path):
        _check_place(path)
        if not path.exists():
            return
        if not path.is_file():
            raise FileError(f"{path} is {'a folder' if path.is_dir() else 'not a regular file'}: give another name.")
        if not force:
            raise FileError(f"{path} already exists. Give --force to replace it, or another name.")


@contextlib.contextmanager
def writing(path: Path, *, force: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of an empty file to write, which replaces `path` when the block ends without an error.

    Without `force` no existing file is replaced, even if it appears during the block. After an error or an interrupt
    nothing has changed. `mode` is that of a new file, before the umask. Raises FileError.
    """
    check_file(path, force=force)
    partial = _beside(path)
    with _errors_of(path):
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        try:
            yield partial
            _sync(partial)
            if force and path.exists():
                partial.chmod(stat.S_IMODE(path.stat().st_mode))
            _move(partial, path, force)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, force: bool = False) -> None:
    """Write a text file as UTF-8. Raises FileError."""
    with writing(path, force=force) as partial:
        partial.write_text(text, encoding="utf-8")


def check_folder(folder: Path, pattern: str, *, force: bool = False) -> None:
    """Raise FileError if `filling` would refuse."""
    with _errors_of(folder):
        _check_place(folder)
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{folder} is a file, but a folder is needed. Give another name.")
        if not force and (before := next(folder.glob(pattern), None)):
            raise FileError(f"{folder} already has {before.name}. Give --force to replace it, or another folder.")


@contextlib.contextmanager
def filling(folder: Path, pattern: str, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder for files, which move into `folder` when the block ends without an error.

    They replace the files there that match the pattern, if `force` allows it. Others stay. Raises FileError.
    """
    check_folder(folder, pattern, force=force)
    partial = _beside(folder)
    with _errors_of(folder):
        partial.mkdir()
        try:
            yield partial
            folder.mkdir(exist_ok=True)
            before, new = list(folder.glob(pattern)), list(partial.iterdir())
            for file in new:
                _sync(file)
                _move(file, folder / file.name, force)
            for file in before:
                if file.name not in [one.name for one in new]:
                    file.unlink()
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _check_place(path: Path) -> None:
    """Raise FileError for a link, and for files that belong to a run store, whichever store that is."""
    if path.is_symlink():
        raise FileError(f"{path} is a link to {os.readlink(path)}: give the name of the target file.")
    resolved = path.absolute().parent.resolve() / path.name
    for folder in resolved.parents:
        first = resolved.relative_to(folder).parts[0]
        if first.startswith(FILE_NAME) or (first in BESIDE_STORE and (folder / FILE_NAME).exists()):
            raise FileError(f"{path} belongs to the run store in {folder}. Give another name.")


def _beside(path: Path) -> Path:
    """An unused name in the same folder, so that moving the file to its path is atomic."""
    return path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")


def _move(partial: Path, path: Path, force: bool) -> None:
    """Rename a file. Without `force` it uses a link, which fails if the name exists; a rename would replace it."""
    if force:
        os.replace(partial, path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        raise FileError(f"{path} already exists. Give --force to replace it, or another name.") from None
    except OSError:  # a file system without links, such as FAT
        check_file(path)
        os.replace(partial, path)


def _sync(file: Path) -> None:
    """Flush the content to the disk before the file is renamed."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}.") from error
