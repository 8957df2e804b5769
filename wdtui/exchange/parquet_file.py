"""Points as Parquet: a column per metric in its own type; the rest of the run as JSON under the key `wdtui`.

Needs the extra `parquet`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

from wdtui.exchange.taken import Run


def write(run: Run, path: Path) -> None:
    """Write int64 and float64 columns; NaN stays NaN."""
    table = pyarrow.table(dict(run.curves))
    about = {"wdtui": json.dumps(run.about(), ensure_ascii=False)}
    pyarrow.parquet.write_table(table.replace_schema_metadata(about), path)
