"""Source: the file that declares a problem, with the modules beside it that it imports. Plain Python.

A run's schema carries it, so that a run can be resumed, forked and replayed after the file has changed or gone.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from wdtui.schema.hyperparameters import ConfigError
from wdtui.support.files import read_regular
from wdtui.support.text import clean

_MOST_BYTES = 2_000_000


@dataclasses.dataclass(frozen=True)
class Source:
    """Python files as text, by their path relative to the folder of the main one; `name` is the problem's class."""

    path: str
    """Where the main file was, absolute."""
    name: str
    """The class in it that declares the problem; empty for the only one."""
    files: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, name: str = "") -> Self:
        """Read a file and, transitively, the modules beside it that it imports. Raises ConfigError."""
        path = path.expanduser().absolute()
        files: dict[str, str] = {}
        waiting = [path]
        while waiting:
            file = waiting.pop()
            key = file.relative_to(path.parent).as_posix()
            if key not in files:
                files[key] = _text(file)
                waiting += _beside(path.parent, file, files[key])
        return cls(str(path), name, dict(sorted(files.items())))

    @property
    def main(self) -> str:
        """The key of the main file in `files`."""
        return Path(self.path).name

    @property
    def folder(self) -> Path:
        return Path(self.path).parent

    @property
    def shown(self) -> str:
        """The main file's name as a message shows it."""
        return clean(self.main)

    @cached_property
    def hash(self) -> str:
        """Of the contents, 16 hexadecimal digits; the place of the files does not count."""
        return hashlib.sha256(json.dumps([self.main, self.name, dict(self.files)]).encode()).hexdigest()[:16]

    @property
    def changed(self) -> bool:
        """Whether the files are there and differ from this copy."""
        try:
            return self.read(Path(self.path), self.name).hash != self.hash
        except ConfigError:
            return False

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name, "files": dict(self.files)}


def _text(path: Path) -> str:
    try:
        return read_regular(path, _MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{clean(str(path))} cannot be read: it is not UTF-8 text.") from error
    except OSError as error:
        raise ConfigError(f"{clean(str(path))} cannot be read: {error.strerror}.") from error


def _beside(folder: Path, file: Path, text: str) -> list[Path]:
    """The files in the folder of the problem that a file's imports name, wherever in the file they stand."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # the import will say it
        return []
    found = []
    for node in ast.walk(tree):
        for name, base in _imported(node, folder, file.parent):
            parts = name.split(".") if name else []
            for count in range(1, len(parts) + 1):
                stem = base.joinpath(*parts[:count])
                found += [one for one in (stem.with_suffix(".py"), stem / "__init__.py") if one.is_file()]
    return [one for one in found if one.is_relative_to(folder)]


def _imported(node: ast.AST, folder: Path, package: Path) -> list[tuple[str, Path]]:
    """The modules that an import statement may name, each with the folder from which the name counts."""
    if isinstance(node, ast.Import):
        return [(alias.name, folder) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package.joinpath(*[".."] * (node.level - 1)).resolve() if node.level else folder
        prefix = f"{node.module}." if node.module else ""
        return [(f"{prefix}{alias.name}", base) for alias in node.names]
    return []
