"""Points as Parquet: a column per metric in its own type; the rest of the run as JSON under the key `wdtui`.

Needs the extra `parquet`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from wdtui.exchange.exported import Run


def write(run: Run, path: Path) -> None:
    """Write int64 and float64 columns into a new file, a row group for each part of the points; NaN stays NaN."""
    about = {"wdtui": json.dumps(run.about(), ensure_ascii=False)}
    fields = [(name, pyarrow.int64() if name in run.counts else pyarrow.float64()) for name in run.columns]
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema(fields, metadata=about)) as writer:
        for part in run.parts():
            columns = [*run.counted(part), *part.values.T]
            writer.write_table(pyarrow.table(list(map(pyarrow.array, columns)), schema=writer.schema))
