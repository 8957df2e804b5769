"""Shared by all tests."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

os.environ.pop("NO_COLOR", None)
os.environ.pop("TEXTUAL_THEME", None)
settings.register_profile("wdtui", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("wdtui")


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever touches the store or the settings of the person who runs it."""
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path_factory.mktemp("store")))
    monkeypatch.setenv("WDTUI_CONFIG", str(tmp_path_factory.mktemp("settings") / "config.toml"))


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers of this process train in its threads, which takes no PyTorch anew for each run."""
    from wdtui.runs.worker import Worker

    class InThread(Worker):
        def __init__(self, *arguments: Any, trainer: Any = None, background: bool = False, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.trainer = trainer

    monkeypatch.setattr("wdtui.runs.scheduler.ChildWorker", InThread)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked as long may take an hour each; no other may hold up the suite for so long."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(3600))
