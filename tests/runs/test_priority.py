"""Training that the app starts gives way to the app."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from wdtui.runs.trainer import Trainer
from wdtui.store.store import Store


@pytest.mark.parametrize(("background", "nice"), [(True, 5), (False, 0)])
def test_a_training_process_in_the_background_has_a_lower_priority(background: bool, nice: int, tmp_path: Path) -> None:
    Store(tmp_path).close()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    trainer = Trainer(tmp_path, tmp_path / "logs" / "log", background=background)
    try:
        deadline = time.monotonic() + 60
        while _priorities(trainer.pid) != {own + nice} and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _priorities(trainer.pid) == {own + nice}
        assert background == _session_is_lowered(trainer.pid, wait=background)
    finally:
        trainer.dismiss()


def _priorities(pid: int) -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in psutil.Process(pid).threads()}


def _session_is_lowered(pid: int, wait: bool) -> bool:
    """Whether the session comes after others; on a system that does not know that, what is expected."""
    file = Path(f"/proc/{pid}/autogroup")
    if not file.exists():
        return wait
    deadline = time.monotonic() + (60 if wait else 0)
    while not (lowered := file.read_text().endswith("nice 5\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lowered
