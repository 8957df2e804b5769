"""Which formats a run can be exported in, and where its file goes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from wdtui.exchange.exported import ExchangeError, Run
from wdtui.support.outputs import check_file, check_folder, filling, writing


@dataclasses.dataclass(frozen=True)
class Format:
    """A way to write a run; its module has `write(run, path)` and is imported when it is asked for."""

    module: str
    suffix: str
    """Of the file's name; empty where it is a folder."""
    extra: str = ""
    """The extra of wdtui that it needs."""

    def check(self, path: Path, *, force: bool) -> None:
        """Raise FileError or ExchangeError where `write` could not begin."""
        writer = extra_module(f"wdtui.exchange.{self.module}", self.extra)
        if self.suffix:
            check_file(path, force=force)
        else:
            check_folder(path, writer.PATTERN, force=force)

    def write(self, run: Run, path: Path, *, force: bool) -> None:
        """Write a run; without `force` over nothing that is there. Raises ExchangeError and FileError."""
        writer = extra_module(f"wdtui.exchange.{self.module}", self.extra)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExchangeError(f"{path} cannot be written: {error.strerror or error}.") from error
        whole = writing(path, force=force) if self.suffix else filling(path, writer.PATTERN, force=force)
        with whole as partial:
            writer.write(run, partial)

    def write_to(self, run: Run, file: TextIO) -> None:
        """Write a run to an open file; for formats that are text."""
        importlib.import_module(f"wdtui.exchange.{self.module}").write_to(run, file)


FORMATS = {
    "csv": Format("csv_file", ".csv"),
    "json": Format("json_file", ".json"),
    "parquet": Format("parquet_file", ".parquet", "parquet"),
    "tensorboard": Format("tensorboard_files", "", "tensorboard"),
}
_SUFFIXES = {format.suffix: name for name, format in FORMATS.items() if format.suffix}


def format_of(output: Path | None) -> str:
    """The format that a file's name asks for; CSV where it asks for none."""
    return _SUFFIXES.get(output.suffix.lower(), "csv") if output else "csv"


def export(runs: Sequence[Run], format: str, output: Path | None = None, *, force: bool = False) -> list[Path]:
    """Write each run in a format of FORMATS and return where.

    One run goes to the file `output`; several, or one where `output` is a folder that is there already, go into it as
    `run-N`; without `output` that is the working directory. Without `force` nothing is replaced, and where anything
    would be, nothing is written. Raises ExchangeError and FileError.
    """
    chosen = FORMATS[format]
    paths = _targets(runs, chosen, output)
    for path in paths:
        chosen.check(path, force=force)
    for run, path in zip(runs, paths, strict=True):
        chosen.write(run, path, force=force)
    return paths


def _targets(runs: Sequence[Run], format: Format, output: Path | None) -> list[Path]:
    folder = output or Path()
    if output and not output.is_dir():
        if len(runs) == 1:
            return [output]
        if output.exists() or output.suffix.lower() in _SUFFIXES:
            raise ExchangeError(
                f"{output} is the name of a file, but {len(runs)} runs need a folder. Give a folder as --output."
            )
    return [folder / f"run-{run.id}{format.suffix}" for run in runs]


def extra_module(name: str, extra: str) -> Any:
    """Import a module of `wdtui.exchange` that needs an extra. Raises ExchangeError where that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("wdtui"):
            raise
        needed = f"this needs {error.name}, which comes with the extra {extra}"
        raise ExchangeError(f"{needed}: pip install 'wdtui[{extra}]'.") from error
