"""Running the code of a problem's file from its source, and saying what went wrong in it. No torch.

The code is compiled under the file's own path, so that messages and tracebacks name the line that a person knows, also
where the file itself has changed or gone. The modules beside it come from the source too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import linecache
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from wdtui.problems.declared import Problem
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.source import Source
from wdtui.support.errors import TrainingError
from wdtui.support.text import clean, number

_LONGEST = 300


class UserCodeError(TrainingError):
    """What a problem's own code raised, as one sentence with file and line; `trace` is the traceback of that code."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


_loading = threading.Lock()
"""Held while a source is loaded: threads share the modules of their process."""


def load(source: Source) -> type[Problem]:
    """Run a source and return the class that declares its problem. Raises UserCodeError and ConfigError."""
    with _loading:
        for name in [name for name, module in sys.modules.copy().items() if isinstance(_loader(module), _Loader)]:
            del sys.modules[name]  # of the source before
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        sys.meta_path.insert(0, _Finder(source))
        stem = Path(source.main).stem
        if stem in sys.modules:
            raise ConfigError(f"{source.shown}: a module of this name is in use. Give the file another name.")
        with reporting(source, "while it was imported"):
            module = importlib.import_module(stem)
        return _problem_of(module, source)


@contextlib.contextmanager
def reporting(source: Source, when: str) -> Iterator[None]:
    """Raise what the code within raises as a UserCodeError; `when` says what the code was doing."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError, UserCodeError):
        raise
    except BaseException as error:
        if not isinstance(error, (Exception, SystemExit)):
            raise
        if _is_resource(error):
            raise
        raise UserCodeError(_sentence(error, source, when), _trace(error, source)) from error


def _is_resource(error: BaseException) -> bool:
    """Whether an error says that memory ran out, which the code that called knows how to treat."""
    return type(error).__name__ in ("OutOfMemoryError", "TooLargeError")


def _sentence(error: BaseException, source: Source, when: str) -> str:
    line = _line(error, source)
    where = f"{clean(line[0])}, line {number(line[1])}" if line else source.shown
    if isinstance(error, SystemExit):
        return f"{where}: it called exit() {when}."
    said = " ".join(clean(str(error)).split())[:_LONGEST]
    if isinstance(error, SyntaxError):
        said = error.msg
    return f"{where}: {type(error).__name__} {when}{': ' + said if said else ''}".rstrip(".") + "."


def _line(error: BaseException, source: Source) -> tuple[str, int] | None:
    """File and line of the last frame that is the source's own, or of a syntax error in it."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and _is_own(error.filename, source):
        return Path(error.filename).name, error.lineno
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename, source)]
    return (Path(frames[-1].filename).name, frames[-1].lineno or 0) if frames else None


def _trace(error: BaseException, source: Source) -> str:
    """The traceback from the source's first frame on: none of the frames that lead to it."""
    start: TracebackType | None = error.__traceback__
    while start and not _is_own(start.tb_frame.f_code.co_filename, source):
        start = start.tb_next
    return "".join(traceback.format_exception(type(error), error, start, chain=False))


def _is_own(filename: str, source: Source) -> bool:
    path = Path(filename)
    return path.is_relative_to(source.folder) and path.relative_to(source.folder).as_posix() in source.files


def _problem_of(module: ModuleType, source: Source) -> type[Problem]:
    found = {
        name: one
        for name, one in vars(module).items()
        if inspect.isclass(one)
        and issubclass(one, Problem)
        and one is not Problem
        and one.__module__ == module.__name__
    }
    if source.name:
        if source.name not in found:
            known = f"It has {', '.join(found)}." if found else "It has none."
            raise ConfigError(f"{source.shown}: there is no problem {clean(source.name)} in it. {known}")
        return found[source.name]
    bases = {base for one in found.values() for base in one.__mro__[1:]}
    classes = [one for one in found.values() if one not in bases]
    if not classes:
        raise ConfigError(f"{source.shown}: it defines no class that inherits from wdtui.Problem.")
    if len(classes) > 1:
        names = [one.__name__ for one in classes]
        raise ConfigError(f"{source.shown}: it defines {', '.join(names)}. Name one, as {source.shown}:{names[0]}.")
    return classes[0]


def _loader(module: Any) -> Any:
    return getattr(getattr(module, "__spec__", None), "loader", None)


class _Finder(MetaPathFinder):
    """Finds the modules of one source before anything else does."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        stem = fullname.replace(".", "/")
        for key in (f"{stem}/__init__.py", f"{stem}.py"):
            if key in self._source.files:
                file = str(self._source.folder / key)
                places = [str(self._source.folder / stem)] if key.endswith("/__init__.py") else None
                spec = importlib.util.spec_from_file_location(
                    fullname, file, loader=_Loader(self._source.files[key], file), submodule_search_locations=places
                )
                return spec
        return None


class _Loader(Loader):
    """Runs a module from a text, under the path that the text was read from."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path = text, path

    def exec_module(self, module: ModuleType) -> None:
        linecache.cache[self._path] = (len(self._text), None, self._text.splitlines(keepends=True), self._path)
        exec(compile(self._text, self._path, "exec"), module.__dict__)
