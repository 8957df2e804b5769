"""Recorded runs in a store of their own, an app on it that trains nothing, and pictures of its screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tui_tools
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual._compositor import Compositor
from textual.css.stylesheet import Stylesheet
from tui_tools import FakeScheduler, Recorded, at_rest, parsed_once

from wdtui.studies import experiments
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
def seen_at_rest_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each key Textual waits twice until the app has used next to no CPU for a while: its loop knows at once."""
    monkeypatch.setattr("textual.app.wait_for_idle", at_rest)
    monkeypatch.setattr("textual.pilot.wait_for_idle", at_rest)


@pytest.fixture(autouse=True)
def no_wait_for_the_next_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits until typing pauses is done after each key of a test."""
    for name in ("key_order.TYPING_SECONDS", "screens.sweep_form._SETTLE_SECONDS", "screens.run._SETTLE_SECONDS"):
        monkeypatch.setattr(f"wdtui.tui.{name}", 0.004)


@pytest.fixture(autouse=True)
def styles_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps of all tests share what Textual makes of a stylesheet."""
    monkeypatch.setattr(Stylesheet, "_parse_rules", parsed_once)


@pytest.fixture(autouse=True)
def painted_when_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that a test types one after the other are not painted each on its own."""
    monkeypatch.setattr(Compositor, "render_update", tui_tools.painted_when_looked_at)


@pytest.fixture(autouse=True)
def experiments_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps of all tests share the experiments that come with wdtui."""
    monkeypatch.setattr(experiments, "load", tui_tools.loaded_once)


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
