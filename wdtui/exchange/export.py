"""The export formats, and where their files go."""

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
    """An export format. Its module defines `write(run, path)` and is imported when needed."""

    module: str
    suffix: str
    """The suffix of its file; empty if it writes a folder."""
    extra: str = ""
    """The extra of wdtui that it needs."""

    def check(self, path: Path, *, force: bool) -> None:
        """Raise FileError or ExchangeError if `write` would fail at once."""
        writer = extra_module(f"wdtui.exchange.{self.module}", self.extra)
        if self.suffix:
            check_file(path, force=force)
        else:
            check_folder(path, writer.PATTERN, force=force)

    def write(self, run: Run, path: Path, *, force: bool) -> None:
        """Write a run. Existing files are replaced only with `force`. Raises ExchangeError and FileError."""
        writer = extra_module(f"wdtui.exchange.{self.module}", self.extra)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExchangeError(f"{path} cannot be written: {error.strerror or error}.") from error
        whole = writing(path, force=force) if self.suffix else filling(path, writer.PATTERN, force=force)
        with whole as partial:
            writer.write(run, partial)

    def write_to(self, run: Run, file: TextIO) -> None:
        """Write a run to an open file; for text formats only."""
        importlib.import_module(f"wdtui.exchange.{self.module}").write_to(run, file)


FORMATS = {
    "csv": Format("csv_file", ".csv"),
    "json": Format("json_file", ".json"),
    "parquet": Format("parquet_file", ".parquet", "parquet"),
    "tensorboard": Format("tensorboard_files", "", "tensorboard"),
}
_SUFFIXES = {format.suffix: name for name, format in FORMATS.items() if format.suffix}


def format_of(output: Path | None) -> str:
    """The format of a file name, by its suffix; CSV for any other."""
    return _SUFFIXES.get(output.suffix.lower(), "csv") if output else "csv"


def export(runs: Sequence[Run], format: str, output: Path | None = None, *, force: bool = False) -> list[Path]:
    """Write each run in a format of FORMATS; returns the paths.

    One run goes to the file `output`. Several runs, or one if `output` is an existing folder, go into that folder as
    `run-N`. The default is the working directory. Existing files are replaced only with `force`: otherwise nothing is
    written if any of the files exists. Raises ExchangeError and FileError.
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
    """Import a module of `wdtui.exchange` that needs an extra. Raises ExchangeError if the extra is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("wdtui"):
            raise
        needed = f"this needs {error.name}, which comes with the extra {extra}"
        raise ExchangeError(f"{needed}: pip install 'wdtui[{extra}]'.") from error
