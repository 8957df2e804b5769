"""Notices: few at a time, and where they hide neither the last rows of the table nor the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets._toast import Toast
from tui_tools import Recorded, press, settle

from wdtui.tui.widgets.lines import KeyLine
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_notices_leave_the_table_and_the_keys_readable(
    size: tuple[int, int], recorded: Recorded, make_app: MakeApp
) -> None:
    for _ in range(12):
        recorded.add("demo", points=3)
    async with make_app().run_test(size=size, notifications=True) as pilot:
        await press(pilot, "escape", "end")
        for number in range(9):
            pilot.app.notify(f"This is notice {number}.", severity="error" if number % 2 else "information")
            await pilot.pause()
        await settle(pilot)
        screen = pilot.app.screen
        toasts = list(screen.query(Toast))
        assert [str(toast.render()) for toast in toasts] == [f"This is notice {number}." for number in (5, 7, 8)]
        for toast in toasts:
            assert toast.region.area > 0
            for part in (screen.query_one(RunTable), screen.query_one(KeyLine)):
                assert not toast.region.overlaps(part.region)
        pilot.app.notify("This is the next.")
        await settle(pilot)
        assert [note.message[-2:] for note in pilot.app._notifications] == ["5.", "7.", "t."]
