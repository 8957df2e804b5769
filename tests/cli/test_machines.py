"""Where the command line has runs trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from wdtui.cli.machines import Machines
from wdtui.runs import scheduler as scheduling
from wdtui.store.store import Store


def test_a_sweep_can_use_all_devices_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling.Scheduler, "_dispatch", lambda self: None)
    with Store(tmp_path) as store:
        scheduler = Machines("auto", None, None, "local", None).prepared(store)()
    assert isinstance(scheduler, scheduling.Scheduler) and scheduler.device == "auto"  # not the first alone
