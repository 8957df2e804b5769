"""Shared by the tests of the command line."""

from __future__ import annotations

import pytest


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process train in its threads, where a process for each run makes no difference."""
    monkeypatch.setattr("wdtui.runs.scheduler.placement", lambda *_: "thread")
