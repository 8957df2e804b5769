"""What the tests of the store share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Point
from wdtui.store.store import Claim, Store

CONFIG = RunConfig(
    weight_decay=0.3, train_digits=(2,), test_digits=(2,), train_size=64, validation_size=16, test_size=16, width=8
)
COLUMNS = CONFIG.columns


def point(step: int, value: float = 0.5) -> Point:
    return Point(step, step // 10, tuple(value + index for index in range(len(COLUMNS))))


def claim(store: Store, run_id: int) -> Claim:
    return store.claim(run_id, device="cpu", threads=1, versions={"torch": "2.13.0"})


def append(store: Store, run_id: int, *points: Point) -> None:
    store.append(store.run(run_id).claim, points, speed=100.0, milestones={"fit_step": 10})


def in_python(code: str, folder: Path, **options: object) -> subprocess.Popen[str]:
    """A process that has `store`, opened in the folder."""
    head = "import sys, time, pathlib\nfrom wdtui.problems.addition.config import RunConfig\n"
    head += "from wdtui.store.store import Store\n"
    opened = "store = Store(pathlib.Path(sys.argv[1]))\n"
    return subprocess.Popen([sys.executable, "-c", head + opened + code, str(folder)], text=True, **options)  # type: ignore
