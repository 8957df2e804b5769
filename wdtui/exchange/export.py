"""Which formats a run can be handed over in, and where its file goes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from wdtui.exchange.taken import ExchangeError, Run


@dataclasses.dataclass(frozen=True)
class Format:
    """A way to write a run; its module has `write(run, path)` and is imported when it is asked for."""

    module: str
    suffix: str
    """Of the file's name; empty where it is a folder."""
    extra: str = ""
    """The extra of wdtui that it needs."""

    def write(self, run: Run, path: Path) -> None:
        """Write a run over what is at the path. Raises ExchangeError."""
        writer = extra_module(f"wdtui.exchange.{self.module}", self.extra)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer.write(run, path)
        except OSError as error:
            raise ExchangeError(f"{path} cannot be written: {error.strerror or error}.") from error

    def write_to(self, run: Run, file: TextIO) -> None:
        """Write a run to an open file; for formats that are text."""
        importlib.import_module(f"wdtui.exchange.{self.module}").write_to(run, file)


FORMATS = {
    "csv": Format("csv_file", ".csv"),
    "json": Format("json_file", ".json"),
    "parquet": Format("parquet_file", ".parquet", "parquet"),
    "tensorboard": Format("tensorboard_files", "", "tensorboard"),
}


def export(runs: Sequence[Run], format: str, output: Path | None = None) -> list[Path]:
    """Write each run in a format of FORMATS and return where.

    One run goes to the file `output`; several, or one where `output` is a folder that is there already, go into it as
    `run-N`; without `output` that is the working directory. Raises ExchangeError.
    """
    chosen = FORMATS[format]
    folder = output or Path()
    if output and len(runs) == 1 and not output.is_dir():
        chosen.write(runs[0], output)
        return [output]
    if folder.exists() and not folder.is_dir():
        raise ExchangeError(f"{folder} is a file, and several runs need a folder; give another --output.")
    paths = [folder / f"run-{run.id}{chosen.suffix}" for run in runs]
    for run, path in zip(runs, paths, strict=True):
        chosen.write(run, path)
    return paths


def write_text(path: Path, text: str) -> None:
    """Write a text file over what is there. Raises ExchangeError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExchangeError(f"{path} cannot be written: {error.strerror or error}.") from error


def extra_module(name: str, extra: str) -> Any:
    """Import a module of `wdtui.exchange` that needs an extra. Raises ExchangeError where that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("wdtui"):
            raise
        needed = f"this needs {error.name}, which comes with the extra {extra}"
        raise ExchangeError(f"{needed}: pip install 'wdtui[{extra}]'.") from error
