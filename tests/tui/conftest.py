"""Recorded runs in a store of their own, an app on it that trains nothing, and pictures of its screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from tui_tools import FakeScheduler, Recorded, hurry

from wdtui.tui.app import WorkbenchApp

SNAPSHOTS = Path(__file__).parents[2] / "snapshots"


@pytest.fixture(autouse=True)
def one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of this machine is the same everywhere."""
    monkeypatch.setattr("socket.gethostname", lambda: "workbench")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("wdtui.tui.screens.workbench._LOAD_SECONDS", 1e6)
    monkeypatch.setattr("wdtui.tui.screens.run._TEXT_SECONDS", 0.001)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture(autouse=True)
def no_waits_in_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(tmp_path / "runs")
    yield recorded
    recorded.store.close()


@pytest.fixture
def make_app(recorded: Recorded) -> Callable[..., WorkbenchApp]:
    def make(scheduler: Any = None, **options: Any) -> WorkbenchApp:
        return WorkbenchApp(recorded.store, scheduler or FakeScheduler(), device="cpu", **options)

    return make


class Picture(SingleFileSnapshotExtension):
    """SVG screens under snapshots/, in folders and files named like the tests."""

    _write_mode = WriteMode.TEXT
    file_extension = "svg"

    @classmethod
    def dirname(cls, *, test_location: Any) -> str:
        return str(SNAPSHOTS / Path(test_location.filepath).stem)

    @classmethod
    def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
        """The name that the test gives it."""
        return str(index)


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Picture)
