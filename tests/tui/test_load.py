"""The header says how busy the machine is while something trains, and asks nobody otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tui_tools import Recorded, press, resize, settle

from wdtui.store.records import Status
from wdtui.support.machine import Gpu, Load
from wdtui.tui.screens.help import Help
from wdtui.tui.widgets.lines import HeaderLine

LOAD = Load(87.4, (3_100_000_000, 8_300_000_000), (Gpu("Fast", 93, celsius=61),))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    asked: list[Load] = []
    monkeypatch.setattr("wdtui.support.machine.sample", lambda pids: asked.append(LOAD) or LOAD)
    return asked


async def test_the_header_shows_the_load_while_a_run_is_live(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load]
) -> None:
    recorded.add("demo", points=50, status=Status.RUNNING)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.screen.look_at_machine()
        header = app.screen.query_one(HeaderLine)
        assert "CPU 87 % · 3.1 of 8.3 GB · GPU 93 % 61 °C · cpu ×2 · 1 running" in header.render().plain
        await resize(pilot, 80, 24)
        assert "CPU 87" not in header.render().plain and "1 running" in header.render().plain
        await press(pilot, "escape", "question_mark")
        assert isinstance(app.screen, Help), app.screen_stack
        workbench = app.screen_stack[-2]
        asked.clear()
        workbench.look_at_machine()
        assert not asked


async def test_the_load_is_not_sampled_when_nothing_trains(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load]
) -> None:
    recorded.add("demo")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.screen.look_at_machine()
        assert not asked and "CPU" not in app.screen.query_one(HeaderLine).render().plain
