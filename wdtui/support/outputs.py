"""Files that commands write: whole or not at all, over nothing that is there unless asked to, and through no link.

Plain Python: no torch, no UI. Every command that writes a file goes through `writing` or `filling`.
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

_STORE = "wdtui.sqlite3"
_BESIDE_STORE = ("checkpoints", "logs", "form.json")


class FileError(WdtuiError):
    """What cannot be written, and what to do about it, in one sentence."""


def check_file(path: Path, *, force: bool = False) -> None:
    """Raise FileError where `writing` would refuse: to be known before anything is computed in vain."""
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
    """Give the path of an empty file to write, which takes the place of `path` once the block has ended well.

    Without `force` nothing that is there is replaced, also not what comes to be there meanwhile. After an error, or an
    interrupt, everything is as it was before. `mode` is that of a new file, less the umask. Raises FileError.
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
    """Raise FileError where `filling` would refuse."""
    with _errors_of(folder):
        _check_place(folder)
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{folder} is a file, but a folder is needed. Give another name.")
        if not force and (before := next(folder.glob(pattern), None)):
            raise FileError(f"{folder} already has {before.name}. Give --force to replace it, or another folder.")


@contextlib.contextmanager
def filling(folder: Path, pattern: str, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to write files to, which move into `folder` once the block has ended well.

    They take the place of the files there that match the pattern, which `force` allows; others stay. Raises FileError.
    """
    check_folder(folder, pattern, force=force)
    partial = _beside(folder)
    with _errors_of(folder):
        partial.mkdir()
        try:
            yield partial
            folder.mkdir(exist_ok=True)
            before = list(folder.glob(pattern))
            for file in partial.iterdir():
                _sync(file)
                _move(file, folder / file.name, force)
            for file in before:
                file.unlink()
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _check_place(path: Path) -> None:
    """Raise FileError for a link, and for what belongs to a run store, whichever store that is."""
    if path.is_symlink():
        raise FileError(f"{path} is a link to {os.readlink(path)}: give the name of the target file.")
    place = path.absolute().parent.resolve() / path.name
    for folder in place.parents:
        first = place.relative_to(folder).parts[0]
        if first.startswith(_STORE) or (first in _BESIDE_STORE and (folder / _STORE).exists()):
            raise FileError(f"{path} belongs to the run store in {folder}. Give another name.")


def _beside(path: Path) -> Path:
    """A name that nothing has, in the folder of a path, so that moving it there is one step."""
    return path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")


def _move(partial: Path, path: Path, force: bool) -> None:
    """Give a file its name; a link fails where a file has that name already, which a plain rename would replace."""
    if force:
        os.replace(partial, path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        raise FileError(f"{path} already exists. Give --force to replace it, or another name.") from None
    except OSError:  # a file system without links, as FAT
        check_file(path)
        os.replace(partial, path)


def _sync(file: Path) -> None:
    """Have what was written reach the disk before its name does."""
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
