"""Shared by all tests."""

from __future__ import annotations

import atexit
import gc
import itertools
import os
import sys
from collections.abc import Iterator
from typing import Any

import forked
import pytest
from hypothesis import settings

os.environ.pop("NO_COLOR", None)
os.environ.pop("TEXTUAL_THEME", None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # wdtui is compiled once, and not in each of a hundred processes
os.environ["OMP_NUM_THREADS"] = "1"  # test processes that share the cores would wait for each other's threads
sys.dont_write_bytecode = False
gc.disable()  # until all is imported: collections would find nothing
_numbers = itertools.count()
settings.register_profile("wdtui", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("wdtui")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Make haste in the processes that run tests; the one that only hands them out need not import PyTorch."""
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        from haste import load_once, look_often

        look_often()
        load_once()
    if hasattr(session.config, "workerinput"):
        atexit.register(os._exit, 0)  # its memory need not be freed piece by piece, for which all would wait


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever touches the store or the settings of the person who runs it."""
    # not by `mktemp`, which looks through the folders of all tests before
    folder = tmp_path_factory.getbasetemp() / "own" / str(next(_numbers))
    (folder / "settings").mkdir(parents=True)
    monkeypatch.setenv("WDTUI_HOME", str(folder / "store"))
    monkeypatch.setenv("WDTUI_CONFIG", str(folder / "settings" / "config.toml"))


@pytest.fixture(autouse=True)
def forked_modules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that import PyTorch are forked from one that has done so, unless a test asks for fresh ones.

    None outlives its test.
    """
    if forked.POSSIBLE and not request.node.get_closest_marker("fresh_processes"):
        monkeypatch.setattr("wdtui.support.environment.start_module", forked.start_module)
    yield
    forked.kill_all()


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
    """Tests marked as long may take an hour each; no other may hold up the suite for so long.

    Tests of faults come first: they fork this process hundreds of times, which is slower the more memory it has.
    """
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(3600))
    items.sort(key=lambda item: "faults" not in item.path.parts)


def pytest_collection_finish() -> None:
    """All that was imported stays: garbage collections that skip it are much shorter, and may be rarer."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 10)
    gc.enable()
